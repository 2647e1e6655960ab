package promote

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

var errNothingBefore = errors.New("nothing to go back to")

func (r *run) rollback(ctx context.Context, s *stage) error {
	current := s.state.Live
	if current == nil {
		return fmt.Errorf("%w: nothing was promoted to %s yet", errNothingBefore, s.stage.Name)
	}
	past, named := s.history(ctx), ""
	if r.Release != "" {
		f, input, err := r.named(s)
		if err != nil {
			return err
		}
		if named = f.ReleaseID; input != "" {
			past = hydratedFrom(past, s.live, input)
		}
	}
	to, err := before(past, s.state.Holds(), s.pipeline.Argument(s.stage.Name), named, current.To.Content)
	if err != nil {
		return err
	}
	s.result.Release, s.result.To = to.Release, &to.To
	if to.To.Digest == current.To.Digest {
		s.result.Action = Unchanged
		return nil
	}
	f, err := r.lock(s, to.Release)
	if err != nil {
		return err
	}
	j := &judgement{lock: f, images: s.live.Others(*to).Images, artifact: predicate.Artifact{Release: to.Release, Digests: oci.Digests{Digest: to.To.Digest}}}
	if j.declared, err = s.pipeline.Expand(s.stage.Name, f.Lock, r.files); err != nil {
		return err
	}
	err = r.examine(ctx, s, j, verify.Request{
		Reference:  to.To.Digest.String(),
		Statements: to.Statements.Bundles,
		Former: func(ctx context.Context, artifact digest.Digest) ([]sign.Claim, error) {
			return live.FormerNames(s.history(ctx), artifact)
		},
		WithoutMirror: true, // it was live before
	})
	if errors.Is(err, oci.ErrNotFound) {
		err = fmt.Errorf("%w; `lockage repair %s --apply` puts it back from Git", err, s.pipeline.Argument(s.stage.Name))
	}
	if err != nil {
		return err
	}
	s.result.Checks = j.checks
	if err := j.outcome(); err != nil {
		argument := s.pipeline.Argument(s.stage.Name)
		s.note("`lockage rollback %s --to RELEASE` goes back to another release, and `lockage promote %s --release %s` judges this one by the gates", argument, argument, to.Release)
		return err
	}
	s.result.Action = RolledBack
	if j.left, err = left(s.history(ctx), to.To); err != nil {
		return err
	}
	return r.apply(ctx, s, j)
}

// hydratedFrom leaves out the promotions of artifacts whose input digest does not begin with some digits.
func hydratedFrom(past iter.Seq2[live.Promotion, error], of live.Stage, input string) iter.Seq2[live.Promotion, error] {
	return func(yield func(live.Promotion, error) bool) {
		for p, err := range past {
			if (err != nil || lock.BeginsWith(of.Inputs(p), input)) && !yield(p, err) {
				return
			}
		}
	}
}

// before finds the promotion to return to among those of a stage, which commands call so: the newest of a release, or for "" the newest with another content
// than the live one that the stage does not hold.
func before(past iter.Seq2[live.Promotion, error], holds predicate.Holds, stage, release string, content digest.Digest) (*live.Promotion, error) {
	gone := map[digest.Digest]bool{} // contents that are held, and may have been live before that, too
	looked, what := 0, "nothing else"
	if release != "" {
		what = "release " + release
	}
	for p, err := range past {
		_, held := holds.Of(p.To.Release, p.To.Digest)
		switch {
		case err != nil:
			return nil, err
		case release != "" && p.To.Release == release:
			return &p, nil
		case held:
			gone[p.To.Content] = true
		case release == "" && p.To.Content != content && !gone[p.To.Content]:
			return &p, nil
		}
		looked++
	}
	if looked == maxLookback {
		return nil, fmt.Errorf("%w: %s was live in %s by its newest %d promotions, and rollback looks at no older ones: `lockage history %s` shows them all, and `lockage hydrate %s --release ID` and `lockage promote %s --release ID` bring one back by name",
			errNothingBefore, what, stage, looked, stage, stage, stage)
	}
	if release != "" {
		return nil, fmt.Errorf("%w: %s was not live in %s; see `lockage history %s`", errNothingBefore, what, stage, stage)
	}
	return nil, fmt.Errorf("%w: %s was live in %s before", errNothingBefore, what, stage)
}

// left returns what a rollback to an artifact leaves and skips, of the promotions of a stage, the newest first. What people gave for
// it is spent, also where it was rolled back from before and came back.
func left(past iter.Seq2[live.Promotion, error], to predicate.Artifact) (all predicate.Holds, err error) {
	for p, err := range past {
		if err != nil {
			return nil, err
		}
		for i := range all {
			earlier, _ := p.Holds.Of("", all[i].Digest)
			all[i].Spent = append(all[i].Spent, earlier.Spent...)
		}
		if p.To.Digest == to.Digest {
			break
		}
		if p.To.Digest == "" {
			continue // a new beginning at nothing
		}
		h := p.To.Hold()
		if h.Release == to.Release {
			h.Release = ""
		}
		if h.Content == to.Content {
			h.Content = ""
		}
		for _, b := range p.Statements.Bundles {
			if b.Says(predicate.TypeApproval) || b.Says(predicate.TypeWaiver) {
				h.Spent = append(h.Spent, b.Payload())
			}
		}
		all = append(all, h)
	}
	return all, nil
}

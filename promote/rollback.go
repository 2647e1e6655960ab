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
	past := r.visits(ctx, s.view)
	named := ""
	if r.Release != "" {
		f, input, err := r.named(s)
		if err != nil {
			return err
		}
		if named = f.ReleaseID; input != "" {
			past = hydratedFrom(past, s.live, input)
		}
	}
	to, err := before(past, s.stage.Name, named, current.To.Content)
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
			return r.formerNames(ctx, s, artifact)
		},
		WithoutMirror: true, // it was live before
	})
	if err != nil {
		return err
	}
	s.result.Checks = j.checks
	if err := j.outcome(); err != nil {
		return err
	}
	s.result.Action = RolledBack
	return r.apply(ctx, s, j)
}

// hydratedFrom leaves out the promotions of artifacts whose input digest does not begin with some digits.
func hydratedFrom(past iter.Seq2[visit, error], of live.Stage, input string) iter.Seq2[visit, error] {
	return func(yield func(visit, error) bool) {
		for v, err := range past {
			if (err != nil || lock.BeginsWith(of.Inputs(v.Promotion), input)) && !yield(v, err) {
				return
			}
		}
	}
}

// before finds the promotion to return to among those of a stage: the newest of a release, or for "" the newest with another content
// than the live one that no rollback left.
func before(past iter.Seq2[visit, error], stage, release string, content digest.Digest) (*live.Promotion, error) {
	again := map[string]bool{}       // releases that were promoted after they had been left
	gone := map[digest.Digest]bool{} // contents that were left, and may have been live before that, too
	looked, what := 0, "nothing else"
	if release != "" {
		what = "release " + release
	}
	for p, err := range past {
		left := p.undone != nil && !again[p.To.Release]
		switch {
		case err != nil:
			return nil, err
		case release != "" && p.To.Release == release:
			return &p.Promotion, nil
		case left:
			gone[p.To.Content] = true
		case release == "" && p.To.Content != content && !gone[p.To.Content]:
			return &p.Promotion, nil
		}
		again[p.To.Release] = again[p.To.Release] || p.Action != predicate.RolledBack
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

// formerNames returns the names that the stage had when an artifact was live there.
func (r *run) formerNames(ctx context.Context, s *stage, artifact digest.Digest) ([]sign.Claim, error) {
	return live.FormerNames(func(yield func(live.Promotion, error) bool) {
		for v, err := range r.visits(ctx, s.view) {
			if !yield(v.Promotion, err) {
				return
			}
		}
	}, artifact)
}

package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign/predicate"
)

// Rollback takes stages of all pipelines that have them back to what was live before: the release in Options.Release, or
// else the newest other content. Nothing is rendered; the artifact is verified again, by the policy ref of today. No gate
// is asked: it passed them before. The release that is left is held until it is promoted by name.
func Rollback(ctx context.Context, o Options) ([]Result, error) {
	o.Ready = false
	r, stages, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.each(ctx, stages, r.rollback), nil
}

var errNothingBefore = errors.New("nothing to go back to")

func (r *run) rollback(ctx context.Context, s *stage) error {
	if err := r.look(ctx, s); err != nil {
		return err
	}
	current := s.state.Live
	if current == nil {
		return fmt.Errorf("%w: nothing was promoted to %s yet", errNothingBefore, s.stage.Name)
	}
	to, err := r.before(ctx, s)
	if err != nil {
		return err
	}
	s.result.Release, s.result.To = to.Release, &to
	if to.Digest == current.To.Digest {
		s.result.Action = Unchanged
		return nil
	}
	f, err := lock.Release(r.files, s.pipeline.Lock, to.Release)
	if err != nil {
		return fmt.Errorf("%s: %w", r.trunk.Name(), err)
	}
	j := &judgement{lock: f, artifact: to}
	if j.declared, err = s.pipeline.Expand(s.stage.Name, f.Lock, r.files); err != nil {
		return err
	}
	request := r.request(s, to.Digest, to.Release)
	request.WithoutMirror = true // what was live was compared with it then
	if j.examined, err = verify.Examine(ctx, request); err != nil {
		return err
	}
	j.checks = j.examined.Report.Checks
	s.result.Checks = j.checks
	if j.checks.Result() != policy.Pass {
		return fmt.Errorf("%w: %s", policy.ErrDenied, j.checks.Reason())
	}
	if got := j.examined.Tree.ContentDigest(); got != to.Content {
		return fmt.Errorf("%w: the record says that %s has the content %s, and it has %s", policy.ErrDenied, to.Digest, to.Content, got)
	}
	s.result.Action = RolledBack
	if r.DryRun {
		return nil
	}
	return r.apply(ctx, s, j, predicate.RolledBack)
}

// before finds the artifact to go back to among those that were live.
func (r *run) before(ctx context.Context, s *stage) (predicate.Artifact, error) {
	chain := r.chain(ctx, s)
	var w retreat
	again := map[string]bool{} // releases and artifacts that were promoted after they had been left
	for i := range maxLookback {
		p, ok, err := chain.at(i)
		if err != nil {
			return predicate.Artifact{}, denied(err)
		}
		if !ok {
			break
		}
		left := w.step(p) != nil && !again[p.To.Release] && !again[p.To.Digest.String()]
		switch {
		case r.Release != "" && p.To.Release == r.Release:
			return p.To, nil
		case r.Release == "" && p.To.Content != s.state.Live.To.Content && !left:
			return p.To, nil
		}
		again[p.To.Digest.String()] = true
		again[p.To.Release] = again[p.To.Release] || p.Action != predicate.RolledBack
	}
	if r.Release != "" {
		return predicate.Artifact{}, fmt.Errorf("%w: release %s was not live in %s; see `lockage history %s`", errNothingBefore, r.Release, s.stage.Name, s.stage.Name)
	}
	return predicate.Artifact{}, fmt.Errorf("%w: nothing else was live in %s before", errNothingBefore, s.stage.Name)
}

package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
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
	to, err := r.before(ctx, s)
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
	j := &judgement{lock: f, artifact: predicate.Artifact{Release: to.Release, Digests: oci.Digests{Digest: to.To.Digest}}}
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
	if j.artifact.Content != to.To.Content {
		return fmt.Errorf("%w: by its record, %s has the content %s, but it has %s", policy.ErrDenied, to.To.Digest, to.To.Content, j.artifact.Content)
	}
	s.result.Action = RolledBack
	return r.apply(ctx, s, j)
}

// before finds the promotion to return to among those of the stage.
func (r *run) before(ctx context.Context, s *stage) (*live.Promotion, error) {
	again := map[string]bool{}       // releases and artifacts that were promoted after they had been left
	gone := map[digest.Digest]bool{} // contents that were left, and may have been live before that, too
	for p, err := range r.visits(ctx, s.view) {
		left := p.undone != nil && !again[p.To.Release] && !again[p.To.Digest.String()]
		switch {
		case err != nil:
			return nil, err
		case r.Release != "" && p.To.Release == r.Release:
			return &p.Promotion, nil
		case left:
			gone[p.To.Content] = true
		case r.Release == "" && p.To.Content != s.state.Live.To.Content && !gone[p.To.Content]:
			return &p.Promotion, nil
		}
		again[p.To.Digest.String()] = true
		again[p.To.Release] = again[p.To.Release] || p.Action != predicate.RolledBack
	}
	if r.Release != "" {
		return nil, fmt.Errorf("%w: release %s was not live in %s; see `lockage history %s`", errNothingBefore, r.Release, s.stage.Name, s.stage.Name)
	}
	return nil, fmt.Errorf("%w: nothing else was live in %s before", errNothingBefore, s.stage.Name)
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

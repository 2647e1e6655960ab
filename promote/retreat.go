package promote

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// retreat tells, going back through the promotions of a stage, which of them a rollback left or went past.
type retreat struct {
	open map[digest.Digest]live.Promotion // rollbacks, by the artifact that they go back to, until it is met
}

// step goes back by one promotion. It returns a rollback that left it behind, nil for none.
func (w *retreat) step(p live.Promotion) *live.Promotion {
	delete(w.open, p.To.Digest)
	var behind *live.Promotion
	for _, rollback := range w.open {
		if behind == nil || behind.Sequence < rollback.Sequence {
			behind = &rollback
		}
	}
	if p.Action == predicate.RolledBack {
		if w.open == nil {
			w.open = map[digest.Digest]live.Promotion{}
		}
		w.open[p.To.Digest] = p
	}
	return behind
}

// passage is what the records of a stage say of a release: by the newest of them about it.
func (r *run) passage(ctx context.Context, s *stage, l lock.Lock) (policy.Passage, error) {
	passage := policy.Passage{Stage: s.stage.Name}
	var w retreat
	err := r.recent(ctx, s, l, func(i int, p live.Promotion) bool {
		behind := w.step(p)
		switch {
		case p.To.Release != l.ReleaseID:
			return true
		case behind != nil:
			passage.RolledBack, passage.Since, passage.Record = true, behind.Since, behind.Referrer
		default:
			passage.Was, passage.Is, passage.Since, passage.Record = true, i == 0, p.Since, p.Referrer
		}
		return false
	})
	return passage, err
}

// held tells whether a rollback left a release behind, or just this hydration of it, and nobody promoted it since.
func (r *run) held(ctx context.Context, s *stage, l lock.Lock, candidate digest.Digest) (bool, error) {
	var w retreat
	held, again := false, false
	err := r.recent(ctx, s, l, func(_ int, p live.Promotion) bool {
		behind := w.step(p)
		own := p.To.Digest == candidate
		switch {
		case p.To.Release != l.ReleaseID:
			return true
		case behind == nil:
			again = true
			return !own
		}
		held = own || !again && behind.To.Release != l.ReleaseID
		return !held
	})
	return held, err
}

// leftContents are the contents that the newest promotion, if it is a rollback, left or went past: none comes back under the
// name of another release.
func (r *run) leftContents(ctx context.Context, s *stage) (map[digest.Digest]bool, error) {
	chain := r.chain(ctx, s)
	newest, ok, err := chain.at(0)
	if err != nil || !ok || newest.Action != predicate.RolledBack {
		return nil, denied(err)
	}
	left := map[digest.Digest]bool{}
	for i := 1; i < maxLookback; i++ {
		p, ok, err := chain.at(i)
		if err != nil || !ok || p.To.Digest == newest.To.Digest {
			return left, denied(err)
		}
		left[p.To.Content] = true
	}
	return left, nil
}

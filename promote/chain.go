package promote

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

const (
	// maxLookback bounds how many promotions of a stage are searched for one release.
	maxLookback = 500
	// clockSkew bounds how much earlier than its lock a release may seem to have been promoted.
	clockSkew = time.Hour
)

// recent yields the promotions of a stage that a release can be among, the newest first: none is older than its lock. An
// error is yielded last.
func (r *run) recent(ctx context.Context, s *stage, l lock.Lock) iter.Seq2[live.Promotion, error] {
	chain, since := r.chain(ctx, s), l.Created()
	return func(yield func(live.Promotion, error) bool) {
		for p, err := range chain.first(maxLookback) {
			if !yield(p, err) || !since.IsZero() && p.Time.Before(since.Add(-clockSkew)) {
				return
			}
		}
	}
}

// spans returns when what was live in a stage, as far back as a release can have been, the oldest first.
func (r *run) spans(ctx context.Context, s *stage, t *standing) ([]policy.Span, error) {
	var promotions []live.Promotion
	for p, err := range r.recent(ctx, s, t.lock.Lock) {
		if err != nil {
			return nil, err
		}
		promotions = append(promotions, p)
	}
	spans := live.Spans(promotions)
	for i, p := range promotions {
		if p.To.Release != t.lock.ReleaseID {
			continue
		}
		ok, err := t.counts(ctx, p)
		if err != nil {
			return nil, err
		}
		if !ok {
			spans[len(spans)-1-i].Otherwise, _ = t.otherwise()
		}
	}
	return spans, nil
}

// rollbacks finds, going back through the promotions of a stage, which of them a rollback left or skipped.
type rollbacks struct {
	open map[digest.Digest]live.Promotion // rollbacks by the artifact that they return to, until that is reached
}

// undid goes back by one promotion. It returns the newest rollback that left or skipped it, nil for none.
func (b *rollbacks) undid(p live.Promotion) *live.Promotion {
	delete(b.open, p.To.Digest)
	var newest *live.Promotion
	for _, rollback := range b.open {
		if newest == nil || newest.Sequence < rollback.Sequence {
			newest = &rollback
		}
	}
	if p.Action == predicate.RolledBack {
		if b.open == nil {
			b.open = map[digest.Digest]live.Promotion{}
		}
		b.open[p.To.Digest] = p
	}
	return newest
}

// passage returns what the newest record of a stage about a release says: of those with a content that counts, unless standing is
// nil and all do.
func (r *run) passage(ctx context.Context, s *stage, l lock.Lock, t *standing) (policy.Passage, error) {
	passage, newest := policy.Passage{Stage: s.stage.Name}, true
	var back rollbacks
	for p, err := range r.recent(ctx, s, l) {
		if err != nil {
			return policy.Passage{}, err
		}
		by := back.undid(p)
		switch {
		case p.To.Release != l.ReleaseID:
			newest = false
			continue
		case by != nil && passage.Otherwise == "":
			return policy.Passage{Stage: s.stage.Name, RolledBack: true, Since: by.Time, Record: by.Record}, nil
		case by != nil:
			continue
		}
		counts := t == nil
		if !counts {
			if counts, err = t.counts(ctx, p); err != nil {
				return policy.Passage{}, err
			}
		}
		if counts {
			return policy.Passage{Stage: s.stage.Name, Was: true, Is: newest, Since: p.Time, Record: p.Record}, nil
		}
		newest = false
		passage.Otherwise, passage.Unknown = t.otherwise()
	}
	return passage, nil
}

// held reports whether a rollback left a release, or this hydration of it, and nobody promoted it since.
func (r *run) held(ctx context.Context, s *stage, l lock.Lock, candidate digest.Digest) (bool, error) {
	var back rollbacks
	again := false
	for p, err := range r.recent(ctx, s, l) {
		if err != nil {
			return false, err
		}
		by, own := back.undid(p), p.To.Digest == candidate
		switch {
		case holds(p, l.ReleaseID, candidate, again):
			return true, nil
		case p.To.Release != l.ReleaseID:
		case by == nil && own:
			return false, nil
		case by == nil:
			again = true
		case own, !again && by.To.Release != l.ReleaseID:
			return true, nil
		}
	}
	return false, nil
}

// holds reports whether a new beginning holds a release, or if the release was promoted again since, this hydration of it.
func holds(p live.Promotion, release string, candidate digest.Digest, again bool) bool {
	return slices.ContainsFunc(p.Holds, func(h predicate.Artifact) bool {
		return h.Digest == candidate || !again && h.Release == release
	})
}

// leftContents returns the contents that the newest promotion left or skipped, if it is a rollback, or holds, if it is a new
// beginning: none comes back under the name of another release.
func (r *run) leftContents(ctx context.Context, s *stage) (map[digest.Digest]bool, error) {
	left := map[digest.Digest]bool{}
	var newest *live.Promotion
	for p, err := range r.chain(ctx, s).first(maxLookback) {
		switch {
		case err != nil:
			return nil, denied(err)
		case newest == nil && p.Action == predicate.Carried: // what is live stayed
		case newest == nil && p.Action == predicate.Restarted:
			for _, h := range p.Holds {
				left[h.Content] = true
			}
			return left, nil
		case newest == nil && p.Action != predicate.RolledBack:
			return nil, nil
		case newest == nil:
			newest = &p
		case p.To.Digest == newest.To.Digest:
			return left, nil
		default:
			left[p.To.Content] = true
		}
	}
	return left, nil
}

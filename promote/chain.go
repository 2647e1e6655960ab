package promote

import (
	"context"
	"iter"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
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
func (r *run) spans(ctx context.Context, s *stage, l lock.Lock) ([]policy.Span, error) {
	var promotions []live.Promotion
	for p, err := range r.recent(ctx, s, l) {
		if err != nil {
			return nil, err
		}
		promotions = append(promotions, p)
	}
	return live.Spans(promotions), nil
}

package promote

import (
	"context"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
)

const (
	// maxLookback bounds how many promotions of a stage are looked at for one release.
	maxLookback = 500
	// clockSkew is how much earlier than its lock a release may seem to have been promoted.
	clockSkew = time.Hour
)

// recent visits the promotions of a stage that a release can be among, the newest first: none is older than its lock.
func (r *run) recent(ctx context.Context, s *stage, l lock.Lock, visit func(i int, p live.Promotion) (more bool)) error {
	chain, since := r.chain(ctx, s), l.Created()
	for i := range maxLookback {
		p, ok, err := chain.at(i)
		if err != nil || !ok {
			return err
		}
		more := visit(i, p)
		if !more || !since.IsZero() && p.Time.Before(since.Add(-clockSkew)) {
			return nil
		}
	}
	return nil
}

// spans are when what was live in a stage, as far back as a release can have been, the oldest first. That another content
// came is told by its record, which the promoter signed: the time of the commit that names it is the word of whoever pushed
// that, and may only make a stay begin later. Records of one content are one stay, which they do not interrupt.
func (r *run) spans(ctx context.Context, s *stage, l lock.Lock) ([]policy.Span, error) {
	var spans []policy.Span
	var next *live.Promotion
	err := r.recent(ctx, s, l, func(_ int, p live.Promotion) bool {
		var until time.Time
		switch {
		case next == nil:
		case next.To.Content == p.To.Content:
			until = next.Since
		default:
			until = next.Time
		}
		spans = append([]policy.Span{{
			Release: p.To.Release,
			Digest:  p.To.Digest,
			Content: p.To.Content,
			From:    p.Since,
			Until:   until,
			Claimed: true,
		}}, spans...)
		next = &p
		return true
	})
	return spans, err
}

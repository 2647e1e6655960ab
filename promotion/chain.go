package promotion

import (
	"context"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/live"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/record"
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

// passage is what the records of a stage say of a release. One that a rollback went past is rolled back like the one that
// it began at.
func (r *run) passage(ctx context.Context, s *stage, l lock.Lock) (policy.Passage, error) {
	passage := policy.Passage{Stage: s.stage.Name}
	var back *live.Promotion // the rollback whose target is not reached yet
	err := r.recent(ctx, s, l, func(i int, p live.Promotion) bool {
		if back != nil && p.To.Digest == back.To.Digest {
			back = nil
		}
		if p.To.Release == l.ReleaseID {
			if back != nil {
				passage.RolledBack, passage.Since, passage.Record = true, back.Since, back.Referrer
				return false
			}
			passage.Was, passage.Is, passage.Since, passage.Record = true, i == 0, p.Since, p.Referrer
			passage.Artifact = p.To.Digest
			return false
		}
		if back == nil && p.Action == record.RolledBack {
			back = &p
		}
		return true
	})
	return passage, err
}

// spans are when what was live in a stage, as far back as a release can have been, the oldest first.
func (r *run) spans(ctx context.Context, s *stage, l lock.Lock) ([]policy.Span, error) {
	var spans []policy.Span
	var until time.Time
	err := r.recent(ctx, s, l, func(_ int, p live.Promotion) bool {
		spans = append([]policy.Span{{
			Release: p.To.Release,
			Digest:  p.To.Digest,
			Content: p.To.Content,
			From:    p.Since,
			Until:   until,
			Claimed: true,
		}}, spans...)
		until = p.Since
		return true
	})
	return spans, err
}

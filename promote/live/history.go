package live

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// History yields all promotions of a stage, the newest first, each verified before it is yielded. An error is yielded last;
// it is ErrBroken if the registry has a promotion that the live ref lacks, see [Read].
func History(ctx context.Context, s Stage) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		more := true
		state, err := s.walk(ctx, func(p Promotion) bool {
			more = yield(p, nil)
			return more
		})
		if !more {
			return
		}
		if err == nil {
			err = s.Witness(ctx, &state)
		}
		if err != nil {
			yield(Promotion{}, err)
		}
	}
}

// HistoryOf is [History] at the state that [Read] has read: it asks nobody again, and reads only what is below the newest promotion.
func HistoryOf(ctx context.Context, s Stage, state State) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		newest := state.Newest()
		if newest == nil || !yield(*newest, nil) || newest.Previous == "" {
			return
		}
		below, more := false, true
		_, err := s.walkFrom(ctx, state.Head, func(p Promotion) bool {
			if below {
				more = yield(p, nil)
			}
			below = true
			return more
		})
		if err != nil && more {
			yield(Promotion{}, err)
		}
	}
}

// FormerNames returns the names that a stage had when an artifact was live there, other than today's, by its promotions, the newest
// first: what was never live there has none.
func FormerNames(history iter.Seq2[Promotion, error], artifact digest.Digest) ([]sign.Claim, error) {
	var names []sign.Claim
	since := 0 // that many of them, the artifact was live
	for p, err := range history {
		if err != nil {
			return nil, err
		}
		if p.Carried != nil {
			names = append(names, p.Carried.Claim)
		}
		if p.To.Digest == artifact {
			since = len(names)
		}
	}
	return names[:since], nil
}

// Spans returns when what was live, the oldest first, of promotions in a row, the newest first. The record of another content
// ends a span. Records of one content are one stay, which they do not interrupt.
func Spans(promotions []Promotion) []policy.Span {
	spans := make([]policy.Span, len(promotions))
	for i, p := range promotions {
		spans[i] = policy.Span{Artifact: p.To, From: p.When(), Claimed: p.Signed.IsZero()}
		if i > 0 {
			spans[i].Until = promotions[i-1].When()
		}
	}
	slices.Reverse(spans)
	return spans
}

// When returns the time of the promotion: that of the record's timestamp, or else the one that the promoter claims.
func (p Promotion) When() time.Time {
	if !p.Signed.IsZero() {
		return p.Signed.Time
	}
	return p.Time
}

// Starts returns since when the content of each promotion was live without a break, under however many releases: the time that
// soak counts from. The promotions are in a row, the newest first.
func Starts(promotions []Promotion, now time.Time) []time.Time {
	starts := policy.Starts(Spans(promotions), now)
	slices.Reverse(starts)
	return starts
}

// Continues reports whether a promotion left the content as it was: its start is that of an older one.
func (p Promotion) Continues() bool { return p.From != nil && p.From.Content == p.To.Content }

// since returns since when the content of what is live is live.
func since(ctx context.Context, s Stage, state State, now time.Time) (time.Time, error) {
	var promotions []Promotion
	for p, err := range HistoryOf(ctx, s, state) {
		if err != nil {
			return time.Time{}, err
		}
		if promotions = append(promotions, p); !p.Continues() {
			break
		}
	}
	return Starts(promotions, now)[0], nil
}

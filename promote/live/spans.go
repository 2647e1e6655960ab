package live

import (
	"context"
	"slices"
	"time"

	"github.com/lockage/lockage/policy"
)

// Spans returns when what was live, the oldest first, of promotions in a row, the newest first. The record of another content,
// which the promoter signed, ends a span: a person who can push to the live ref chooses the times of its commits, and these can
// only make a span begin later. Records of one content are one stay, which they do not interrupt.
func Spans(promotions []Promotion) []policy.Span {
	spans := make([]policy.Span, len(promotions))
	for i, p := range promotions {
		spans[i] = policy.Span{Artifact: p.To, From: p.Since, Claimed: true}
		switch {
		case i == 0:
		case promotions[i-1].To.Content == p.To.Content:
			spans[i].Until = promotions[i-1].Since
		default:
			spans[i].Until = promotions[i-1].Time
		}
	}
	slices.Reverse(spans)
	return spans
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

// since returns since when the content of the newest promotion is live.
func since(ctx context.Context, s Stage, newest Promotion, now time.Time) (time.Time, error) {
	if !newest.Continues() {
		return newest.Since, nil
	}
	var promotions []Promotion
	for p, err := range History(ctx, s) {
		if err != nil {
			return time.Time{}, err
		}
		if promotions = append(promotions, p); !p.Continues() {
			break
		}
	}
	return Starts(promotions, now)[0], nil
}

package live

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
)

// lookahead bounds the records of a history that are read at a time.
const lookahead = 16

// History yields all promotions of a stage, the newest first, each verified before it is yielded. An error is yielded last.
// A gap or forgery is ErrBroken, after everything newer; so is, after all promotions, one that comes after the newest of the
// live ref, see [Read].
func History(ctx context.Context, s Stage) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		h := history{stage: s, yield: yield}
		tag, err := s.Artifacts.Lookup(ctx, s.Stage)
		switch {
		case err != nil:
		case s.Remote == nil:
			err = h.walkRecords(ctx, tag)
		default:
			err = h.walkRef(ctx, tag)
		}
		if err != nil && !h.done {
			yield(Promotion{}, err)
		}
	}
}

// history is one walk.
type history struct {
	stage Stage
	yield func(Promotion, error) bool

	newest, last *Promotion // of those yielded
	done         bool       // the caller wants no more
	edited       error      // an edit of the files at the head, which leaves the chain whole
}

func (h *history) walkRef(ctx context.Context, tag digest.Digest) error {
	var shown episodes
	read, batch := 0, 1
	_, err := ledger.History(ctx, h.stage.Remote, h.stage.Place, func(v ledger.Version) (bool, error) {
		shown.add(v)
		if len(shown.all) <= read+batch { // the last one may go on
			return true, nil
		}
		err := h.episodes(ctx, shown.all[read:read+batch], shown.head)
		read, batch = read+batch, min(2*batch, lookahead)
		return !h.done, err
	})
	if err == nil && !h.done {
		err = h.episodes(ctx, shown.all[read:], shown.head)
	}
	if err != nil || h.done {
		return err
	}
	if h.last != nil {
		err = h.stage.follows(*h.last, nil)
	}
	carried, ahead := h.stage.records(ctx, tag)
	if ahead == nil {
		ahead = h.stage.notAhead(State{Live: h.newest, Unpromoted: shown.unpromoted()}, tag, carried, 0)
	}
	return errors.Join(h.edited, err, ahead)
}

// episodes proves some promotions in a row, and yields them.
func (h *history) episodes(ctx context.Context, some []episode, head *ledger.Version) error {
	promotions, errs := make([]Promotion, len(some)), make([]error, len(some))
	var group errgroup.Group
	group.SetLimit(lookahead)
	for i, e := range some {
		group.Go(func() error {
			promotions[i], errs[i] = h.stage.prove(ctx, e)
			return nil // newer promotions come first
		})
	}
	_ = group.Wait()
	for i, p := range promotions {
		err := errs[i]
		if err == nil {
			err = h.step(p)
		}
		if err != nil || h.done {
			return errors.Join(h.edited, err)
		}
		h.edited = errors.Join(h.edited, h.stage.intact(some[i], head))
	}
	return nil
}

// step yields the next older promotion, if the last one follows on it.
func (h *history) step(p Promotion) error {
	if h.last == nil {
		h.newest = &p
	} else if err := h.stage.follows(*h.last, &p); err != nil {
		return err
	}
	h.last = &p
	h.done = !h.yield(p, nil)
	return nil
}

// walkRecords follows what each record names as the one before.
func (h *history) walkRecords(ctx context.Context, tag digest.Digest) error {
	p, err := h.stage.newest(ctx, tag)
	for err == nil && p != nil {
		if err := h.step(*p); err != nil || h.done {
			return err
		}
		p, err = h.stage.previous(ctx, *p)
	}
	return err
}

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
	if len(promotions) == 0 {
		return newest.Since, nil // it is gone since it was read
	}
	return Starts(promotions, now)[0], nil
}

package live

import (
	"context"
	"errors"
	"iter"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/mirror"
)

// lookahead bounds the records of a history that are read at a time.
const lookahead = 16

// History yields all promotions of a stage, the newest first, each verified before it is yielded. An error is yielded last.
// A gap or forgery is ErrBroken, after everything newer; so is, after all promotions, one that comes after the newest of the
// live ref, see [Read].
func History(ctx context.Context, s Stage) iter.Seq2[Promotion, error] {
	return func(yield func(Promotion, error) bool) {
		h := history{stage: s, yield: yield}
		if err := h.walk(ctx); err != nil && !h.done {
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

func (h *history) walk(ctx context.Context) error {
	tag, err := h.stage.tag(ctx)
	switch {
	case err != nil:
		return err
	case h.stage.Remote == nil:
		return h.walkRecords(ctx, tag)
	}
	return h.walkRef(ctx, tag)
}

func (h *history) walkRef(ctx context.Context, tag digest.Digest) error {
	var shown episodes
	read, batch := 0, 1
	_, err := mirror.History(ctx, h.stage.Remote, h.stage.Place, func(v mirror.Version) (bool, error) {
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
	carried, rerr := h.stage.records(ctx, tag)
	if rerr != nil {
		return errors.Join(h.edited, err, rerr)
	}
	state := State{Live: h.newest, Unpromoted: shown.unpromoted()}
	return errors.Join(h.edited, err, h.stage.notAhead(state, tag, carried, 0))
}

// episodes proves some promotions in a row, and yields them.
func (h *history) episodes(ctx context.Context, some []episode, head *mirror.Version) error {
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
		if err == nil && h.last != nil {
			err = h.stage.follows(*h.last, &p)
		}
		if err != nil {
			return errors.Join(h.edited, err)
		}
		h.edited = errors.Join(h.edited, h.stage.intact(some[i], head))
		if h.step(p); h.done {
			return nil
		}
	}
	return nil
}

func (h *history) step(p Promotion) {
	if h.last = &p; h.newest == nil {
		h.newest = &p
	}
	h.done = !h.yield(p, nil)
}

// walkRecords follows what each record names as the one before.
func (h *history) walkRecords(ctx context.Context, tag digest.Digest) error {
	p, err := h.stage.newest(ctx, tag)
	for err == nil && p != nil {
		if h.last != nil {
			if err := h.stage.follows(*h.last, p); err != nil {
				return err
			}
		}
		if h.step(*p); h.done {
			return nil
		}
		p, err = h.stage.previous(ctx, *p)
	}
	return err
}

package live

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/mirror"
)

// lookahead bounds the records of a history that are read at a time.
const lookahead = 16

// History visits all promotions of a stage, the newest first, each verified before it is visited. It ends early when visit
// returns false. A gap or forgery is ErrBroken, after everything newer was visited. What was promoted after the newest that
// the live ref knows, see [Read], is told when the visits are over.
func History(ctx context.Context, s Stage, visit func(Promotion) (more bool, err error)) error {
	tag, err := s.Resolve(ctx, s.Claim.Stage)
	if err != nil {
		return err
	}
	h := history{stage: s, visit: visit}
	if s.Remote == nil {
		return h.walkRecords(ctx, tag)
	}
	return h.walkRef(ctx, tag)
}

// history is one walk.
type history struct {
	stage Stage
	visit func(Promotion) (bool, error)

	newest, last *Promotion // of those visited
	done         bool       // visit wants no more
	edited       error      // what is wrong with the files at the head, which leaves the chain whole
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
	state := State{Live: h.newest}
	if shown.head != nil && shown.head.Metadata.Lockage.Record == "" {
		state.Unpromoted = &shown.head.Metadata
	}
	return errors.Join(h.edited, err, h.stage.notAhead(state, tag, carried, 0))
}

// episodes proves some promotions in a row, and visits them.
func (h *history) episodes(ctx context.Context, some []episode, head *mirror.Version) error {
	promotions, errs := make([]Promotion, len(some)), make([]error, len(some))
	var group errgroup.Group
	group.SetLimit(lookahead)
	for i, e := range some {
		group.Go(func() error {
			promotions[i], errs[i] = h.stage.prove(ctx, e)
			return nil // what is newer comes first
		})
	}
	_ = group.Wait()
	for i, p := range promotions {
		if errs[i] != nil {
			return errors.Join(h.edited, errs[i])
		}
		if h.last != nil {
			if err := h.stage.follows(*h.last, &p); err != nil {
				return errors.Join(h.edited, err)
			}
		}
		if err := h.stage.intact(some[i], head); err != nil {
			h.edited = errors.Join(h.edited, err)
		}
		if err := h.step(p); err != nil || h.done {
			return err
		}
	}
	return nil
}

func (h *history) step(p Promotion) error {
	if h.last = &p; h.newest == nil {
		h.newest = &p
	}
	more, err := h.visit(p)
	h.done = !more
	return err
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
		if err := h.step(*p); err != nil || h.done {
			return err
		}
		p, err = h.stage.previous(ctx, *p)
	}
	return err
}

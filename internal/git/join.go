package git

import (
	"context"
	"slices"
	"sync"
)

// joint lets requests go together that wait while another one is under way: a server takes about as long for many as for one, and
// what waits for others costs no round trip of its own.
type joint[T any] struct {
	fits func(batch []T, other T) bool // whether another request can go with these
	turn chan struct{}                 // has an element while a request is under way

	mu      sync.Mutex
	waiting []*joined[T]
}

func newJoint[T any](fits func(batch []T, other T) bool) joint[T] {
	return joint[T]{fits: fits, turn: make(chan struct{}, 1)}
}

// joined is a request that waits. Done says that another one took it along; it changes while somebody has the turn.
type joined[T any] struct {
	what T
	done bool
}

// do makes a request: with others that wait, or alone if it is the only one or if that fails for it. Together reports which of several
// are done.
func (j *joint[T]) do(ctx context.Context, what T, together func(context.Context, []T) []bool, alone func(context.Context, T) error) error {
	own := &joined[T]{what: what}
	j.mu.Lock()
	j.waiting = append(j.waiting, own)
	j.mu.Unlock()
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		j.take(own, false)
		return context.Cause(ctx)
	}
	defer func() { <-j.turn }()
	if batch := j.take(own, true); len(batch) > 1 {
		all := make([]T, len(batch))
		for i, b := range batch {
			all[i] = b.what
		}
		for i, done := range together(ctx, all) {
			batch[i].done = done
		}
	}
	if own.done {
		return nil
	}
	return alone(ctx, what)
}

// take removes a request from those that wait, and the others that fit if they are asked for. It returns none if the request waits no more.
func (j *joint[T]) take(own *joined[T], others bool) []*joined[T] {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.waiting, own) {
		return nil
	}
	batch, all := []*joined[T]{own}, []T{own.what}
	j.waiting = slices.DeleteFunc(j.waiting, func(other *joined[T]) bool {
		if other == own {
			return true
		}
		if !others || !j.fits(all, other.what) {
			return false
		}
		batch, all = append(batch, other), append(all, other.what)
		return true
	})
	return batch
}

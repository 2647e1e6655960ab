package git

import (
	"context"
	"slices"
	"sync"
)

// maxJoined bounds how many pushes go together.
const maxJoined = 64

// joint lets pushes of one branch each go together that wait while another one is under way: a server takes about as long for many
// branches as for one.
type joint struct {
	turn chan struct{} // has an element while somebody pushes

	mu      sync.Mutex
	waiting []*joined
}

// joined is a push that waits. Done says that another one took it along; it changes while somebody has the turn.
type joined struct {
	Update
	done bool
}

// push pushes one branch: with all others that wait, or alone if it is the only one or if that fails for it. Together reports which
// branches the server moved.
func (j *joint) push(ctx context.Context, u Update, together func(context.Context, []Update) []bool, alone func(context.Context, Update) error) error {
	own := &joined{Update: u}
	j.mu.Lock()
	j.waiting = append(j.waiting, own)
	j.mu.Unlock()
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		j.take(own, 1)
		return context.Cause(ctx)
	}
	defer func() { <-j.turn }()
	if batch := j.take(own, maxJoined); len(batch) > 1 {
		updates := make([]Update, len(batch))
		for i, b := range batch {
			updates[i] = b.Update
		}
		for i, done := range together(ctx, updates) {
			batch[i].done = done
		}
	}
	if own.done {
		return nil
	}
	return alone(ctx, u)
}

// take removes a push and up to most-1 others of other branches from those that wait. It returns none if the push waits no more.
func (j *joint) take(own *joined, most int) []*joined {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.waiting, own) {
		return nil
	}
	batch, branches := []*joined{own}, map[string]bool{own.Branch: true}
	j.waiting = slices.DeleteFunc(j.waiting, func(other *joined) bool {
		if other == own {
			return true
		}
		if len(batch) == most || branches[other.Branch] {
			return false
		}
		branches[other.Branch] = true
		batch = append(batch, other)
		return true
	})
	return batch
}

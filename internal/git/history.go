package git

import (
	"container/heap"
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// isAncestor walks back from descendant, newest commits first. What is absent
// is fetched: some generations at first, then everything.
func isAncestor(ctx context.Context, from objects, ancestor, descendant plumbing.Hash) (bool, error) {
	if _, err := loadCommit(ctx, from, descendant); err != nil {
		return false, err
	}
	if ancestor == descendant {
		return true, nil
	}
	for _, shape := range []shape{shapeRecent, shapeHistory, shapeHistory} {
		found, absent, err := walk(ctx, from, ancestor, descendant)
		if err != nil || found || len(absent) == 0 {
			return found, err
		}
		// The absent ones are asked for, not descendant: that may exist here
		// only.
		if err := from.fetch(ctx, want{ids: absent, commit: absent[0], shape: shape}); err != nil {
			return false, err
		}
	}
	found, absent, err := walk(ctx, from, ancestor, descendant)
	if err == nil && !found && len(absent) > 0 {
		return false, fmt.Errorf("the history of commit %s in %s lacks commit %s: %w", descendant, from, absent[0], ErrNotFound)
	}
	return found, err
}

// walk looks for ancestor among what is on disk, and lists the commits that
// are named there but absent.
func walk(ctx context.Context, from objects, ancestor, descendant plumbing.Hash) (found bool, absent []plumbing.Hash, err error) {
	seen := map[plumbing.Hash]bool{descendant: true}
	queue := &byTime{}
	visit := func(id plumbing.Hash) error {
		obj, err := from.read(ctx, id)
		if errors.Is(err, errMissing) {
			absent = append(absent, id)
			return nil
		}
		if err != nil {
			return err
		}
		if obj.kind != plumbing.CommitObject {
			return fmt.Errorf("%s in %s is a %s, not a commit", id, from, obj.kind)
		}
		c, err := parseCommit(id, obj.data)
		if err == nil {
			heap.Push(queue, c)
		}
		return err
	}
	if err := visit(descendant); err != nil {
		return false, nil, err
	}
	for queue.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return false, nil, err
		}
		c, _ := heap.Pop(queue).(Commit)
		for _, p := range c.Parents {
			id := p.id()
			if id == ancestor {
				return true, nil, nil
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			if err := visit(id); err != nil {
				return false, nil, err
			}
		}
	}
	return false, absent, nil
}

// byTime is a heap of commits, the newest on top.
type byTime []Commit

func (q byTime) Len() int           { return len(q) }
func (q byTime) Less(i, j int) bool { return q[i].Committed.After(q[j].Committed) }
func (q byTime) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are container/heap's.
func (q *byTime) Push(x any) {
	if c, ok := x.(Commit); ok {
		*q = append(*q, c)
	}
}

// Pop removes the last element.
func (q *byTime) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

package git

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// isAncestor walks back from descendant, newest commits first. It fetches absent commits: some generations at first, then
// everything.
func isAncestor(ctx context.Context, from objects, ancestor, descendant plumbing.Hash) (bool, error) {
	if _, err := loadCommit(ctx, from, descendant, shapeCommit); err != nil {
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
		// The absent ones are fetched, not descendant, which may be local.
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

// walk looks for ancestor among the commits on disk, and lists their absent parents.
func walk(ctx context.Context, from objects, ancestor, descendant plumbing.Hash) (found bool, absent []plumbing.Hash, err error) {
	seen := map[plumbing.Hash]bool{descendant: true}
	var queue []Commit // oldest first
	visit := func(id plumbing.Hash) error {
		obj, err := from.read(ctx, id)
		if errors.Is(err, errMissing) {
			absent = append(absent, id)
			return nil
		}
		if err != nil {
			return err
		}
		data, err := obj.as(plumbing.CommitObject, id, from)
		if err != nil {
			return err
		}
		c, err := parseCommit(id, data)
		at, _ := slices.BinarySearchFunc(queue, c, func(a, b Commit) int { return a.Committed.Compare(b.Committed) })
		queue = slices.Insert(queue, at, c)
		return err
	}
	if err := visit(descendant); err != nil {
		return false, nil, err
	}
	for len(queue) > 0 {
		if err := ctx.Err(); err != nil {
			return false, nil, err
		}
		c := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
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

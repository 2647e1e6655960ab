package git

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
)

// Log visits a commit and those before it, along first parents, newest first,
// until visit returns false or history ends. Commits alone are fetched, some
// generations at a time.
func (r *Remote) Log(ctx context.Context, from Hash, visit func(Commit) (bool, error)) error {
	for h := from; h != ""; {
		if err := ctx.Err(); err != nil {
			return err
		}
		obj, err := loadAs(ctx, r, want{ids: []plumbing.Hash{h.id()}, commit: h.id(), shape: shapeRecent})
		if err != nil {
			return err
		}
		commit, err := parseCommit(h.id(), obj.data)
		if err != nil {
			return err
		}
		more, err := visit(commit)
		if err != nil || !more || len(commit.Parents) == 0 {
			return err
		}
		h = commit.Parents[0]
	}
	return nil
}

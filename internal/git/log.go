package git

import (
	"context"
	"fmt"
	"slices"
)

// Log visits a commit and its ancestors along first parents, newest first, until visit returns false or history ends. It
// fetches commits alone: some generations at first, then all the others.
func (r *Remote) Log(ctx context.Context, from Hash, visit func(Commit) (bool, error)) error {
	shape := shapeRecent
	for h := from; h != ""; {
		if err := ctx.Err(); err != nil {
			return err
		}
		absent := !r.has(ctx, h.id())
		commit, err := loadCommit(ctx, r, h.id(), shape)
		if err != nil {
			return err
		}
		if absent {
			shape = shapeHistory
		}
		more, err := visit(commit)
		if err != nil || !more || len(commit.Parents) == 0 {
			return err
		}
		h = commit.Parents[0]
	}
	return nil
}

// PathIDs returns the ids of the file or folder at a path in each of several commits, "" if it does not exist. It fetches
// the folders on the path, those of all commits in one round trip a level, and follows no links.
func (r *Remote) PathIDs(ctx context.Context, name string, commits ...Commit) ([]Hash, error) {
	at := make([]Hash, len(commits))
	for i, c := range commits {
		at[i] = c.Tree
	}
	for _, part := range splitPath(name) {
		if err := r.FetchFiles(ctx, at...); err != nil {
			return nil, err
		}
		for i, h := range at {
			if h == "" {
				continue
			}
			next, err := r.below(ctx, h, part)
			if err != nil {
				return nil, fmt.Errorf("commit %s: %w", commits[i].Hash, err)
			}
			at[i] = next
		}
	}
	return at, nil
}

// below returns the id of a name in a folder, "" if it has none or is not a folder.
func (r *Remote) below(ctx context.Context, folder Hash, name string) (Hash, error) {
	entries, _, err := r.entries(ctx, folder)
	if i := slices.IndexFunc(entries, func(e rawEntry) bool { return e.name == name }); i >= 0 {
		return hashOf(entries[i].id), nil
	}
	return "", err
}

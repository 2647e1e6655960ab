package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// IsAncestor reports whether ancestor is descendant or an ancestor of it. It fetches absent commits, alone and each once:
// some generations at first, then the whole history.
func (c *commits) IsAncestor(ctx context.Context, ancestor, descendant Hash) (bool, error) {
	if _, err := c.Commit(ctx, descendant); err != nil {
		return false, err
	}
	if ancestor == descendant {
		return true, nil
	}
	shapes := []shape{shapeRecent, shapeHistory, shapeHistory}
	for i := 0; ; i++ {
		found, absent, err := walk(ctx, c.from, ancestor.id(), descendant.id())
		if err != nil || found || len(absent) == 0 {
			return found, err
		}
		if i == len(shapes) {
			return false, fmt.Errorf("the history of commit %s in %s lacks commit %s: %w", descendant, c.from, absent[0], ErrNotFound)
		}
		// The absent ones are fetched, not descendant, which may be local.
		if err := c.from.fetch(ctx, want{ids: absent, commit: absent[0], shape: shapes[i]}); err != nil {
			return false, err
		}
	}
}

// walk looks for ancestor among the commits on disk, newest first, and lists their absent parents.
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

// Log visits a commit and its ancestors along first parents, newest first, until visit returns false or history ends. It
// fetches commits alone: some generations at first, then all the others.
func (c *commits) Log(ctx context.Context, from Hash, visit func(Commit) (bool, error)) error {
	shape := shapeRecent
	for h := from; h != ""; {
		if err := ctx.Err(); err != nil {
			return err
		}
		absent := !c.from.has(ctx, h.id())
		commit, err := c.load(ctx, h, shape)
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

// PathIDs returns the ids of the file or folder at a path in each of several commits, "" if it does not exist, as
// [Repository.PathsIDs] does.
func (c *commits) PathIDs(ctx context.Context, name string, all ...Commit) ([]Hash, error) {
	ids, err := c.PathsIDs(ctx, []string{name}, all...)
	if err != nil {
		return nil, err
	}
	return ids[0], nil
}

// PathsIDs returns, for each of several paths, the ids of the file or folder there in each of several commits, "" if it does not
// exist, or if another repository has it. It fetches the folders on the paths, those of all in one round trip a level, reads each once, and follows no links.
func (c *commits) PathsIDs(ctx context.Context, names []string, all ...Commit) ([][]Hash, error) {
	at, parts, levels := make([][]Hash, len(names)), make([][]string, len(names)), 0
	for n, name := range names {
		for _, commit := range all {
			at[n] = append(at[n], commit.Tree)
		}
		parts[n] = splitPath(name)
		levels = max(levels, len(parts[n]))
	}
	for level := range levels {
		if err := c.descend(ctx, level, parts, at); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// descend replaces ids of folders by those of what the next parts of the paths name in them.
func (c *commits) descend(ctx context.Context, level int, parts [][]string, at [][]Hash) error {
	var folders []Hash
	below := map[Hash]map[string][]*Hash{} // of each folder, what is looked for in it
	for n := range at {
		if level >= len(parts[n]) {
			continue
		}
		for i, folder := range at[n] {
			if folder == "" {
				continue
			}
			if below[folder] == nil {
				folders, below[folder] = append(folders, folder), map[string][]*Hash{}
			}
			part := parts[n][level]
			if level < len(parts[n])-1 {
				part += "/"
			}
			below[folder][part] = append(below[folder][part], &at[n][i])
			at[n][i] = ""
		}
	}
	unknown := slices.DeleteFunc(slices.Clone(folders), func(id Hash) bool {
		_, known := c.folders.Get(id)
		return known
	})
	if err := c.FetchFiles(ctx, unknown...); err != nil {
		return err
	}
	for _, id := range folders {
		folder, err := c.folder(ctx, id)
		if err != nil {
			return err
		}
		for part, ids := range below[id] {
			name, isFolder := strings.CutSuffix(part, "/")
			e, ok := folder.find(name) // nothing if it is not a folder
			if !ok || isFolder && e.mode != filemode.Dir || e.mode == filemode.Submodule {
				continue
			}
			for _, id := range ids {
				*id = hashOf(e.id)
			}
		}
	}
	return nil
}

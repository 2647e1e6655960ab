package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lockage/lockage/internal/git"
)

// Version is the content of a place from one commit on.
type Version struct {
	Commit   git.Hash // the first one that shows it
	Parent   git.Hash // of that commit; "" for none
	Tree     git.Hash // of everything below the path; "" for nothing
	Promoted git.Hash // of everything but the statements: what a record names; "" if the place is not a folder
	Metadata Metadata // zero unless Ours
	Ours     bool     // the metadata names an artifact of lockage

	folder
}

// Batches of commits whose folders are read at once: the first is small, since most callers need the newest version.
const (
	firstBatch = 8
	maxBatch   = 256
)

// History visits the versions of a path along the first parents of a commit, "" for none, the newest first, until visit returns
// false. Commits that do not change the path are not versions. A hundred thousand commits without an end are an error, since those that
// are not read might matter.
func History(ctx context.Context, remote *git.Remote, head git.Hash, path string, visit func(Version) (more bool, err error)) error {
	if head == "" {
		return nil
	}
	h := history{remote: remote, path: path, visit: visit, limit: firstBatch}
	if err := h.walk(ctx, head); err != nil {
		return fmt.Errorf("%s of %s: %w", path, remote, err)
	}
	return nil
}

// history is one walk.
type history struct {
	remote *git.Remote
	path   string
	visit  func(Version) (bool, error)

	batch []git.Commit
	limit int     // of the batch
	seen  int     // commits
	done  bool    // visit returned false
	last  Version // that may begin at the last commit of the batch before, without its files and metadata
}

func (h *history) walk(ctx context.Context, head git.Hash) error {
	if err := h.remote.FetchTrees(ctx, firstBatch, head); err != nil {
		return err
	}
	err := h.remote.Log(ctx, head, func(c git.Commit) (bool, error) {
		if h.seen++; h.seen > maxHistory {
			return false, fmt.Errorf("the history of %s is longer than %d commits, the most that are read", h.path, maxHistory)
		}
		if h.batch = append(h.batch, c); len(h.batch) < h.limit {
			return true, nil
		}
		err := h.flush(ctx, false)
		return !h.done, err
	})
	if err != nil || h.done {
		return err
	}
	return h.flush(ctx, true)
}

// flush finds the versions that begin in the batch. The oldest commit waits for its parent, unless history ends with it.
func (h *history) flush(ctx context.Context, end bool) error {
	ids, err := h.ids(ctx)
	if err != nil {
		return err
	}
	var versions []Version
	for i, c := range h.batch {
		if h.last.Commit != "" && ids[i] != h.last.Tree {
			versions = append(versions, h.last)
		}
		h.last = Version{Commit: c.Hash, Tree: ids[i]}
		if len(c.Parents) > 0 {
			h.last.Parent = c.Parents[0]
		}
	}
	if end && h.last.Tree != "" {
		versions = append(versions, h.last)
	}
	h.batch, h.limit = nil, min(h.limit*4, maxBatch)
	if err := h.read(ctx, versions); err != nil {
		return err
	}
	for _, v := range versions {
		more, err := h.visit(v)
		if err != nil || !more {
			h.done = true
			return err
		}
	}
	return nil
}

// ids returns the ids of what the commits of the batch have at the path, "" also where that is in a folder that nobody can read as Git does.
func (h *history) ids(ctx context.Context) ([]git.Hash, error) {
	ids, err := h.remote.PathIDs(ctx, h.path, h.batch...)
	if !errors.Is(err, fs.ErrInvalid) {
		return ids, err
	}
	ids = make([]git.Hash, len(h.batch))
	for i, c := range h.batch {
		one, err := h.remote.PathIDs(ctx, h.path, c)
		if err == nil {
			ids[i] = one[0]
		} else if !errors.Is(err, fs.ErrInvalid) {
			return nil, err
		}
	}
	return ids, nil
}

// read fills in trees and metadata of the versions, in at most two round trips.
func (h *history) read(ctx context.Context, versions []Version) error {
	trees := make([]git.Hash, len(versions))
	for i, v := range versions {
		trees[i] = v.Tree
	}
	if err := h.remote.FetchFiles(ctx, trees...); err != nil {
		return err
	}
	var beside []git.Hash
	for i := range versions {
		v := &versions[i]
		if v.Tree == "" {
			continue
		}
		items, ok, err := h.remote.Entries(ctx, v.Tree)
		if errors.Is(err, fs.ErrInvalid) {
			continue
		}
		if err != nil {
			return err
		}
		f, _ := split(items)
		if !ok || f.Files == "" {
			continue // it shows nothing
		}
		v.folder, beside = f, append(beside, f.metadata, f.statements)
		promoted := slices.DeleteFunc(items, func(item git.Item) bool { return item.Path == StatementsFile })
		if v.Promoted, err = git.TreeID(promoted); err != nil {
			return err
		}
	}
	if err := h.remote.FetchFiles(ctx, beside...); err != nil {
		return err
	}
	for i := range versions {
		v := &versions[i]
		var err error
		if v.Metadata, v.Ours, err = readMetadata(ctx, h.remote, v.metadata); err != nil {
			return err
		}
	}
	return nil
}

// Shown returns what a branch's head shows at a place, as if the version began there; zero if the branch does not exist.
func Shown(ctx context.Context, remote *git.Remote, at Place) (Version, error) {
	tips, err := remote.Tips(ctx, at.Branch)
	if err != nil || tips[at.Branch] == "" {
		return Version{}, err
	}
	return shown(ctx, remote, tips[at.Branch], at.Path)
}

// shown returns what a commit shows at a path.
func shown(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (Version, error) {
	v := []Version{{Commit: commit}}
	_, ids, err := trees(ctx, remote, path, commit)
	if err == nil {
		v[0].Tree = ids[0]
		err = (&history{remote: remote}).read(ctx, v)
	}
	return v[0], err
}

// trees reads commits, and Git's ids of what they have at a path.
func trees(ctx context.Context, remote *git.Remote, path string, hashes ...git.Hash) (commits []git.Commit, ids []git.Hash, err error) {
	err = remote.FetchTrees(ctx, 1, hashes...)
	for _, hash := range hashes {
		var c git.Commit
		if err == nil {
			c, err = remote.Commit(ctx, hash)
		}
		commits = append(commits, c)
	}
	if err == nil {
		ids, err = remote.PathIDs(ctx, path, commits...)
	}
	return commits, ids, err
}

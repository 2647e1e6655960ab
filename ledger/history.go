package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockage/lockage/internal/git"
)

// Version is the content of a place from one commit on.
type Version struct {
	Commit   git.Hash  // the first one that shows it
	Parent   git.Hash  // of that commit; "" for none
	Time     time.Time // the committer's, as the commit says
	Tree     git.Hash  // of everything below the path; "" for nothing
	Files    git.Hash  // of the artifact's files alone; "" if the place is not a folder
	Promoted git.Hash  // of everything but the statements: what a record names; "" if the place is not a folder
	Metadata Metadata  // zero unless Ours
	Ours     bool      // the metadata names an artifact of lockage

	statements git.Hash
}

// Batches of commits whose folders are read at once: the first is small, since most callers need the newest version.
const (
	firstBatch = 8
	maxBatch   = 256
)

// History visits the versions of a place along the branch's first parents, the newest first, until visit returns false. It
// returns the head of the branch, "" if it does not exist. Commits that do not change the place are not versions. A hundred
// thousand commits without an end are an error, since those that are not read might matter.
func History(ctx context.Context, remote *git.Remote, at Place, visit func(Version) (more bool, err error)) (git.Hash, error) {
	tips, err := remote.Tips(ctx, at.Branch)
	if err != nil {
		return "", err
	}
	head := tips[at.Branch]
	if head == "" {
		return "", nil
	}
	if err := HistoryFrom(ctx, remote, head, at.Path, visit); err != nil {
		return head, fmt.Errorf("branch %s: %w", at.Branch, err)
	}
	return head, nil
}

// HistoryFrom is [History] from a commit on.
func HistoryFrom(ctx context.Context, remote *git.Remote, head git.Hash, path string, visit func(Version) (more bool, err error)) error {
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
	ids, err := h.remote.PathIDs(ctx, h.path, h.batch...)
	if err != nil {
		return err
	}
	var versions []Version
	for i, c := range h.batch {
		if h.last.Commit != "" && ids[i] != h.last.Tree {
			versions = append(versions, h.last)
		}
		h.last = Version{Commit: c.Hash, Time: c.Committed, Tree: ids[i]}
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

// read fills in trees and metadata of the versions, in at most two round trips.
func (h *history) read(ctx context.Context, versions []Version) error {
	trees, metadata := make([]git.Hash, len(versions)), make([]git.Hash, len(versions))
	for i, v := range versions {
		trees[i] = v.Tree
	}
	if err := h.remote.FetchFiles(ctx, trees...); err != nil {
		return err
	}
	for i, tree := range trees {
		if tree == "" {
			continue
		}
		items, ok, err := h.remote.Entries(ctx, tree)
		if err != nil {
			return err
		}
		// A folder that git itself would refuse has no id, and shows nothing.
		f := split(items)
		if id, err := git.TreeID(f.files); ok && err == nil {
			versions[i].Files, versions[i].statements, metadata[i] = id, f.statements, f.metadata
			promoted := slices.DeleteFunc(items, func(item git.Item) bool { return item.Path == StatementsFile })
			if versions[i].Promoted, err = git.TreeID(promoted); err != nil {
				return err
			}
		}
	}
	beside := slices.Clone(metadata)
	for _, v := range versions {
		beside = append(beside, v.statements)
	}
	if err := h.remote.FetchFiles(ctx, beside...); err != nil {
		return err
	}
	for i, id := range metadata {
		if id == "" {
			continue
		}
		data, err := h.remote.File(ctx, id)
		if err != nil {
			return err
		}
		versions[i].Metadata, versions[i].Ours = ParseMetadata(data)
	}
	return nil
}

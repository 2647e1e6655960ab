package workspace

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
)

const (
	maxHistory   = 20_000 // commits that versions reads
	historyBatch = 64     // commits read at a time: their folders cost one round trip a level
)

// Releases returns the releases of a lock directory, each once and the newest first: the current one, and those that were
// current on the policy ref before it. files are the policy ref's. Without a remote that has its history, locks are ordered
// by createdAt; a lock without it counts as new.
func (p *Policy) Releases(ctx context.Context, files fs.FS, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		seen := map[string]bool{}
		enough := false
		give := func(id string) bool {
			if !seen[id] {
				seen[id] = true
				enough = !yield(id, nil)
			}
			return !enough
		}
		current, err := lock.Current(files, dir)
		if err != nil {
			yield("", err)
			return
		}
		if !give(current.ReleaseID) {
			return
		}
		if p.remote != nil {
			name := path.Join(dir, "current.yaml")
			err = p.versions(ctx, name, func(data []byte) bool {
				l, err := lock.Parse(name, data)
				return err != nil || give(l.ReleaseID) // an old file that cannot be read does not count
			})
		} else {
			var ids []string
			ids, err = byCreation(files, dir)
			for _, id := range ids {
				if !give(id) {
					return
				}
			}
		}
		if err != nil && !enough {
			yield("", fmt.Errorf("releases of %s: %w", dir, err))
		}
	}
}

// versions visits the distinct versions of a file on the policy ref, newest first along first parents, until visit returns false.
func (p *Policy) versions(ctx context.Context, name string, visit func(data []byte) (more bool)) error {
	var last git.Hash
	return p.log(ctx, []string{name}, func(_ git.Commit, ids []git.Hash) (bool, error) {
		if ids[0] == "" || ids[0] == last {
			return true, nil
		}
		last = ids[0]
		data, err := p.source.File(ctx, last)
		return err == nil && visit(data), err
	})
}

// Change is a commit of the policy ref that changed files, and its first parent.
type Change struct{ Commit, Before string }

// Changes yields the commits of the policy ref that changed one of the files, the newest first along first parents.
func (p *Policy) Changes(ctx context.Context, names ...string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		var after git.Commit
		var last []git.Hash
		err := p.log(ctx, names, func(c git.Commit, ids []git.Hash) (bool, error) {
			more := last == nil || slices.Equal(ids, last) || yield(Change{string(after.Hash), string(c.Hash)}, nil)
			after, last = c, ids
			return more, nil
		})
		if err != nil {
			yield(Change{}, err)
		}
	}
}

// log visits the commits of the policy ref along first parents, the newest first, with the ids of files in each, "" for none, until
// visit returns false.
func (p *Policy) log(ctx context.Context, names []string, visit func(c git.Commit, ids []git.Hash) (more bool, err error)) error {
	var batch []git.Commit
	seen, more := 0, true
	flush := func() error {
		ids := make([][]git.Hash, len(batch))
		for _, name := range names {
			at, err := p.source.PathIDs(ctx, name, batch...)
			if err != nil {
				return err
			}
			for i, id := range at {
				ids[i] = append(ids[i], id)
			}
		}
		for i, c := range batch {
			var err error
			if more, err = visit(c, ids[i]); err != nil || !more {
				return err
			}
		}
		batch = batch[:0]
		return nil
	}
	err := p.source.Log(ctx, p.tip, func(c git.Commit) (bool, error) {
		seen++
		batch = append(batch, c)
		if len(batch) < min(historyBatch, seen) {
			return true, nil
		}
		err := flush()
		return more && seen < maxHistory, err
	})
	if err == nil && more && len(batch) > 0 {
		err = flush()
	}
	if err != nil {
		return fmt.Errorf("history of %s on %s: %w", strings.Join(names, ", "), p.name, err)
	}
	return nil
}

// byCreation lists the releases of a lock directory by createdAt, the newest first.
func byCreation(files fs.FS, dir string) ([]string, error) {
	ids, err := lock.Releases(files, dir)
	if err != nil {
		return nil, err
	}
	created := map[string]int64{}
	for _, id := range ids {
		f, err := lock.Release(files, dir, id)
		if err != nil {
			return nil, err
		}
		created[id] = math.MaxInt64
		if t := f.Created(); !t.IsZero() {
			created[id] = t.Unix()
		}
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(created[b], created[a]) })
	return ids, nil
}

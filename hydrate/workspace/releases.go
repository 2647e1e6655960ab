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
	var batch []git.Commit
	var last git.Hash
	seen, more := 0, true
	flush := func() error {
		ids, err := p.remote.PathIDs(ctx, name, batch...)
		if err != nil {
			return err
		}
		batch = batch[:0]
		for _, id := range ids {
			if id == "" || id == last {
				continue
			}
			last = id
			data, err := p.remote.File(ctx, id)
			if err != nil {
				return err
			}
			if more = visit(data); !more {
				break
			}
		}
		return nil
	}
	err := p.remote.Log(ctx, p.tip, func(c git.Commit) (bool, error) {
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
		return fmt.Errorf("history of %s on %s: %w", name, p.name, err)
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

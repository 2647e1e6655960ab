package workspace

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
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
			name := lock.CurrentFile(dir)
			err = p.log.versions(ctx, name, func(id git.Hash) (bool, error) {
				data, err := p.source.File(ctx, id)
				if err != nil {
					return false, err
				}
				l, err := lock.Parse(name, data)
				return err != nil || give(l.ReleaseID), nil // an old file that cannot be read does not count
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

package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"path"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
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
		if !give(current.Lock.ReleaseID) {
			return
		}
		name := path.Join(dir, "current.yaml")
		err = p.Versions(ctx, name, func(data []byte) (bool, error) {
			l, err := lock.Parse(name, data)
			if err != nil {
				return true, nil //nolint:nilerr // an old file that cannot be read does not count
			}
			return give(l.ReleaseID), nil
		})
		if errors.Is(err, ErrNoHistory) {
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
		if t := f.Lock.Created(); !t.IsZero() {
			created[id] = t.Unix()
		}
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(created[b], created[a]) })
	return ids, nil
}

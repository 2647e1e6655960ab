package promotion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"time"

	"github.com/lockage/lockage/gitops"
	"github.com/lockage/lockage/hydrate/lock"
)

// maxReleases bounds how far back in the lock's history a release is looked for.
const maxReleases = 500

// releases are those of a lock directory, the newest first: the current one, and those that were current on the policy ref
// before it. Where there is no remote to ask for its history, locks are ordered by createdAt.
func (r *run) releases(ctx context.Context, dir string) *sequence[string] {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.histories[dir]
	if s == nil {
		s = newSequence(r.walk(ctx, dir))
		r.histories[dir] = s
	}
	return s
}

// place is where a release stands in the history, 0 for the newest; -1 where it was never current.
func place(history *sequence[string], release string) (int, error) {
	for i := range maxReleases {
		id, ok, err := history.at(i)
		switch {
		case err != nil:
			return -1, err
		case !ok:
			return -1, nil
		case id == release:
			return i, nil
		}
	}
	return -1, nil
}

// walk yields each release once.
func (r *run) walk(ctx context.Context, dir string) iter.Seq2[string, error] {
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
		current, err := lock.Current(r.files, dir)
		if err != nil {
			yield("", err)
			return
		}
		if !give(current.Lock.ReleaseID) {
			return
		}
		name := path.Join(dir, "current.yaml")
		err = r.trunk.Versions(ctx, name, func(data []byte) (bool, error) {
			l, err := lock.Parse(name, data)
			if err != nil {
				return true, nil //nolint:nilerr // an old file that cannot be read is no release
			}
			return give(l.ReleaseID), nil
		})
		if errors.Is(err, gitops.ErrNoHistory) {
			var ids []string
			ids, err = byCreation(r.files, dir)
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
	created := map[string]time.Time{}
	for _, id := range ids {
		f, err := lock.Release(files, dir, id)
		if err != nil {
			return nil, err
		}
		created[id] = createdAt(f.Lock)
	}
	slices.SortStableFunc(ids, func(a, b string) int { return cmp.Compare(created[b].UnixNano(), created[a].UnixNano()) })
	return ids, nil
}

// createdAt is when a lock was written; zero where it does not say.
func createdAt(l lock.Lock) time.Time {
	t, err := time.Parse(time.RFC3339, l.CreatedAt)
	if err != nil {
		return time.Time{}
	}
	return t
}

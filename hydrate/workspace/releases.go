package workspace

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
)

// Releases returns the releases of a lock directory that were current on the policy ref, each once, in the order in which they first
// became it, the newest first. A lock that comes back stays where it was: it is no newer for that. files are the policy ref's.
func (p *Policy) Releases(ctx context.Context, files fs.FS, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		_, err := lock.Current(files, dir)
		if err == nil {
			err = p.appearances(ctx, dir, func(release string, _ int) bool { return yield(release, nil) })
		}
		if err != nil {
			yield("", fmt.Errorf("releases of %s: %w", dir, err))
		}
	}
}

// Since returns the releases that first became current after another one did. If that never was current, a hotfix for example, they are
// those that did so in the commit that recorded it, such as the only one of a history that was squashed, or afterwards.
func (p *Policy) Since(ctx context.Context, dir, release string) (since []string, err error) {
	var places []int
	found := false
	if err := p.appearances(ctx, dir, func(id string, at int) bool {
		if found = id == release; !found {
			since, places = append(since, id), append(places, at)
		}
		return !found
	}); err != nil || found {
		return since, err
	}
	recorded, err := p.log.recorded(ctx, historyFile(dir, release))
	if err == nil && recorded < 0 {
		err = fmt.Errorf("the lock of %s is not on %s", release, p.name)
	}
	later, _ := slices.BinarySearch(places, recorded+1)
	return since[:later], err
}

// Newer returns the newest release of a lock directory if another one was current before it on the policy ref; "" if that one is not
// older, or never was current.
func (p *Policy) Newer(ctx context.Context, dir, release string) (newest string, err error) {
	older := false
	err = p.appearances(ctx, dir, func(id string, _ int) bool {
		older = id == release
		if newest == "" {
			newest = id
		}
		return !older
	})
	if !older || newest == release {
		newest = ""
	}
	return newest, err
}

// appearances visits the releases that were current, with the places in the log where they first became it, the newest first, until
// visit returns false. An old file that cannot be read does not count, and neither does a release that a merge does not bring the file of.
func (p *Policy) appearances(ctx context.Context, dir string, visit func(release string, at int) bool) error {
	t, err := p.timelines.Get(dir, func() (*timeline, error) { return &timeline{policy: p, dir: dir}, nil })
	for i := 0; err == nil; i++ {
		m, ok, err := t.moment(ctx, i)
		if err != nil || !ok {
			return err
		}
		if m.release == "" {
			continue
		}
		before, err := t.before(ctx, i)
		if err != nil || !before && !visit(m.release, m.at) {
			return err
		}
	}
	return err
}

// Had reports whether the lock of a release may have been there at a commit: the commit has it, or has no locks in that directory, which
// were somewhere else then, or is not on the policy ref.
func (p *Policy) Had(ctx context.Context, dir, release, commit string) (bool, error) {
	on, err := p.Contains(ctx, commit)
	if err != nil || !on {
		return true, err
	}
	name := historyFile(dir, release)
	return p.had.Get(name+"@"+commit, func() (had bool, err error) {
		err = p.source.Log(ctx, git.Hash(commit), func(c git.Commit) (bool, error) {
			ids, err := p.source.PathsIDs(ctx, []string{name, dir}, c)
			had = err == nil && (ids[0][0] != "" || ids[1][0] == "")
			return false, err
		})
		return had, err
	})
}

func historyFile(dir, release string) string { return path.Join(dir, release+".yaml") }

// place returns the place in the log where a version began, by the version before it, or that it was the first.
func (l *log) place(before version, ok bool) int {
	if ok {
		return before.at - 1
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.commits) - 1
}

// exists reports whether there is a file at a place in the log.
func (l *log) exists(ctx context.Context, name string, at int) (bool, error) {
	l.mu.Lock()
	err := l.grow(ctx, at+1)
	known := l.commits
	l.mu.Unlock()
	if err != nil || at >= len(known) {
		return false, err
	}
	ids, err := l.source.PathsIDs(ctx, []string{name}, known[at])
	if err != nil {
		return false, fmt.Errorf("history of %s: %w", l.name, err)
	}
	return ids[0][0] != git.Hash(""), nil
}

// recorded returns the place since which a file is there; -1 if it is not.
func (l *log) recorded(ctx context.Context, name string) (int, error) {
	for i := 0; ; i++ {
		v, ok, err := l.version(ctx, name, i)
		switch {
		case err != nil:
			return 0, err
		case !ok || v.id == "":
			return l.place(v, ok), nil
		}
	}
}

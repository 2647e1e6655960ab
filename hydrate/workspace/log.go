package workspace

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
)

const (
	maxHistory = 20_000 // commits of the policy ref that are read
	logBatch   = 64     // commits whose folders are read at a time: they cost one round trip a level
)

// log is the policy ref along first parents, the newest commit first, with what became of some files. It is read once for all
// pipelines, and as far as somebody asks.
type log struct {
	source source
	name   string // of the policy ref
	tip    git.Hash
	warn   func(string)

	mu      sync.Mutex
	commits []git.Commit // read so far
	places  map[git.Hash]int
	ended   bool // there are no others, or too many
	files   map[string]*file
}

// file is what became of a file.
type file struct {
	read     int // commits that were looked at
	versions []version
}

// version is what a file is from one place in the log on to the next version's; its id is "" for nothing.
type version struct {
	at int
	id git.Hash
}

// Expect names the pipelines that will be asked about: what became of their files is then read together.
func (p *Policy) Expect(pipelines []*pipeline.Pipeline) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	for _, one := range pipelines {
		p.log.file(one.File)
		p.log.file(one.Lock)
		p.log.file(lock.CurrentFile(one.Lock))
	}
}

// file returns what is known of a file.
func (l *log) file(name string) *file {
	f := l.files[name]
	if f == nil {
		f = &file{}
		if l.files == nil {
			l.files = map[string]*file{}
		}
		l.files[name] = f
	}
	return f
}

// version returns the i-th version of a file, false if it had no more.
func (l *log) version(ctx context.Context, name string, i int) (version, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := l.file(name); ; {
		if i < len(f.versions) {
			return f.versions[i], true, nil
		}
		if more, err := l.advance(ctx, f); err != nil || !more {
			return version{}, false, err
		}
	}
}

// idAt returns what a file is at a place that the log was read to.
func (l *log) idAt(ctx context.Context, name string, at int) (git.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file(name)
	for f.read <= at {
		if more, err := l.advance(ctx, f); err != nil || !more {
			return "", err
		}
	}
	i, _ := slices.BinarySearchFunc(f.versions, at+1, func(v version, at int) int { return cmp.Compare(v.at, at) })
	return f.versions[i-1].id, nil
}

// Change is a commit that changed files, and the one before it: its first parent, or on a branch that was merged, the next older one there.
type Change struct {
	Commit, Before string
	Merged         bool // Before is on a branch that was merged
}

// Changes yields the commits of the policy ref that changed one of the files, the newest first along first parents, each after what changed
// on the branches that it merged: `git pull` makes a branch of what the policy ref was.
func (p *Policy) Changes(ctx context.Context, names ...string) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for after := 0; ; {
			c, before, ok, err := p.log.change(ctx, after, names)
			var all []Change
			if err == nil && ok {
				all, err = p.log.mergedChanges(ctx, before-1, names)
			}
			if err != nil {
				yield(Change{}, err)
			}
			if err != nil || !ok {
				return
			}
			for _, c := range append(all, c) {
				if !yield(c, nil) {
					return
				}
			}
			after = before
		}
	}
}

// mergedChanges returns the changes of files on the branches that the commit at a place merged, the newest first.
func (l *log) mergedChanges(ctx context.Context, at int, names []string) (changes []Change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	commits, err := l.branches(ctx, at)
	if err == nil && len(commits) == 0 {
		return nil, nil
	}
	commits = slices.Insert(commits, 0, l.commits[at])
	var ids [][]git.Hash
	if err == nil {
		ids, err = l.source.PathsIDs(ctx, names, commits...)
	}
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", l.name, err)
	}
	for i, before := range commits[1:] {
		if slices.ContainsFunc(ids, func(of []git.Hash) bool { return of[i] != of[i+1] }) {
			changes = append(changes, Change{string(commits[i].Hash), string(before.Hash), true})
		}
	}
	return changes, nil
}

// change returns the next commit after a place in the log that changed one of the files, and the place of its parent.
func (l *log) change(ctx context.Context, after int, names []string) (c Change, before int, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		before, ok = 0, false
		least := l.file(names[0]) // is known least far
		for _, name := range names {
			f := l.file(name)
			if at, found := f.older(after); found && (!ok || at < before) {
				before, ok = at, true
			}
			if f.read < least.read {
				least = f
			}
		}
		if ok && before < least.read {
			return Change{Commit: string(l.commits[before-1].Hash), Before: string(l.commits[before].Hash)}, before, true, nil
		}
		if more, err := l.advance(ctx, least); err != nil || !more {
			return c, 0, false, err
		}
	}
}

// older returns the first place after another one where an older version of the file begins, as far as it is known.
func (f *file) older(after int) (at int, ok bool) {
	i, _ := slices.BinarySearchFunc(f.versions, after+1, func(v version, at int) int { return cmp.Compare(v.at, at) })
	if i == len(f.versions) {
		return 0, false
	}
	return f.versions[i].at, true
}

// advance looks at further commits for a file, and for all files that are known as far as this one. It returns false at the end.
func (l *log) advance(ctx context.Context, f *file) (bool, error) {
	from := f.read
	to := from + min(max(1, from), logBatch)
	if err := l.grow(ctx, to); err != nil {
		return false, fmt.Errorf("history of %s: %w", l.name, err)
	}
	to = min(to, len(l.commits))
	if from == to {
		return false, nil
	}
	var names []string
	for name, other := range l.files {
		if other.read == from {
			names = append(names, name)
		}
	}
	ids, err := l.source.PathsIDs(ctx, names, l.commits[from:to]...)
	if err != nil {
		return false, fmt.Errorf("history of %s: %w", l.name, err)
	}
	var found []git.Hash
	for n, name := range names {
		f := l.files[name]
		f.read = to
		for i, id := range ids[n] {
			if last := len(f.versions) - 1; last < 0 || f.versions[last].id != id {
				f.versions = append(f.versions, version{from + i, id})
				found = append(found, id)
			}
		}
	}
	if err := l.source.FetchFiles(ctx, found...); err != nil {
		return false, fmt.Errorf("history of %s: %w", l.name, err)
	}
	return true, nil
}

// grow reads commits until there are n of them.
func (l *log) grow(ctx context.Context, n int) error {
	if len(l.commits) >= n || l.ended {
		return nil
	}
	next := l.tip
	if known := len(l.commits); known > 0 {
		next = l.commits[known-1].Parents[0]
	}
	err := l.source.Log(ctx, next, func(c git.Commit) (bool, error) {
		if l.places == nil {
			l.places = map[git.Hash]int{}
		}
		l.places[c.Hash] = len(l.commits)
		l.commits = append(l.commits, c)
		return len(l.commits) < min(n, maxHistory), nil
	})
	if err != nil {
		return err
	}
	last := l.commits[len(l.commits)-1]
	if l.ended = len(last.Parents) == 0; !l.ended && len(l.commits) == maxHistory {
		l.ended = true
		l.warn(fmt.Sprintf("%s has more than %d commits: what was locked or declared before the newest ones is not looked at", l.name, maxHistory))
	}
	return nil
}

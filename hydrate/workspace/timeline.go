package workspace

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
)

// timeline is what the current.yaml of a lock directory named, the newest first: along first parents, with what it named on a merged
// branch right before the merge. It is read as far as somebody asks.
type timeline struct {
	policy *Policy
	dir    string

	mu      sync.Mutex
	moments []moment
	next    int // version of the directory to look at
	ended   bool
}

// moment is a release in current.yaml; "" for none that can be read.
type moment struct {
	release string
	at      int // its place in the log, the merge's if it was on a merged branch
}

// moment returns the i-th moment, false if there are no more.
func (t *timeline) moment(ctx context.Context, i int) (moment, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i >= len(t.moments) && !t.ended {
		if err := t.advance(ctx); err != nil {
			return moment{}, false, err
		}
	}
	if i >= len(t.moments) {
		return moment{}, false, nil
	}
	return t.moments[i], true, nil
}

// advance adds what the commit that began the directory's next version says, and what it merged. A merge that leaves the directory as its
// first parent has it brings no release, and neither does one without the release's own file.
func (t *timeline) advance(ctx context.Context) error {
	l, current := t.policy.log, lock.CurrentFile(t.dir)
	if _, ok, err := l.version(ctx, t.dir, t.next); err != nil || !ok {
		t.ended = err == nil
		return err
	}
	before, ok, err := l.version(ctx, t.dir, t.next+1)
	if err != nil {
		return err
	}
	at := l.place(before, ok)
	id, err := l.idAt(ctx, current, at)
	if err != nil {
		return err
	}
	release, err := t.policy.releaseIn(ctx, current, id)
	if err != nil {
		return err
	}
	var ids []git.Hash
	if ok { // else the log may end here, and not the history
		if ids, err = l.merged(ctx, current, at); err != nil {
			return fmt.Errorf("history of %s: %w", l.name, err)
		}
	}
	added := []moment{{release, at}}
	for _, id := range ids {
		if release, err = t.policy.releaseIn(ctx, current, id); err != nil {
			return err
		}
		if ok, err = l.exists(ctx, historyFile(t.dir, release), at); err != nil {
			return err
		}
		if ok {
			added = append(added, moment{release, at})
		}
	}
	t.moments, t.next = append(t.moments, added...), t.next+1
	return nil
}

// before reports whether the release of the i-th moment was current before it. Without its own file at the first parent, it can have been
// so on the same merged branches only: else each question would read the whole history.
func (t *timeline) before(ctx context.Context, i int) (bool, error) {
	m, _, err := t.moment(ctx, i)
	if err != nil {
		return false, err
	}
	known, err := t.policy.log.exists(ctx, historyFile(t.dir, m.release), m.at+1)
	for i++; err == nil; i++ {
		var older moment
		var ok bool
		if older, ok, err = t.moment(ctx, i); err != nil || !ok || !known && older.at > m.at {
			return false, err
		}
		if older.release == m.release {
			return true, nil
		}
	}
	return false, err
}

// releaseIn returns the release of a current.yaml; "" if it cannot be read.
func (p *Policy) releaseIn(ctx context.Context, name string, id git.Hash) (string, error) {
	if id == "" {
		return "", nil
	}
	return p.releases.Get(id, func() (string, error) {
		data, err := p.source.File(ctx, id)
		if err != nil {
			return "", err
		}
		l, err := lock.Parse(name, data)
		if err != nil {
			return "", nil //nolint:nilerr // it counts as nothing
		}
		return l.ReleaseID, nil
	})
}

// merged returns what a file was on the branches that the commit at a place merged, the newest first.
func (l *log) merged(ctx context.Context, name string, at int) ([]git.Hash, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	commits, err := l.branches(ctx, at)
	if err != nil || len(commits) == 0 {
		return nil, err
	}
	ids, err := l.source.PathsIDs(ctx, []string{name}, commits...)
	if err != nil {
		return nil, err
	}
	found := slices.Compact(ids[0])
	return found, l.source.FetchFiles(ctx, found...)
}

// branches returns the commits of the branches that the commit at a place merged, the newest first.
func (l *log) branches(ctx context.Context, at int) ([]git.Commit, error) {
	branches := branches{log: l, at: at, seen: map[git.Hash]bool{}}
	err := branches.merge(ctx, l.commits[at])
	slices.Reverse(branches.commits)
	return branches.commits, err
}

// branches are the commits of branches that were merged, the oldest first.
type branches struct {
	log     *log
	at      int // of the merge in the log
	seen    map[git.Hash]bool
	commits []git.Commit
}

// merge adds the branches that a commit merged, with those that were merged into them.
func (b *branches) merge(ctx context.Context, c git.Commit) error {
	for _, parent := range c.Parents[min(1, len(c.Parents)):] {
		branch, err := b.branch(ctx, parent)
		if err != nil {
			return err
		}
		for _, c := range slices.Backward(branch) {
			if err := b.merge(ctx, c); err != nil {
				return err
			}
			b.commits, b.seen[c.Hash] = append(b.commits, c), true
		}
	}
	return nil
}

// branch returns the commits along first parents from the tip of a branch that was merged to where it began. Where that is in the log,
// the log is read twice as far as the branch, and the branch along with the log until they meet.
func (b *branches) branch(ctx context.Context, tip git.Hash) (branch []git.Commit, err error) {
	l := b.log
	on := func(c git.Commit) bool {
		_, on := l.places[c.Hash]
		return on || b.seen[c.Hash]
	}
	err = l.source.Log(ctx, tip, func(c git.Commit) (bool, error) {
		branch = append(branch, c)
		if err := l.grow(ctx, b.at+2*len(branch)); err != nil {
			return false, err
		}
		return !on(c) && len(branch)+len(b.seen) < maxHistory, nil
	})
	if began := slices.IndexFunc(branch, on); began >= 0 {
		branch = branch[:began]
	}
	return branch, err
}

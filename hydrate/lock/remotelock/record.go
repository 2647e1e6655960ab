package remotelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
)

// Branch is a branch of a remote on which releases are recorded.
type Branch struct {
	Remote *git.Remote
	Name   string // short
	// Wait is called after each push that lost the race, before the next attempt.
	Wait func(ctx context.Context, attempt int) error
}

// Entry is a release to record.
type Entry struct {
	Lock     lock.Lock
	Dir      string // the lock directory, with slashes, relative to the root
	Pipeline string // of the release, for the commit's message; may be empty
	Time     time.Time
	Ancestry lock.Ancestry
}

// Recorded is the result of recording an entry.
type Recorded struct {
	lock.Written
	Commit git.Hash // that was pushed; "" if nothing changed
}

// Files returns the files at the branch's current head.
func (b Branch) Files(ctx context.Context) (fs.FS, error) {
	_, files, err := b.head(ctx)
	return files, err
}

// head returns the branch's current head and its files.
func (b Branch) head(ctx context.Context) (git.Hash, fs.FS, error) {
	tips, err := b.Remote.Tips(ctx, b.Name)
	if err != nil {
		return "", nil, err
	}
	head, ok := tips[b.Name]
	if !ok {
		return "", nil, fmt.Errorf("remote %s has no branch %q to record releases on: push it first, or name another: %w", b.Remote, b.Name, git.ErrNotFound)
	}
	if err := b.Remote.FetchTrees(ctx, 1, head); err != nil {
		return "", nil, err
	}
	snapshot, err := b.Remote.Snapshot(ctx, head)
	if err != nil {
		return "", nil, err
	}
	return head, snapshot.FS(ctx), nil
}

// Record commits what the branch lacks of the entry and pushes it, again if others pushed first. A refusal is in the server's words.
func (b Branch) Record(ctx context.Context, e Entry) (Recorded, error) {
	for attempt := 1; ; attempt++ {
		draft, recorded, err := b.prepare(ctx, e)
		if err == nil {
			err = b.Remote.Push(ctx, git.Update{Branch: b.Name, Draft: draft})
		}
		if err == nil {
			return recorded, nil
		}
		err = fmt.Errorf("record release %s on branch %s: %w", e.Lock.ReleaseID, b.Name, err)
		if !errors.Is(err, git.ErrStale) {
			return Recorded{}, err
		}
		if attempt == maxAttempts {
			return Recorded{}, fmt.Errorf("%w; %d attempts came too late: run it again when fewer others push to the branch", err, attempt)
		}
		if err := b.Wait(ctx, attempt); err != nil {
			return Recorded{}, err
		}
	}
}

// prepare makes the commit on top of the branch's head, if one is needed.
func (b Branch) prepare(ctx context.Context, e Entry) (*git.Draft, Recorded, error) {
	head, tree, err := b.head(ctx)
	if err != nil {
		return nil, Recorded{}, err
	}
	draft, err := b.Remote.Draft(ctx, head)
	if err != nil {
		return nil, Recorded{}, err
	}
	plan, err := lock.Prepare(ctx, tree, e.Dir, e.Lock, e.Ancestry)
	if err != nil || len(plan.Paths) == 0 {
		return draft, Recorded{Written: plan.Written}, err
	}
	e.Lock = plan.Lock
	files := map[string][]byte{}
	for _, name := range plan.Paths {
		files[path.Base(name)] = plan.Data
	}
	if err := draft.Put(ctx, e.Dir, files); err != nil {
		return nil, Recorded{}, err
	}
	commit, err := draft.Commit(git.NewCommit{By: git.Signature{Name: "lockage", Email: "noreply@lockage.dev"}, When: e.Time, Message: e.message()})
	return draft, Recorded{plan.Written, commit}, err
}

func (e Entry) message() string {
	message := "Lock " + e.Lock.ReleaseID
	if e.Pipeline != "" {
		message += " of " + strings.Join(strings.Fields(e.Pipeline), " ")
	}
	var lines []string
	if e.Lock.Packaging.Kind == lock.Packaged {
		lines = append(lines, e.Lock.Chart.String()+"@"+e.Lock.Chart.Digest.String())
	}
	for _, image := range e.Lock.Images() {
		lines = append(lines, image.Pinned())
	}
	return strings.TrimSpace(message+"\n\n"+strings.Join(lines, "\n")) + "\n"
}

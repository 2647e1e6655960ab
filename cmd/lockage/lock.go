package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
)

// history reads the history of the source repository.
type history struct {
	repository *git.Repository
	sourceRepo string
}

func (h history) IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error) {
	remote, err := h.repository.Remote(ctx, h.sourceRepo)
	if err != nil {
		return false, err
	}
	return remote.IsAncestor(ctx, git.Hash(ancestor), git.Hash(descendant))
}

func (h history) HasCommit(ctx context.Context, sourceRepo, commit string) (bool, error) {
	remote, err := h.repository.Remote(ctx, sourceRepo)
	if err != nil {
		return false, err
	}
	_, err = remote.Commit(ctx, git.Hash(commit))
	if errors.Is(err, git.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// lockTarget is a place to record releases.
type lockTarget interface {
	// Files returns the files of the repository.
	Files(ctx context.Context) (fs.FS, error)
	Record(ctx context.Context, e remotelock.Entry) (remotelock.Recorded, error)
}

// workTree records releases in the files of the checkout.
type workTree struct{ workspace *workspace.Workspace }

func (t workTree) Files(context.Context) (fs.FS, error) { return t.workspace.WorkTree() }

func (t workTree) Record(ctx context.Context, e remotelock.Entry) (remotelock.Recorded, error) {
	root, err := os.OpenRoot(t.workspace.Root())
	if err != nil {
		return remotelock.Recorded{}, err
	}
	defer root.Close()
	written, err := lock.Write(ctx, root, e.Dir, e.Lock, e.Ancestry)
	return remotelock.Recorded{Written: written}, err
}

// dryTarget computes what would be recorded.
type dryTarget struct{ lockTarget }

func (t dryTarget) Record(ctx context.Context, e remotelock.Entry) (remotelock.Recorded, error) {
	files, err := t.Files(ctx)
	if err != nil {
		return remotelock.Recorded{}, err
	}
	plan, err := lock.Prepare(ctx, files, e.Dir, e.Lock, e.Ancestry)
	return remotelock.Recorded{Written: plan.Written}, err
}

package main

import (
	"context"
	"errors"

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

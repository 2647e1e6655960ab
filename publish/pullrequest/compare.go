package pullrequest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
)

// ErrNotComparable is returned by Compare if the files on the stage branch are not a set of Kubernetes objects.
var ErrNotComparable = errors.New("the files on the stage branch cannot be compared")

// Propose proposes a change that was written to its review branch with a result. Image is repository@digest.
func Propose(remote *git.Remote, c ledger.Change, written ledger.Result, declared *pipeline.Mirror, image string) Proposal {
	p := Proposal{Change: c, Commit: written.Commit, On: written.Base, Remote: remote.URL(), Mirror: declared, Image: image}
	p.Changes = func(ctx context.Context) (diff.Changes, error) {
		before, err := ledger.Files(ctx, remote, git.Hash(p.On), c.Path)
		if err != nil {
			return diff.Changes{}, err
		}
		after, err := c.Tree(ctx)
		if err != nil {
			return diff.Changes{}, err
		}
		return Compare(before, after)
	}
	return p
}

// Compare compares the files on a stage branch, nil for none, with those of a proposal.
func Compare(before, after fs.FS) (diff.Changes, error) {
	var old []hydrate.Object
	if before != nil {
		var err error
		if old, err = diff.Read(before); err != nil {
			return diff.Changes{}, fmt.Errorf("%w: %w", ErrNotComparable, err)
		}
	}
	proposed, err := diff.Read(after)
	if err != nil {
		return diff.Changes{}, err
	}
	changes, err := diff.Compare(old, proposed, diff.Options{})
	if err != nil {
		if _, alone := diff.Compare(old, nil, diff.Options{}); alone != nil {
			err = fmt.Errorf("%w: %w", ErrNotComparable, alone)
		}
	}
	return changes, err
}

package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// Remotes opens the repositories that have stage branches; *git.Repository is one.
type Remotes interface {
	Remote(ctx context.Context, nameOrURL string) (*git.Remote, error)
}

// MirrorRemote opens the repository that has the branches of a stage with a mirror.
func MirrorRemote(ctx context.Context, declared pipeline.Expanded, remotes Remotes) (*git.Remote, error) {
	remote, err := remotes.Remote(ctx, declared.Mirror.Remote)
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: mirror.remote of stage %s: %w", declared.Pipeline, declared.Stage, err)
	}
	return remote, nil
}

// shown compares an artifact with what a branch shows of it. What is reviewed there must be what was signed, and what is
// live there what was promoted.
func (r Request) shown(ctx context.Context, name string, declared pipeline.Expanded, at mirror.Place, artifact digest.Digest, tree *oci.Tree) (policy.Check, error) {
	check := policy.Check{Check: name, Result: policy.Fail}
	if r.Remotes == nil {
		check.Reason = "there is nothing to read branches with"
		return check, nil
	}
	remote, err := MirrorRemote(ctx, declared, r.Remotes)
	if err != nil {
		return check, err
	}
	found, err := mirror.Check(ctx, remote, at, artifact, tree.ContentDigest(), tree)
	switch {
	case errors.Is(err, mirror.ErrNotShown):
		check.Reason = err.Error() + "; hydrate again"
		if declared.Mirror.Reviewed() {
			check.Reason = err.Error() + "; merge its pull request"
		}
		if at == r.Live {
			check.Reason = err.Error() + "; promote it"
		}
	case err != nil:
		return check, err
	case len(found.Differences) > 0:
		check.Reason = fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s",
			found.Commit, at.Branch, at.Path, mirror.Names(found.Differences))
	default:
		check.Result = policy.Pass
		check.Reason = fmt.Sprintf("commit %s of branch %s has the same files in %s", found.Commit, at.Branch, at.Path)
	}
	return check, nil
}

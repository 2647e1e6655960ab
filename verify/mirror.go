package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// maxNamed bounds the differing files that a reason names.
const maxNamed = 20

// mirrored compares an artifact with what its stage branch shows of it. What is reviewed there must be what was signed.
func (r Request) mirrored(ctx context.Context, m *pipeline.Mirror, artifact digest.Digest, tree *oci.Tree) (policy.Check, error) {
	check := policy.Check{Check: "mirror", Result: policy.Fail}
	if r.Remotes == nil {
		check.Reason = "there is nothing to read the stage branch with"
		return check, nil
	}
	remote, err := r.Remotes.Remote(ctx, m.Remote)
	if err != nil {
		return check, fmt.Errorf("pipeline %s: mirror.remote of stage %s: %w", r.Pipeline.Name, r.Stage, err)
	}
	found, err := mirror.Check(ctx, remote, mirror.Place{Branch: m.Branch, Path: m.Path}, artifact, tree.ContentDigest(), tree)
	switch {
	case errors.Is(err, mirror.ErrNotShown):
		check.Reason = err.Error() + "; hydrate again"
	case err != nil:
		return check, err
	case len(found.Differences) > 0:
		check.Reason = fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s",
			found.Commit, m.Branch, m.Path, list(found.Differences))
	default:
		check.Result = policy.Pass
		check.Reason = fmt.Sprintf("commit %s of branch %s has the same files in %s", found.Commit, m.Branch, m.Path)
	}
	return check, nil
}

func list(differences []mirror.Difference) string {
	var named []string
	for _, d := range differences[:min(len(differences), maxNamed)] {
		named = append(named, d.String())
	}
	if more := len(differences) - maxNamed; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(named, ", ")
}

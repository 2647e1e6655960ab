package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// Remotes opens the repositories that have stage branches; *git.Repository is one.
type Remotes interface {
	Remote(ctx context.Context, nameOrURL string) (*git.Remote, error)
	// Remotes returns the names of the configured remotes.
	Remotes(ctx context.Context) ([]string, error)
	// Root is the repository's folder.
	Root() string
}

// MirrorRemote opens the repository that has the branches of a stage with a mirror.
func MirrorRemote(ctx context.Context, declared pipeline.Expanded, remotes Remotes) (*git.Remote, error) {
	remote, err := remotes.Remote(ctx, declared.Mirror.Remote)
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: mirror.remote of stage %s: %w", declared.Pipeline, declared.Stage, err)
	}
	return remote, nil
}

// LiveRef opens the repository that records what is live in a stage, and returns the place in it. A GitOps repository without
// any remote records it itself.
func LiveRef(ctx context.Context, declared pipeline.Expanded, remotes Remotes) (*git.Remote, ledger.Place, error) {
	at := declared.LiveRef()
	remote, err := ledgerRemote(ctx, declared, at.Remote, remotes)
	return remote, ledger.Place{Branch: at.Branch, Path: at.Path}, err
}

// LedgerRemote opens the repository that records the candidates of a stage.
func LedgerRemote(ctx context.Context, declared pipeline.Expanded, remotes Remotes) (*git.Remote, error) {
	return ledgerRemote(ctx, declared, declared.Ledger.Remote, remotes)
}

// Candidates reads what the ledger of a stage has of releases.
func Candidates(ctx context.Context, declared pipeline.Expanded, remotes Remotes, releases ...string) (*ledger.Candidates, error) {
	remote, err := LedgerRemote(ctx, declared, remotes)
	if err != nil {
		return nil, err
	}
	names := make([]ledger.Candidate, len(releases))
	for i, release := range releases {
		names[i] = NameOf(declared, release)
	}
	return ledger.ReadCandidates(ctx, remote, names...)
}

// EntryOf reads the candidate of a release, which is not proven; zero for none.
func EntryOf(ctx context.Context, declared pipeline.Expanded, remotes Remotes, release string) (ledger.Entry, error) {
	candidates, err := Candidates(ctx, declared, remotes, release)
	if err != nil {
		return ledger.Entry{}, err
	}
	e, _, err := candidates.Entry(ctx, NameOf(declared, release))
	return e, err
}

// Entries reads the candidates of a stage, of all releases.
func Entries(ctx context.Context, declared pipeline.Expanded, remotes Remotes) ([]ledger.Entry, error) {
	remote, err := LedgerRemote(ctx, declared, remotes)
	if err != nil {
		return nil, err
	}
	return ledger.All(ctx, remote, NameOf(declared, ""))
}

func ledgerRemote(ctx context.Context, declared pipeline.Expanded, name string, remotes Remotes) (*git.Remote, error) {
	remote, err := remotes.Remote(ctx, name)
	if errors.Is(err, git.ErrNotFound) && declared.Mirror == nil {
		all, rerr := remotes.Remotes(ctx)
		switch {
		case rerr != nil:
		case len(all) == 0:
			remote, err = remotes.Remote(ctx, remotes.Root())
		case len(all) == 1:
			remote, err = remotes.Remote(ctx, all[0])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: ledger.remote: %w", declared.Pipeline, err)
	}
	return remote, nil
}

// StagePlace returns the place of a stage's branch.
func StagePlace(m *pipeline.Mirror) ledger.Place { return ledger.Place{Branch: m.Branch, Path: m.Path} }

// Shown reads what a branch shows of an artifact, whose files are tree, and how it compares.
func Shown(ctx context.Context, remote *git.Remote, at ledger.Place, artifact digest.Digest, tree *oci.Tree) (policy.Shown, ledger.Comparison, error) {
	shown := policy.Shown{Branch: at.Branch, Path: at.Path}
	compared, err := ledger.Check(ctx, remote, at, artifact, tree.ContentDigest(), tree)
	if errors.Is(err, ledger.ErrNotShown) {
		shown.Missing = err.Error()
		return shown, compared, nil
	}
	shown.Commit, shown.Differences = string(compared.Commit), ledger.Names(compared.Differences)
	return shown, compared, err
}

// shown judges what a branch shows of the artifact.
func (e *Examined) shown(ctx context.Context, r Request, name string, declared pipeline.Expanded, at ledger.Place) (policy.Check, error) {
	if r.Remotes == nil {
		return policy.Check{Check: name, Result: policy.Fail, Reason: "there is nothing to read branches with"}, nil
	}
	var remote *git.Remote
	var err error
	if at == r.Live {
		remote, _, err = LiveRef(ctx, declared, r.Remotes)
	} else {
		remote, err = MirrorRemote(ctx, declared, r.Remotes)
	}
	if err != nil {
		return policy.Check{}, err
	}
	shown, compared, err := Shown(ctx, remote, at, e.Manifest.Descriptor.Digest, e.Tree)
	e.Compared = compared
	next := "hydrate again"
	switch {
	case at == r.Live:
		next = "promote it"
	case declared.Mirror.Reviewed():
		next = "merge its pull request"
	}
	return policy.ShownOn(name, shown, next), err
}

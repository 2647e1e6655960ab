// Package sides finds the two sides of a comparison by the names that a user gives them:
//
//	STAGE             or PIPELINE/STAGE, candidate:STAGE: its candidate of the current release, or of the one in Finder.Release
//	live:STAGE        what is live in it, according to verified records
//	git-<4 to 40 hex> a release: its candidates for all stages
//	branch:NAME       the files at the head of a stage branch, live ref or review branch
//	REFERENCE         REPOSITORY:TAG or REPOSITORY@DIGEST
//
// The pipelines that have a stage are searched for all of them. Artifacts and branches are read when the comparison asks for
// their files; who signed or pushed them is not verified.
package sides

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// Finder finds what names name. Names of the kind Reference need Client only.
type Finder struct {
	Client    *oci.Client
	Remotes   verify.Remotes
	Files     fs.FS // of the GitOps repository at the policy ref
	PolicyRef verify.PolicyRef
	Pipelines []*pipeline.Pipeline
	Release   string               // of the candidates of stages; "" means the current one
	Warn      func(message string) // receives what the user should know and is not an error
}

// Find returns the sides that two names name; for a single name, of the kind Stage or Release, what is live in the same stages
// and that. The error is [verify.ErrUnknown] if a name names nothing.
func (f Finder) Find(ctx context.Context, names ...Name) (before, after stagediff.Side, err error) {
	if before, err = f.side(ctx, names[0]); err != nil {
		return before, after, err
	}
	if len(names) > 1 {
		after, err = f.side(ctx, names[1])
		return before, after, err
	}
	after = before
	before = stagediff.Side{Name: "what is live", Complete: after.Complete}
	for _, v := range after.Versions {
		i := slices.IndexFunc(f.Pipelines, func(p *pipeline.Pipeline) bool { return p.Name == v.Pipeline })
		shown, err := f.live(ctx, f.Pipelines[i], v.Stage)
		if err != nil {
			return before, after, err
		}
		before.Versions = append(before.Versions, shown)
	}
	return before, after, nil
}

func (f Finder) side(ctx context.Context, n Name) (stagediff.Side, error) {
	side := stagediff.Side{Name: n.Text}
	var err error
	switch n.Kind {
	case Reference:
		side.Versions, err = f.reference(n.name)
	case Stage:
		side.Versions, err = f.candidates(ctx, n.name)
	case Live:
		side.Versions, err = f.everyLive(ctx, n.name)
	case Branch:
		side.Complete = true
		side.Versions, err = f.branch(ctx, n.name)
	case Release:
		if _, _, err := verify.Having(f.Pipelines, n.name); err == nil { // a stage may have such a name
			return f.side(ctx, Name{Stage, n.Text, n.name})
		}
		side.Complete = true
		side.Versions, err = f.release(ctx, n.name)
	}
	return side, err
}

// reference returns an artifact of no known stage.
func (f Finder) reference(text string) ([]stagediff.Version, error) {
	name, tagOrDigest, err := oci.SplitReference(text)
	if err != nil {
		return nil, err
	}
	repository, err := f.Client.Repository(name)
	if err != nil {
		return nil, err
	}
	return []stagediff.Version{{Label: repository.Reference(tagOrDigest), Files: pulled(repository, tagOrDigest)}}, nil
}

// pulled reads an artifact when its files are asked for.
func pulled(repository *oci.Repository, tagOrDigest string) func(context.Context) (fs.FS, error) {
	return func(ctx context.Context) (fs.FS, error) { return repository.ReadTree(ctx, tagOrDigest) }
}

// candidates returns the candidates for a stage, of all pipelines that have it.
func (f Finder) candidates(ctx context.Context, stage string) ([]stagediff.Version, error) {
	requests, err := verify.Find(ctx, verify.Query{Artifact: stage, Release: f.Release}, f.Pipelines, f.Files, f.Client, f.Remotes)
	if err != nil {
		return nil, err
	}
	return f.versions(requests)
}

// versions returns the candidates that requests ask for, as the ledger has them.
func (f Finder) versions(requests []verify.Request) ([]stagediff.Version, error) {
	versions := make([]stagediff.Version, len(requests))
	var once sync.Once
	var unread error
	for i, r := range requests {
		repository, err := f.Client.Repository(r.Pipeline.Repository(r.Stage))
		if err != nil {
			return nil, err
		}
		versions[i] = stagediff.Version{Pipeline: r.Pipeline.Name, Stage: r.Stage, Label: r.Label(), Files: func(ctx context.Context) (fs.FS, error) {
			once.Do(func() { unread = verify.ReadCandidates(ctx, requests, f.Files, f.Remotes) })
			if unread != nil {
				return nil, unread
			}
			entry, err := requests[i].Found(ctx)
			if err != nil {
				return nil, err
			}
			return repository.ReadTree(ctx, entry.Digest.String())
		}}
	}
	return versions, nil
}

// release returns the candidates of a release for all stages of the pipelines that have it. The id may be abbreviated, but for one release
// in all pipelines together.
func (f Finder) release(ctx context.Context, name string) ([]stagediff.Version, error) {
	name, input := lock.SplitName(name)
	var ids []string
	var requests []verify.Request
	for _, p := range f.Pipelines {
		id, err := p.FindRelease(f.Files, name)
		if err == nil {
			_, err = fs.Stat(f.Files, path.Join(p.Lock, id+".yaml"))
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", verify.ErrUnknown, err)
		}
		ids = append(ids, id)
		for _, stage := range p.Order() {
			r, err := verify.CandidateOf(p, stage, id, f.Client)
			if err != nil {
				return nil, err
			}
			if r.Input = input; input != "" {
				if r, err = f.hydration(ctx, r); errors.Is(err, verify.ErrUnknown) {
					continue // it is another stage's
				}
			}
			if err != nil {
				return nil, err
			}
			requests = append(requests, r)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	const shown = 5
	switch {
	case len(ids) == 0:
		return nil, fmt.Errorf("%w: no pipeline has a lock of a release %s", verify.ErrUnknown, name)
	case len(ids) > 1:
		return nil, fmt.Errorf("%w: pipelines have %d releases %s, %s; write more of it", verify.ErrUnknown, len(ids), name, strings.Join(ids[:min(len(ids), shown)], ", "))
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%w: no stage has a hydration %s@%s", verify.ErrUnknown, name, input)
	}
	return f.versions(requests)
}

// hydration reads the ledger for a request for one hydration. The error is [verify.ErrUnknown] if its stage has none.
func (f Finder) hydration(ctx context.Context, r verify.Request) (verify.Request, error) {
	one := []verify.Request{r}
	err := verify.ReadCandidates(ctx, one, f.Files, f.Remotes)
	if err == nil {
		_, err = one[0].Found(ctx)
	}
	return one[0], err
}

// everyLive returns what is live in a stage, of all pipelines that have it.
func (f Finder) everyLive(ctx context.Context, name string) ([]stagediff.Version, error) {
	found, stage, err := verify.Having(f.Pipelines, name)
	if err != nil {
		return nil, err
	}
	versions := make([]stagediff.Version, len(found))
	for i, p := range found {
		if versions[i], err = f.live(ctx, p, stage); err != nil {
			return nil, err
		}
	}
	return versions, nil
}

// live returns what is live in a stage.
func (f Finder) live(ctx context.Context, p *pipeline.Pipeline, stage string) (_ stagediff.Version, err error) {
	v := stagediff.Version{Pipeline: p.Name, Stage: stage}
	defer func() {
		if err != nil {
			err = fmt.Errorf("what is live in %s/%s: %w", p.Name, stage, err)
		}
	}()
	declared, err := f.declared(p, stage)
	if errors.Is(err, lock.ErrNoRelease) {
		f.Warn(err.Error())
		return v, nil
	}
	if err != nil {
		return v, err
	}
	s, err := live.Open(ctx, f.Files, f.PolicyRef, declared, f.Client, f.Remotes)
	if err != nil {
		return v, err
	}
	state, err := live.Read(ctx, s)
	if err != nil {
		return v, err
	}
	if state.Live == nil {
		f.Warn(fmt.Sprintf("%s/%s: nothing is live yet", p.Name, stage))
		return v, nil
	}
	repository, err := f.Client.Repository(declared.Repository)
	v.Label = "live " + state.Live.To.Release
	v.Files = pulled(repository, state.Live.To.Digest.String())
	return v, err
}

// declared returns a stage as the policy ref declares it for the current release.
func (f Finder) declared(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error) {
	current, err := p.CurrentLock(f.Files)
	if err != nil {
		return pipeline.Expanded{}, fmt.Errorf("pipeline %s: %w", p.Name, err)
	}
	return p.Expand(stage, current.Lock, f.Files)
}

// branch returns the stages that a branch shows: those that declare it, and those that its metadata names.
func (f Finder) branch(ctx context.Context, name string) ([]stagediff.Version, error) {
	var versions []stagediff.Version
	tips := map[string]map[string]git.Hash{} // of the branch, by the remote's name
	for _, p := range f.Pipelines {
		for _, stage := range p.Order() {
			declared, err := f.declared(p, stage)
			if err != nil {
				return nil, err
			}
			if declared.Mirror == nil {
				continue
			}
			remote, err := verify.MirrorRemote(ctx, declared, f.Remotes)
			if err != nil {
				return nil, err
			}
			if tips[declared.Mirror.Remote] == nil {
				if tips[declared.Mirror.Remote], err = remote.Tips(ctx, name); err != nil {
					return nil, err
				}
			}
			head := tips[declared.Mirror.Remote][name]
			if head == "" {
				continue
			}
			shows, err := showsStage(ctx, remote, name, declared)
			if err != nil {
				return nil, err
			}
			if shows {
				versions = append(versions, onBranch(remote, head, name, declared))
			}
		}
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("%w: no branch %q shows a stage of these pipelines", verify.ErrUnknown, name)
	}
	return versions, nil
}

// showsStage reports whether a branch is for a stage: by its declaration, or by the branch's own metadata.
func showsStage(ctx context.Context, remote *git.Remote, branch string, declared pipeline.Expanded) (bool, error) {
	if branch == declared.Mirror.Branch || branch == declared.LiveRef().Branch {
		return true, nil
	}
	shown, err := ledger.Shown(ctx, remote, ledger.Place{Branch: branch, Path: declared.Mirror.Path})
	is := shown.Metadata.Lockage // of no stage, unless it is ours
	return is.Pipeline == declared.Pipeline && is.Stage == declared.Stage, err
}

// onBranch returns the files that a branch's head has for a stage.
func onBranch(remote *git.Remote, head git.Hash, branch string, declared pipeline.Expanded) stagediff.Version {
	return stagediff.Version{
		Pipeline: declared.Pipeline, Stage: declared.Stage, Label: fmt.Sprintf("branch %s at %.12s", branch, head),
		Files: func(ctx context.Context) (fs.FS, error) {
			snapshot, err := remote.Snapshot(ctx, head)
			if err != nil {
				return nil, err
			}
			if err := snapshot.Prefetch(ctx, declared.Mirror.Path); err != nil {
				return nil, err
			}
			return fs.Sub(snapshot.FS(ctx), declared.Mirror.Path)
		},
	}
}

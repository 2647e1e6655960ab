package verify

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// FindBranch makes requests of a stage branch: one for the artifact that each stage, or the named one, shows at its head.
// What the branch says of an artifact is its digest only; that it is one, and whose, is for [Artifact] to prove. Files and
// Trunk of the requests are left to the caller.
func FindBranch(ctx context.Context, branch, stage string, pipelines []*pipeline.Pipeline, files fs.FS, client *oci.Client, remotes Remotes) ([]Request, error) {
	var requests []Request
	for _, p := range pipelines {
		current, err := lock.Current(files, p.Lock)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
		for _, name := range p.Order() {
			if stage != "" && stage != name {
				continue
			}
			declared, err := p.Expand(name, current.Lock, files)
			if err != nil {
				return nil, err
			}
			if m := declared.Mirror; m == nil || m.When != "hydrate" || m.Branch != branch {
				continue
			}
			r, err := branchRequest(ctx, p, declared, client, remotes)
			if err != nil {
				return nil, err
			}
			requests = append(requests, r)
		}
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%w: no stage is mirrored to a branch %q", ErrUnknown, branch)
	}
	return requests, nil
}

func branchRequest(ctx context.Context, p *pipeline.Pipeline, declared pipeline.Expanded, client *oci.Client, remotes Remotes) (Request, error) {
	m := declared.Mirror
	remote, err := MirrorRemote(ctx, declared, remotes)
	if err != nil {
		return Request{}, err
	}
	shown, ok, err := mirror.Shown(ctx, remote, mirror.Place{Branch: m.Branch, Path: m.Path})
	if err != nil {
		return Request{}, fmt.Errorf("branch %s: %w", m.Branch, err)
	}
	if !ok {
		return Request{}, fmt.Errorf("branch %s of %s is %w: no %s in %s names an artifact of lockage; hydrate stage %s of pipeline %s",
			m.Branch, remote, policy.ErrDenied, mirror.MetadataFile, m.Path, declared.Stage, p.Name)
	}
	repository, err := client.Repository(declared.Repository)
	if err != nil {
		return Request{}, err
	}
	return Request{Pipeline: p, Stage: declared.Stage, Repository: repository, Reference: shown.Digest().String(), Release: shown.Lockage.Release}, nil
}

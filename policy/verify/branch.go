package verify

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
)

// FindBranch makes requests of a stage branch or live ref: one for the artifact that each stage, or the named one, shows at its
// head. It takes only the digest from the branch; the rest is for [Artifact] to prove. Files and PolicyRef of the requests are left
// to the caller.
func FindBranch(ctx context.Context, branch, stage string, pipelines []*pipeline.Pipeline, files fs.FS, client *oci.Client, remotes Remotes) ([]Request, error) {
	var requests []Request
	for _, p := range pipelines {
		current, err := p.CurrentLock(files)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", p.Name, err)
		}
		for _, name := range p.Order() {
			if stage != "" && !p.Names(name, stage) {
				continue
			}
			declared, err := p.Expand(name, current.Lock, files)
			if err != nil {
				return nil, err
			}
			m := declared.Mirror
			if m == nil {
				continue
			}
			live := branch == declared.LiveRef().Branch // which shows what was promoted
			if !live && branch != m.Branch {
				continue
			}
			at := ledger.Place{Branch: branch, Path: m.Path}
			r, err := branchRequest(ctx, p, declared, at, client, remotes)
			if err != nil {
				return nil, err
			}
			if r.mirrored = !live; live {
				r.Live, r.WithoutMirror = at, true
			}
			requests = append(requests, r)
		}
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%w: no stage is shown on a branch %q", ErrUnknown, branch)
	}
	return requests, nil
}

func branchRequest(ctx context.Context, p *pipeline.Pipeline, declared pipeline.Expanded, at ledger.Place, client *oci.Client, remotes Remotes) (Request, error) {
	remote, err := MirrorRemote(ctx, declared, remotes)
	if err != nil {
		return Request{}, err
	}
	shown, err := ledger.Shown(ctx, remote, at)
	if err != nil {
		return Request{}, fmt.Errorf("branch %s: %w", at.Branch, err)
	}
	if !shown.Ours {
		return Request{}, fmt.Errorf("branch %s of %s is %w: no %s in %s names an artifact of lockage, of stage %s of pipeline %s",
			at.Branch, remote, policy.ErrDenied, ledger.MetadataFile, at.Path, declared.Stage, p.Name)
	}
	repository, err := client.Repository(declared.Repository)
	if err != nil {
		return Request{}, err
	}
	return Request{Pipeline: p, Stage: declared.Stage, Repository: repository, Reference: shown.Metadata.Digest().String(), Release: shown.Metadata.Lockage.Release}, nil
}

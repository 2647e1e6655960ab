package main

import (
	"context"
	"io/fs"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// declaration is what a commit of the GitOps repository declares, usually the policy ref.
type declaration struct {
	workspace *workspace.Workspace
	policyRef *workspace.Policy
	files     fs.FS
	pipelines []*pipeline.Pipeline
	client    *oci.Client
}

// declared reads what the policy ref declares.
func (a *app) declared(ctx context.Context) (d declaration, err error) {
	if d.workspace, err = a.workspace(ctx); err != nil {
		return d, err
	}
	if d.policyRef, err = d.workspace.Policy(ctx, a.policy, a.warning); err != nil {
		return d, err
	}
	if d.files, err = d.policyRef.Files(ctx); err != nil {
		return d, err
	}
	return a.withPipelines(d)
}

// checkedOut reads what the checked-out commit declares, without a policy ref.
func (a *app) checkedOut(ctx context.Context) (d declaration, err error) {
	if d.workspace, err = a.workspace(ctx); err != nil {
		return d, err
	}
	if d.files, err = d.workspace.Files(ctx); err != nil {
		return d, err
	}
	return a.withPipelines(d)
}

func (a *app) withPipelines(d declaration) (declaration, error) {
	var err error
	d.client = a.registries(d.workspace.Root())
	d.pipelines, err = d.workspace.Pipelines(d.files, a.files)
	return d, err
}

// stagesOf lists the stages of a pipeline that have one of the names; all if no name is given.
func stagesOf(p *pipeline.Pipeline, names []string) []string {
	return slices.DeleteFunc(p.Order(), func(stage string) bool { return len(names) > 0 && !slices.Contains(names, stage) })
}

// checkStages refuses names of stages that no pipeline has.
func (d declaration) checkStages(names []string) error {
	for _, name := range names {
		if _, err := verify.Having(d.pipelines, name); err != nil {
			return err
		}
	}
	return nil
}

// expand returns a stage as it is declared for the pipeline's current release, and that release's id.
func (d declaration) expand(p *pipeline.Pipeline, stage string) (pipeline.Expanded, string, error) {
	current, err := lock.Current(d.files, p.Lock)
	if err != nil {
		return pipeline.Expanded{}, "", err
	}
	declared, err := p.Expand(stage, current.Lock, d.files)
	return declared, current.Lock.ReleaseID, err
}

// open finds where a stage keeps its state.
func (d declaration) open(ctx context.Context, p *pipeline.Pipeline, stage string) (live.Stage, error) {
	declared, _, err := d.expand(p, stage)
	if err != nil {
		return live.Stage{}, err
	}
	return live.Open(ctx, d.files, declared, d.client, d.workspace.Repository)
}

// complete adds to a request of package verify what all requests share.
func (d declaration) complete(r verify.Request) verify.Request {
	r.Files, r.PolicyRef, r.Remotes = d.files, d.policyRef, d.workspace.Repository
	return r
}

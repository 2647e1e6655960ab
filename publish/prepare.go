package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// plan plans the stages that a commit's files declare; no names mean all.
func (r *run) plan(ctx context.Context, files fs.FS, stages []string) ([]plan.Release, error) {
	pipelines, err := r.Workspace.Pipelines(files, r.Files)
	if err != nil {
		return nil, err
	}
	return plan.Make(ctx, plan.Request{
		Files:     files,
		Pipelines: r.Shard.of(pipelines),
		Stages:    stages,
		Release:   r.Release,
		Sources:   r.Workspace.Repository,
		Renderers: r.Renderers,
	})
}

// prepare begins the results of all releases, and makes the stage runs of those with which nothing is wrong.
func (r *run) prepare(ctx context.Context, planned []plan.Release, files fs.FS) ([]Release, []*stageRun) {
	newest := r.newest(ctx)
	releases := make([]Release, len(planned))
	var stages []*stageRun
	for i, p := range planned {
		releases[i].Pipeline = p.Pipeline.Name
		jobs, err := r.jobs(p, files, newest)
		if err = errors.Join(p.Err, err, r.checkMirrors(ctx, p)); err != nil {
			releases[i].Err = err
			continue
		}
		releases[i].Lock = p.Lock.Lock
		for j, job := range jobs {
			stages = append(stages, &stageRun{release: i, planned: p.Stages[j], job: job, lockDir: p.Pipeline.Lock})
		}
	}
	return releases, stages
}

// newest are the inputs that the policy ref's tip gives each stage, where that is not what is checked out: a candidate
// that has them is not to be replaced.
func (r *run) newest(ctx context.Context) map[plan.Key]digest.Digest {
	if r.trunk.Tip() == string(r.Workspace.Head.Hash) {
		return nil
	}
	files, err := r.trunk.Files(ctx)
	if err == nil {
		var releases []plan.Release
		if releases, err = r.plan(ctx, files, nil); err == nil {
			return plan.InputDigests(releases)
		}
	}
	r.Warn(fmt.Sprintf("%s has moved on, and what it declares now cannot be read: %v", r.trunk.Name(), err))
	return nil
}

// jobs makes the jobs of one release.
func (r *run) jobs(p plan.Release, files fs.FS, newest map[plan.Key]digest.Digest) ([]Job, error) {
	if p.Err != nil {
		return nil, nil
	}
	if err := lock.CheckRecorded(files, p.Pipeline.Lock, p.Lock); err != nil {
		return nil, err
	}
	var jobs []Job
	for _, s := range p.Stages {
		repository, err := r.Client.Repository(s.Declared.Repository)
		if err != nil {
			return nil, err
		}
		verifier, err := verify.Hydrator(files, s.Declared)
		if err != nil {
			return nil, err
		}
		writer := Writer(Nowhere{})
		if !r.DryRun {
			if role := s.Declared.Sign.Hydrator; role == nil || role.Key == "" {
				return nil, configurationf("pipeline %s: sign.hydrator.key is missing: name the private key that signs, such as env://HYDRATOR_KEY", s.Pipeline)
			}
			writer = NewWriter(repository, func(ctx context.Context) (sign.Signer, error) {
				return r.signer(ctx, s.Declared, verifier)
			})
		}
		jobs = append(jobs, Job{
			Stage:        s.Stage,
			Registry:     repository,
			Writer:       writer,
			Hydrator:     verifier,
			SourceURL:    p.SourceURL,
			Committed:    p.Committed,
			GitOpsURL:    r.trunk.URL(),
			GitOpsCommit: string(r.Workspace.Head.Hash),
			Trunk:        r.trunk,
			TipInput:     newest[plan.KeyOf(s.Stage)],
			Version:      r.Version,
		})
	}
	return jobs, nil
}

// signer opens the hydrator's key, and makes sure that it is the one that is trusted.
func (r *run) signer(ctx context.Context, declared pipeline.Expanded, trusted *sign.Verifier) (sign.Signer, error) {
	ref := declared.Sign.Hydrator.Key
	key, err := r.Keys.Open(ctx, r.Workspace.KeyFile(ref))
	if err != nil {
		return nil, err
	}
	if !trusted.Trusts(key.Identity()) {
		return nil, configurationf("pipeline %s: the key %s (sign.hydrator) is not the one that identities.hydrator trusts, %s: nobody would accept its signatures",
			declared.Pipeline, ref, declared.Identities["hydrator"].Key)
	}
	return key, nil
}

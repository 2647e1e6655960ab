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

// prepare begins the results of all releases, and returns the stages of those without an error.
func (r *run) prepare(ctx context.Context, planned []plan.Release, files fs.FS) ([]Release, []*stage) {
	tip := r.tipInputs(ctx)
	releases := make([]Release, len(planned))
	var stages []*stage
	for i := range planned {
		p, into := &planned[i], &releases[i]
		into.Pipeline = p.Pipeline.Name
		if into.Err = p.Err; into.Err == nil {
			into.Err = lock.CheckRecorded(files, p.Pipeline.Lock, p.Lock)
		}
		var own []*stage
		for _, planned := range p.Stages {
			s := &stage{Stage: planned, run: r, release: p, into: into, tipInput: tip[plan.KeyOf(planned.Stage)]}
			if into.Err == nil { // all that the stage needs, before the first write
				into.Err = errors.Join(s.openRegistry(files), s.openMirror(ctx))
			}
			own = append(own, s)
		}
		if into.Err == nil {
			into.Lock = p.Lock.Lock
			stages = append(stages, own...)
		}
	}
	return releases, stages
}

// tipInputs returns the input digest of each stage at the policy ref's tip, if another commit is checked out: a candidate
// with these inputs is never replaced.
func (r *run) tipInputs(ctx context.Context) map[plan.Key]digest.Digest {
	if r.policyRef.Tip() == r.head {
		return nil
	}
	files, err := r.policyRef.Files(ctx)
	if err == nil {
		var releases []plan.Release
		if releases, err = r.plan(ctx, files, nil); err == nil {
			return plan.InputDigests(releases)
		}
	}
	r.Warn(fmt.Sprintf("%s has moved on, and its declarations cannot be read: %v", r.policyRef.Name(), err))
	return nil
}

// openRegistry does not open the key that signs: that is not needed if nothing has to be written.
func (s *stage) openRegistry(files fs.FS) error {
	var err error
	if s.repository, err = s.run.Client.Repository(s.Declared.Repository); err != nil {
		return err
	}
	if s.hydrator, err = verify.Identity(files, s.Declared, pipeline.RoleHydrator); err != nil {
		return err
	}
	if s.writer = (dryRun{}); s.run.DryRun {
		return nil
	}
	s.writer = signedWriter{s.repository, func(ctx context.Context) (sign.Signer, error) {
		return s.run.Signer(ctx, s.Declared, "hydrator", s.hydrator)
	}}
	_, err = signingKey(s.Declared, "hydrator")
	return err
}

func (s *stage) openMirror(ctx context.Context) error {
	m := s.Declared.Mirror
	if !m.Hydrated() {
		return nil
	}
	var err error
	if s.remote, err = s.run.Workspace.Repository.Remote(ctx, m.Remote); err != nil {
		return Configurationf("pipeline %s: mirror.remote of stage %s: %w", s.Pipeline, s.Name, err)
	}
	if !s.run.DryRun {
		s.signCommit, err = s.run.CommitSigner(s.Declared)
	}
	return err
}

package publish

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/oci"
)

const (
	// firstPause is the unit of the pauses after a push that came too late.
	firstPause = 100 * time.Millisecond
	// maxRounds bounds how often stages are published again because a newer hydration took their tag while their branch was
	// being written.
	maxRounds = 3
)

// checkMirrors finds out what is wrong with the remotes of mirrors, and with the keys that sign their commits, before
// anything is written anywhere.
func (r *run) checkMirrors(ctx context.Context, p plan.Release) error {
	for _, s := range p.Stages {
		if !s.Declared.Mirror.Hydrated() {
			continue
		}
		if _, err := r.Workspace.Repository.Remote(ctx, s.Declared.Mirror.Remote); err != nil {
			return configurationf("pipeline %s: mirror.remote of stage %s: %w", s.Pipeline, s.Name, err)
		}
		key := s.Declared.Mirror.SignCommits
		if key == nil || r.DryRun || r.commitSigners[key.Key] != nil {
			continue
		}
		signer, err := r.Workspace.CommitSigner(key.Key)
		if err != nil {
			return configurationf("pipeline %s: stage %s: %w", s.Pipeline, s.Name, err)
		}
		r.commitSigners[key.Key] = signer
	}
	return nil
}

// mirror makes the stage branches show what was published. One push a pipeline and remote; an error of one is of its
// stages only. A stage whose tag went to another hydration meanwhile is published anew, and its branch shows whichever is
// the newer: that other run may have found the branch as it should be, before this one wrote to it.
func (r *run) mirror(ctx context.Context, stages []*stageRun) {
	writers := map[string]*mirror.Writer{}
	for range maxRounds {
		r.mirrorOnce(ctx, writers, stages)
		var overtaken []*stageRun
		for _, s := range stages {
			if s.shown.Written && s.mirrorErr == nil {
				switch current, err := r.current(ctx, s); {
				case err != nil:
					s.mirrorErr = err
				case !current:
					overtaken = append(overtaken, s)
				}
			}
		}
		if len(overtaken) == 0 {
			return
		}
		stages = overtaken
		if err := r.catchUp(ctx, stages); err != nil {
			failMirrors(stages, err)
			return
		}
		clear(writers) // they know the policy ref as it was
		r.publish(ctx, stages)
	}
}

// catchUp looks at the policy ref anew: whoever overtook these stages may have done so from a commit that came to it since
// this run began.
func (r *run) catchUp(ctx context.Context, stages []*stageRun) error {
	trunk, err := r.Workspace.Policy(ctx, r.Policy, r.Warn)
	if err != nil {
		return err
	}
	r.trunk = trunk
	newest := r.newest(ctx)
	for _, s := range stages {
		s.job.Trunk, s.job.TipInput = trunk, newest[plan.KeyOf(s.planned.Stage)]
	}
	return nil
}

// current tells whether a stage's artifact still is the candidate.
func (r *run) current(ctx context.Context, s *stageRun) (bool, error) {
	tag := oci.CandidateTag(s.planned.Name, s.planned.Lock.ReleaseID)
	desc, err := s.job.Registry.Resolve(ctx, tag)
	return err == nil && desc.Digest == s.published.Digest, err
}

func (r *run) mirrorOnce(ctx context.Context, writers map[string]*mirror.Writer, stages []*stageRun) {
	byRemote := map[string][]*stageRun{}
	var order []string
	for _, s := range stages {
		if !s.planned.Declared.Mirror.Hydrated() || s.published.Err != nil || s.published.GitOpsCommit == "" {
			continue
		}
		remote := s.planned.Declared.Mirror.Remote
		if byRemote[remote] == nil {
			order = append(order, remote)
		}
		byRemote[remote] = append(byRemote[remote], s)
	}
	for _, remote := range order {
		own := byRemote[remote]
		err := r.look(ctx, writers, remote, own)
		if err != nil {
			failMirrors(own, err)
			continue
		}
		for len(own) > 0 { // one pipeline at a time
			n := 1
			for n < len(own) && own[n].release == own[0].release {
				n++
			}
			r.mirrorPipeline(ctx, writers[remote], own[:n])
			own = own[n:]
		}
	}
}

// look opens a remote, and finds out where all branches of the run stand.
func (r *run) look(ctx context.Context, writers map[string]*mirror.Writer, name string, stages []*stageRun) error {
	if writers[name] == nil {
		remote, err := r.Workspace.Repository.Remote(ctx, name)
		if err != nil {
			return err
		}
		writers[name] = mirror.NewWriter(remote, r.trunk, mirror.Backoff(firstPause, r.Random))
	}
	return writers[name].Look(ctx, r.entries(stages))
}

func (r *run) mirrorPipeline(ctx context.Context, w *mirror.Writer, stages []*stageRun) {
	results, err := w.Write(ctx, r.entries(stages))
	if err != nil {
		failMirrors(stages, err)
		return
	}
	for i, s := range stages {
		s.shown = results[i]
		branch, _ := branches(s)
		switch {
		case s.shown.Superseded:
			r.Warn(fmt.Sprintf("%s/%s: branch %s shows what a newer GitOps commit was hydrated to; it is left as it is", s.planned.Pipeline, s.planned.Name, branch))
		case s.shown.Written:
			r.Step(fmt.Sprintf("%s/%s on branch %s", s.planned.Pipeline, s.planned.Name, branch))
		}
	}
}

func failMirrors(stages []*stageRun, err error) {
	for _, s := range stages {
		s.mirrorErr = fmt.Errorf("mirror: %w", err)
	}
}

func (r *run) entries(stages []*stageRun) []mirror.Entry {
	entries := make([]mirror.Entry, len(stages))
	for i, s := range stages {
		m := s.planned.Declared.Mirror
		branch, base := branches(s)
		entries[i] = mirror.Entry{
			Pipeline:      s.planned.Pipeline,
			Stage:         s.planned.Name,
			Release:       s.planned.Lock.ReleaseID,
			Branch:        branch,
			Base:          base,
			Path:          m.Path,
			GitAttributes: m.Attributes,
			Artifact:      s.published.Reference,
			Content:       s.published.ContentDigest,
			Source:        mirror.Origin{URL: s.job.SourceURL, Commit: s.planned.Lock.GitCommit},
			GitOps:        mirror.Origin{URL: s.job.GitOpsURL, Commit: s.published.GitOpsCommit},
			Time:          s.job.Committed,
			Tree:          func(ctx context.Context) (fs.FS, error) { return r.pull(ctx, s) },
		}
		if m.SignCommits != nil {
			entries[i].Sign = r.commitSigners[m.SignCommits.Key]
		}
	}
	return entries
}

// pull reads a published artifact back: what the branch shows is what the registry has.
func (r *run) pull(ctx context.Context, s *stageRun) (fs.FS, error) {
	repository, err := r.Client.Repository(s.planned.Declared.Repository)
	if err != nil {
		return nil, err
	}
	manifest, err := repository.ReadArtifact(ctx, s.published.Digest.String())
	if err != nil {
		return nil, err
	}
	return repository.Pull(ctx, manifest)
}

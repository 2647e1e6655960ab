package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/lockage/lockage/artifact"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/plan"
	"github.com/lockage/lockage/publish"
)

const (
	// firstPause is the unit of the pauses after a push that came too late.
	firstPause = 100 * time.Millisecond
	// maxRounds bounds how often stages are published again because a newer hydration took their tag while their branch was
	// being written.
	maxRounds = 3
)

// stageRun is one stage of a run of hydrate: what to publish, what became of it, and what its branch shows then.
type stageRun struct {
	release   int // index of its pipeline
	stage     plan.Stage
	job       publish.Job
	published publish.Result
	shown     mirror.Result
	mirrorErr error
}

// mirrored tells whether hydration writes the stage's branch.
func mirrored(declared pipeline.Expanded) bool {
	return declared.Mirror != nil && declared.Mirror.When == "hydrate"
}

// checkMirrors finds out what is wrong with the remotes of mirrors, and with the keys that sign their commits, before
// anything is written anywhere.
func (h *hydrator) checkMirrors(ctx context.Context, r plan.Release) error {
	for _, s := range r.Stages {
		if !mirrored(s.Declared) {
			continue
		}
		if _, err := h.workspace.Repository.Remote(ctx, s.Declared.Mirror.Remote); err != nil {
			return usagef("pipeline %s: mirror.remote of stage %s: %w", s.Pipeline, s.Name, err)
		}
		key := s.Declared.Mirror.SignCommits
		if key == nil || h.dryRun || h.commitSigners[key.Key] != nil {
			continue
		}
		signer, err := commitSigner(h.workspace.Root(), key.Key)
		if err != nil {
			return usagef("pipeline %s: stage %s: %w", s.Pipeline, s.Name, err)
		}
		h.commitSigners[key.Key] = signer
	}
	return nil
}

// mirror makes the stage branches show what was published. One push a pipeline and remote; an error of one is of its
// stages only. A stage whose tag went to another hydration meanwhile is published anew, and its branch shows whichever is
// the newer: that other run may have found the branch as it should be, before this one wrote to it.
func (h *hydrator) mirror(ctx context.Context, runs []*stageRun) {
	writers := map[string]*mirror.Writer{}
	for range maxRounds {
		h.mirrorOnce(ctx, writers, runs)
		var overtaken []*stageRun
		for _, r := range runs {
			if r.shown.Written && r.mirrorErr == nil {
				switch current, err := h.current(ctx, r); {
				case err != nil:
					r.mirrorErr = err
				case !current:
					overtaken = append(overtaken, r)
				}
			}
		}
		if len(overtaken) == 0 {
			return
		}
		runs = overtaken
		if err := h.catchUp(ctx, runs); err != nil {
			failMirrors(runs, err)
			return
		}
		clear(writers) // they know the policy ref as it was
		h.publish(ctx, runs)
	}
}

// catchUp looks at the policy ref anew: whoever overtook these stages may have done so from a commit that came to it since
// this run began.
func (h *hydrator) catchUp(ctx context.Context, runs []*stageRun) error {
	trunk, err := h.workspace.Policy(ctx, h.policy, func(message string) { h.app.warn("%s", message) })
	if err != nil {
		return err
	}
	h.trunk = trunk
	newest := h.newest(ctx)
	for _, r := range runs {
		r.job.Trunk, r.job.TipInput = trunk, newest[plan.KeyOf(r.stage.Stage)]
	}
	return nil
}

// current tells whether a stage's artifact still is the candidate.
func (h *hydrator) current(ctx context.Context, r *stageRun) (bool, error) {
	tag := artifact.Candidate(r.stage.Name, r.stage.Lock.ReleaseID)
	desc, err := r.job.Registry.Resolve(ctx, tag)
	return err == nil && desc.Digest == r.published.Digest, err
}

func (h *hydrator) mirrorOnce(ctx context.Context, writers map[string]*mirror.Writer, runs []*stageRun) {
	byRemote := map[string][]*stageRun{}
	var order []string
	for _, r := range runs {
		if !mirrored(r.stage.Declared) || r.published.Err != nil || r.published.GitOpsCommit == "" {
			continue
		}
		remote := r.stage.Declared.Mirror.Remote
		if byRemote[remote] == nil {
			order = append(order, remote)
		}
		byRemote[remote] = append(byRemote[remote], r)
	}
	for _, remote := range order {
		own := byRemote[remote]
		err := h.look(ctx, writers, remote, own)
		if err != nil {
			failMirrors(own, err)
			continue
		}
		for len(own) > 0 { // one pipeline at a time
			n := 1
			for n < len(own) && own[n].release == own[0].release {
				n++
			}
			h.mirrorPipeline(ctx, writers[remote], own[:n])
			own = own[n:]
		}
	}
}

// look opens a remote, and finds out where all branches of the run stand.
func (h *hydrator) look(ctx context.Context, writers map[string]*mirror.Writer, name string, runs []*stageRun) error {
	if writers[name] == nil {
		remote, err := h.workspace.Repository.Remote(ctx, name)
		if err != nil {
			return err
		}
		// These numbers only have to be others than those of other processes
		writers[name] = mirror.NewWriter(remote, h.trunk, mirror.Backoff(firstPause, rand.Int64N))
	}
	return writers[name].Look(ctx, h.entries(runs))
}

func (h *hydrator) mirrorPipeline(ctx context.Context, w *mirror.Writer, runs []*stageRun) {
	results, err := w.Write(ctx, h.entries(runs))
	if err != nil {
		failMirrors(runs, err)
		return
	}
	for i, r := range runs {
		r.shown = results[i]
		m := r.stage.Declared.Mirror
		switch {
		case r.shown.Superseded:
			h.app.warn("%s/%s: branch %s shows what a newer GitOps commit was hydrated to; it is left as it is", r.stage.Pipeline, r.stage.Name, m.Branch)
		case r.shown.Written:
			h.app.step("%s/%s on branch %s", r.stage.Pipeline, r.stage.Name, m.Branch)
		}
	}
}

func failMirrors(runs []*stageRun, err error) {
	for _, r := range runs {
		r.mirrorErr = fmt.Errorf("mirror: %w", err)
	}
}

func (h *hydrator) entries(runs []*stageRun) []mirror.Entry {
	entries := make([]mirror.Entry, len(runs))
	for i, r := range runs {
		m := r.stage.Declared.Mirror
		entries[i] = mirror.Entry{
			Pipeline:      r.stage.Pipeline,
			Stage:         r.stage.Name,
			Release:       r.stage.Lock.ReleaseID,
			Branch:        m.Branch,
			Path:          m.Path,
			GitAttributes: m.Attributes,
			Artifact:      r.published.Reference,
			Content:       r.published.ContentDigest,
			Source:        mirror.Origin{URL: r.job.SourceURL, Commit: r.stage.Lock.GitCommit},
			GitOps:        mirror.Origin{URL: r.job.GitOpsURL, Commit: r.published.GitOpsCommit},
			Time:          r.job.Committed,
			Tree:          func(ctx context.Context) (fs.FS, error) { return h.pull(ctx, r) },
		}
		if m.SignCommits != nil {
			entries[i].Sign = h.commitSigners[m.SignCommits.Key]
		}
	}
	return entries
}

// pull reads a published artifact back: what the branch shows is what the registry has.
func (h *hydrator) pull(ctx context.Context, r *stageRun) (fs.FS, error) {
	repository, err := h.client.Repository(r.stage.Declared.Repository)
	if err != nil {
		return nil, err
	}
	manifest, err := repository.ReadArtifact(ctx, r.published.Digest.String())
	if err != nil {
		return nil, err
	}
	return repository.Pull(ctx, manifest)
}

// result is what a stage came to, in registry and branch together.
func (r *stageRun) result() hydrateStage {
	out := stageResult(r.stage.Name, r.published)
	if !mirrored(r.stage.Declared) || r.published.Err != nil {
		return out
	}
	out.Branch = r.stage.Declared.Mirror.Branch
	if r.mirrorErr != nil {
		out.Action, out.Error = publish.Failed, r.mirrorErr.Error()
		return out
	}
	if !r.shown.Superseded {
		out.Commit = r.shown.Commit
	}
	if r.shown.Written && out.Action == publish.Unchanged {
		out.Action = publish.Pushed
	}
	return out
}

// err is what went wrong with a stage.
func (r *stageRun) err() error {
	if err := errors.Join(r.published.Err, r.mirrorErr); err != nil {
		return fmt.Errorf("%s/%s: %w", r.stage.Pipeline, r.stage.Name, err)
	}
	return nil
}

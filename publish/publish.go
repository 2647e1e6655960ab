// Package publish is one run of hydrate, over all pipelines: it publishes every stage, then shows it on its branch.
//
// # Order
//
// The GitOps repository is read at the commit that is checked out, and only a commit on the policy ref is published from
// ([workspace.ErrOffPolicy]). All stages of all pipelines are planned, and what is wrong with locks, identities, remotes of
// mirrors and keys that sign their commits is found, before anything is written. Then all stages are published,
// concurrently; then branches are written, in one push a pipeline and remote. Where the pipeline file asks for a review, it is
// the review branch that is written, and a pull request is kept for it, after all else is done.
//
// # Failures
//
// What concerns one pipeline or stage stands in its result and stops no other. What a run did not come to is done by the
// next one: everything that is there already is left alone.
//
// # Concurrent runs
//
// Package publish orders what competing runs make of a stage's candidate. Here the branch is made to follow: after a push
// the candidate is read again, and a stage that was overtaken meanwhile is published and shown anew, by the policy ref as
// it stands then.
package publish

import (
	"context"
	"fmt"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// Options say what to hydrate, and with what. All but the strings, Files, Stages, Shard and DryRun are required.
type Options struct {
	Workspace *workspace.Workspace
	Files     []string // patterns of pipeline files, as [workspace.Workspace.Pipelines] takes them
	Stages    []string // by name; none means all
	Release   string   // git-<40 hex>; "" means the current one of each pipeline
	Shard     Shard    // of the pipelines
	Since     string   // a commit: only stages whose inputs are others than they were there; "" for all
	Policy    string   // the policy ref, as [workspace.Workspace.Policy] takes it
	DryRun    bool     // say what would be done; write nothing and open no key

	Renderers map[string]hydrate.Renderer // by the lock's packaging.kind
	Client    *oci.Client
	Forge     forge.Options // of the forges that have pull requests; the zero value has no token
	Keys      *sign.Keyring
	Version   string                // of lockage, for the provenance
	Random    func(n int64) int64   // a number in [0, n); it only has to be another one than in other processes
	Warn      func(message string)  // is told what is no result
	Step      func(progress string) // is told of each stage as it is done, one at a time
}

// Release is what became of one pipeline's release.
type Release struct {
	Pipeline string
	Lock     lock.Lock // zero where there is Err
	Stages   []Stage   // in the pipeline's order
	Err      error     // why there are no stages
}

// Stage is what became of one stage, in registry and branch together. Action is that of both: a stage whose branch alone
// was written is pushed. Err is of either.
type Stage struct {
	Name string
	Result
	Branch string // "" where it is not mirrored, and in a stage that could not be published; of a review, the review branch until it is merged
	Commit string // at which the branch shows it; "" where nothing was shown, or a newer one is

	PullRequest string // URL; "" where there is none
	Compare     string // URL of the page on which a person opens the pull request, where there is no token for that
}

// ConfigurationError says that a pipeline file asks for what is not there, or for a key that will not do.
type ConfigurationError struct{ err error }

func (e *ConfigurationError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *ConfigurationError) Unwrap() error { return e.err }

func configurationf(format string, args ...any) error {
	return &ConfigurationError{fmt.Errorf(format, args...)}
}

// Run hydrates. The error is for what concerns all pipelines; nothing was written then. The result has the order of the
// pipelines.
func Run(ctx context.Context, o Options) ([]Release, error) {
	r := run{Options: o, commitSigners: map[string]func([]byte) (string, error){}}
	files, err := o.Workspace.Files(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := o.Workspace.Pipelines(files, o.Files); err != nil {
		return nil, err // before the policy ref is asked for
	}
	if r.trunk, err = o.Workspace.Policy(ctx, o.Policy, o.Warn); err != nil {
		return nil, err
	}
	if err := o.Workspace.Publishable(ctx, r.trunk); err != nil {
		return nil, err
	}
	planned, err := r.selected(ctx, files)
	if err != nil {
		return nil, err
	}
	releases, stages := r.prepare(ctx, planned, files)
	r.publish(ctx, stages)
	if !o.DryRun {
		r.mirror(ctx, stages)
		r.review(ctx, stages)
	}
	for _, s := range stages {
		releases[s.release].Stages = append(releases[s.release].Stages, s.result())
		for _, warning := range s.published.Warnings {
			o.Warn(fmt.Sprintf("%s/%s: %s", s.planned.Pipeline, s.planned.Name, warning))
		}
	}
	return releases, nil
}

// run is a run under way.
type run struct {
	Options
	trunk         *workspace.Policy
	commitSigners map[string]func(payload []byte) (string, error) // by reference of the key
}

// stageRun is one stage of a run: what to publish, what became of it, and what its branch shows then.
type stageRun struct {
	release   int // index of its pipeline
	planned   plan.Stage
	job       Job
	published Result
	shown     mirror.Result
	mirrorErr error
	request   request // for a review
	lockDir   string
}

// publish brings the registry to what the stages are.
func (r *run) publish(ctx context.Context, stages []*stageRun) {
	jobs := make([]Job, len(stages))
	for i, s := range stages {
		jobs[i] = s.job
	}
	published := All(ctx, jobs, func(job Job, result Result) {
		r.Step(fmt.Sprintf("%s/%s %s", job.Stage.Pipeline, job.Stage.Name, result.Action))
	})
	for i, s := range stages {
		s.published = published[i]
	}
}

// result is what a stage came to, in registry and branch together.
func (s *stageRun) result() Stage {
	out := Stage{Name: s.planned.Name, Result: s.published}
	if !s.planned.Declared.Mirror.Hydrated() || s.published.Err != nil {
		return out
	}
	out.Branch, _ = branches(s)
	if s.mirrorErr != nil {
		out.Action, out.Err = Failed, s.mirrorErr
		return out
	}
	if !s.shown.Superseded {
		out.Commit = s.shown.Commit
	}
	if s.shown.Written && out.Action == Unchanged {
		out.Action = Pushed
	}
	if s.planned.Declared.Mirror.Reviewed() {
		return s.withReview(out)
	}
	return out
}

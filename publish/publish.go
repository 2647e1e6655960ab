// Package publish makes registry and stage branches show what a GitOps commit declares: [Run] renders, packs, pushes, signs
// and tags every stage of every pipeline, then writes its branch.
//
// # Order
//
// Run reads the GitOps repository at the policy ref's tip, whatever is checked out, or at another commit of the tip's
// first-parent line ([workspace.ErrOffPolicy]); the provenance names both. It plans all stages of all pipelines, and checks locks, identities, remotes of mirrors and
// the keys that sign their commits, before it writes anything. It publishes all stages concurrently. Where people
// review what a stage branch is to show, it writes none: see package promote.
//
// # Write order
//
// For each stage: the manifest by digest; signature and provenance; the older signature. Then one push a remote that holds, for
// all pipelines together, the entries of the ledger and the stage branches. Then the tags: that of this hydration, which never
// moves, that of the image, and the candidate's. A run that stops between two writes leaves nothing unsigned in the ledger and no
// tag on what the ledger does not have. Each write is made only if its result is missing, so the next run completes it.
// The error of a pipeline or stage is in its result and stops no other.
//
// # Unchanged
//
// A stage is unchanged if the ledger's entry of its release has its full input digest, the hydrator's signature in it and a
// provenance from a commit on the policy ref verify, and candidate's tag and stage branch agree with the entry. Then nothing is
// rendered, no key is needed, and nothing else is asked of the registry: that tag is written last. If it does not agree, what the
// registry lost is put back from the entry.
//
// # Superseded
//
// Which hydration is newer is decided by the ledger's entry alone, by ancestry of the GitOps commit in its verified provenance:
// neither by tags nor by what a branch says of itself. The push has a lease, so of two runs the later one sees the other's
// entry. An entry with the inputs of the policy ref's tip stays: the tip led back to them. The tags follow the ledger: after a
// run moved one, it reads the ledger again.
package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/policy/verify"
)

// concurrency bounds the stages in progress. Most of a stage is waiting for the registry; renders, which take memory and
// processors, are bounded by the number of processors.
const concurrency = 16

// Options select what to hydrate. Environment and Renderers are required.
type Options struct {
	Environment
	Stages    []string                       // by name; none means all
	Release   string                         // git-<40 hex>; "" means the current one of each pipeline
	At        string                         // GitOps commit on the policy ref's first-parent line; "" means its tip
	Since     string                         // a commit: select only stages whose inputs differ from those there; "" for all
	Renderers map[lock.Kind]hydrate.Renderer // by the lock's packaging.kind
	Charts    plan.Charts                    // nil to refuse packaged charts
}

// Release is the outcome of one pipeline's release.
type Release struct {
	Pipeline     string
	GitOpsCommit string    // that was published
	Lock         lock.Lock // zero if Err is set
	Stages       []Stage   // in the pipeline's order
	Err          error     // why there are no stages
}

// Stage is the outcome of one stage, in registry and branch together: a stage whose branch alone was written is pushed.
type Stage struct {
	Name          string        `json:"stage"`
	Action        Action        `json:"action"`
	Reference     string        `json:"reference,omitempty"`
	Digest        digest.Digest `json:"digest,omitempty"`
	ContentDigest digest.Digest `json:"contentDigest,omitempty"`
	InputDigest   digest.Digest `json:"inputDigest,omitempty"`
	Tags          []string      `json:"tags,omitempty"`
	Objects       int           `json:"objects,omitempty"`
	Images        []string      `json:"images,omitempty"`

	Branch string `json:"branch,omitempty"` // the stage branch; "" without a mirror or an artifact, or where people review it first
	Commit string `json:"commit,omitempty"` // that shows it; "" if none does, or a newer one does

	// Review reports that people may be asked about the release now: they review the stage, and no stage comes before it.
	Review bool  `json:"-"`
	Err    error `json:"-"`
}

// Action is what publishing did to a stage.
type Action string

// The actions of a stage.
const (
	Pushed     Action = "pushed"     // something was written
	Unchanged  Action = "unchanged"  // everything was up to date
	Superseded Action = "superseded" // the candidate was hydrated from a newer GitOps commit
	Failed     Action = "failed"
)

// Run hydrates. The error is for what concerns all pipelines; nothing was written then. The result has the order of the
// pipelines.
func Run(ctx context.Context, o Options) ([]Release, error) {
	r, files, planned, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	releases, stages := r.prepare(ctx, planned, files)
	r.stages(ctx, filter(stages, (*stage).declared))
	var warnings hydrate.Warnings
	for _, s := range stages {
		if !s.declared() {
			s.result.Name = s.Name
			s.fail(s.Err)
		}
		s.result.Review = s.reviewed()
		s.into.Stages = append(s.into.Stages, s.result)
		warnings.Add(s.String(), s.warnings...)
	}
	for _, line := range warnings.Lines() {
		o.Warn(line)
	}
	return releases, r.warnBack(ctx, releases, planned)
}

// warnBack warns of a lock that went back to an older release and was hydrated: no run follows it. Where nothing is written, the policy
// ref's history is not read for that.
func (r *run) warnBack(ctx context.Context, releases []Release, planned []plan.Release) error {
	for i, release := range releases {
		pushed := slices.ContainsFunc(release.Stages, func(s Stage) bool { return s.Action == Pushed })
		if !pushed || r.Release != "" {
			continue
		}
		newest, err := r.ref().Newer(ctx, planned[i].Pipeline.Lock, release.Lock.ReleaseID)
		if err != nil {
			return err
		}
		if newest != "" {
			r.Warn(fmt.Sprintf("%s: current.yaml went back from %s, and promote --ready does not follow it: hydrate that with --release %s; the way back is `lockage rollback`",
				release.Pipeline, newest, newest))
		}
	}
	return nil
}

// run is a run in progress.
type run struct {
	Options
	head    string        // the GitOps commit that is published
	tip     string        // of the policy ref, whose first-parent line holds head
	renders chan struct{} // holds one element for each render in progress

	mu        sync.Mutex
	policyRef policyRef
	policy    func(context.Context) (policyRef, error) // reads the policy ref again
	asked     map[string]bool                          // commits for which it was
}

// ref returns the policy ref as it was read last.
func (r *run) ref() policyRef {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.policyRef
}

// meet reads the policy ref again if it does not contain a commit: a run that started later may know more of it.
func (r *run) meet(ctx context.Context, commit string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	on, err := r.policyRef.Contains(ctx, commit)
	if err != nil || on || r.asked[commit] || r.policy == nil {
		return err
	}
	if r.asked == nil {
		r.asked = map[string]bool{}
	}
	r.asked[commit] = true
	ref, err := r.policy(ctx)
	if err == nil {
		r.policyRef = ref
	}
	return err
}

// begin finds the commit to publish and plans its stages. It warns if the checkout is behind that commit.
func begin(ctx context.Context, o Options) (*run, fs.FS, []plan.Release, error) {
	r := &run{Options: o, renders: make(chan struct{}, runtime.GOMAXPROCS(0))}
	ref, err := o.Workspace.Policy(ctx, o.PolicyRef, o.Warn)
	if err != nil {
		return nil, nil, nil, err
	}
	if r.head, err = o.Workspace.Publication(ctx, ref, o.At); err != nil {
		return nil, nil, nil, err
	}
	r.policyRef, r.tip = ref, ref.Tip()
	r.policy = func(ctx context.Context) (policyRef, error) { return o.Workspace.Policy(ctx, o.PolicyRef, o.Warn) }
	files, err := o.Workspace.At(ctx, r.head)
	if err != nil {
		return nil, nil, nil, err
	}
	planned, err := r.selected(ctx, files)
	if err == nil {
		pipelines := make([]*pipeline.Pipeline, len(planned))
		for i, p := range planned {
			pipelines[i] = p.Pipeline
		}
		ref.Expect(pipelines)
		err = DenyPrivateKeys(files, r.head, pipelines)
	}
	if err == nil && o.At == "" {
		err = errors.Join(r.warnBehind(ctx, ref, planned), r.warnUncommitted(ctx, planned))
	}
	return r, files, planned, err
}

// warnBehind warns if the policy ref's tip, which is published, is not what is checked out, and names what is new there.
func (r *run) warnBehind(ctx context.Context, ref *workspace.Policy, planned []plan.Release) error {
	behind, err := r.Workspace.Behind(ctx, ref)
	if err != nil || behind == "" {
		return err
	}
	files, err := r.Workspace.Files(ctx)
	if err != nil {
		return err
	}
	var releases []string
	for _, p := range planned {
		known, err := p.Pipeline.CurrentLock(files)
		if now := p.Lock.ReleaseID; now != "" && r.Release == "" && (err != nil || known.ReleaseID != now) && !slices.Contains(releases, now) {
			releases = append(releases, now)
		}
	}
	switch len(releases) {
	case 0:
	case 1:
		behind += fmt.Sprintf(" (new release %s)", releases[0])
	default:
		behind += fmt.Sprintf(" (%d new releases)", len(releases))
	}
	r.Warn(fmt.Sprintf("%s: git pull; commit %.12s of %s is published", behind, r.head, ref.Name()))
	return nil
}

// warnUncommitted warns if files that the stages read are edited on disk: what is committed is published.
func (r *run) warnUncommitted(ctx context.Context, planned []plan.Release) error {
	var names []string
	for _, p := range planned {
		names = append(names, p.Files()...)
	}
	differ, err := r.Workspace.Uncommitted(ctx, names)
	if err != nil || len(differ) == 0 {
		return err
	}
	r.Warn(fmt.Sprintf("not committed: %s; commit %.12s is published, without such edits", strings.Join(differ[:min(len(differ), 5)], ", "), r.head))
	return nil
}

// policyRef is the policy ref and its history; *workspace.Policy is one.
type policyRef interface {
	verify.PolicyRef
	// IsAncestor reports whether ancestor comes before descendant, or is the same commit.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
	Tip() string
	URL() string
	// Commit reads a commit of the same repository.
	Commit(ctx context.Context, commit string) (git.Commit, error)
	Files(ctx context.Context) (fs.FS, error)
	// Releases yields the releases of a lock directory, the newest first.
	Releases(ctx context.Context, files fs.FS, dir string) iter.Seq2[string, error]
	// Since returns the releases of a lock directory that became current after another one.
	Since(ctx context.Context, dir, release string) ([]string, error)
	// Newer returns the newest release of a lock directory, if it became current after another one; "" if that is not older.
	Newer(ctx context.Context, dir, release string) (string, error)
}

// stages brings registry, ledger and branches to what the inputs of the stages give.
func (r *run) stages(ctx context.Context, stages []*stage) {
	r.read(ctx, stages)
	r.publish(ctx, stages)
	if !r.DryRun {
		r.record(ctx, stages)
		r.yield(ctx, stages)
	}
	r.tag(ctx, stages)
}

// publish publishes stages concurrently.
func (r *run) publish(ctx context.Context, stages []*stage) {
	var group errgroup.Group
	var mu sync.Mutex
	done := 0
	group.SetLimit(concurrency)
	for _, s := range stages {
		group.Go(func() error {
			s.publish(ctx)
			mu.Lock()
			defer mu.Unlock()
			done++
			r.Step(fmt.Sprintf("%d/%d %s %s", done, len(stages), s, s.result.Action))
			return nil
		})
	}
	_ = group.Wait() // the results hold the errors
}

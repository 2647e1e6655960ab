// Package repair puts the registry, and the place of a stage's history, right by what Git proves.
//
// # The registry
//
// Whatever is or was live comes back from the live ref: the artifact, packed from the files of the promotion's commit and equal
// to the digest in its record, or it is reported as not restorable; then the statements that the commit holds, the promoter's and
// those of identities that the pipeline file declares; then the tag of its hydration; and last the stage's tag. The newest
// promotion comes first. That needs no key. Candidates are not made here: hydration makes them, and takes their signatures from
// the ledger. What nobody recorded in Git is lost with the registry: approvals and other evidence that no promotion counted.
//
// An artifact that is missing while its records are listed was pruned. It stays away, unless it is live.
//
// # Places and names
//
// If the pipeline file gives a stage another place in Git, another registry or another name, its history is where an earlier
// commit of the policy ref says. One new record by the promoter carries it over: a commit at the new place that shows what is
// live, and has the former history among its parents. History, holds and soak go on. If the new place is in another remote, the
// former history is pushed along.
//
// # A new beginning
//
// If the registry proves that the live ref lacks a promotion, nothing but the lost commits proves what is live, and repair
// changes nothing, unless a person names the stage and gives a reason. Then the promoter signs a new beginning: at the newest
// promotion that the live ref proves, or if it proves none, at the newest whose record the registry has. Its record holds
// everything that any store shows as promoted after that: it comes back by name alone. History shows the record for ever.
//
// # Order
//
// The commit that carries a history over, or begins it anew, is the commit point. All that follows is found missing by the next
// run, as it is after a lost registry.
package repair

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/notify"
	"github.com/lockage/lockage/publish"
)

const (
	concurrency = 8 // stages in progress
	// maxPromotions bounds how far back artifacts are put back: as far as a rollback can return.
	maxPromotions = 500
)

// Options select what to repair. Environment is required; a dry run changes nothing.
type Options struct {
	publish.Environment
	Stages []string // by name; none means all
	Reason string   // for a new beginning of the named stages; "" for none
}

// Finding is something that is out of step.
type Finding struct {
	What string `json:"what"`
	Mend string `json:"mend"` // what a run without --dry-run does, or what a person has to do
	Done bool   `json:"done"` // this run did it
}

// Result is the outcome of one stage.
type Result struct {
	Pipeline string           `json:"pipeline"`
	Stage    string           `json:"stage"`
	Findings []Finding        `json:"findings"`
	Record   digest.Digest    `json:"record,omitempty"`   // that the promoter signed; "" for none
	Commit   string           `json:"commit,omitempty"`   // that holds it, on the live ref
	Notified []notify.Outcome `json:"notified,omitempty"` // who was called because the stage moved
	Err      error            `json:"-"`
}

// ErrLost is returned for an artifact that cannot be put back.
var ErrLost = errors.New("cannot be put back")

// Stages repairs stages of all pipelines that have them. The error concerns all of them: nothing was changed. Results are in the
// order of the pipelines, and of their stages' graph.
func Stages(ctx context.Context, o Options) ([]Result, error) {
	r := &run{Options: o}
	var pipelines []*pipeline.Pipeline
	var err error
	if r.policyRef, r.files, pipelines, err = o.Trusted(ctx, o.Stages); err != nil {
		return nil, err
	}
	var stages []*stage
	for _, p := range pipelines {
		for _, name := range p.Order() {
			if len(o.Stages) == 0 || p.Names(name, o.Stages...) {
				stages = append(stages, &stage{pipeline: p, result: Result{Pipeline: p.Name, Stage: name}})
			}
		}
	}
	var group errgroup.Group
	group.SetLimit(concurrency)
	results := make([]Result, len(stages))
	for i, s := range stages {
		group.Go(func() error {
			s.result.Err = r.one(ctx, s)
			results[i] = s.result
			o.Step(fmt.Sprintf("%s/%s: %d out of step", s.result.Pipeline, s.result.Stage, len(s.result.Findings)))
			return nil
		})
	}
	_ = group.Wait() // the results hold the errors
	notices := make([]notify.Notice, len(stages))
	for i, s := range stages {
		notices[i] = s.notice
	}
	for i, outcomes := range notify.Send(ctx, o.Environment, notices) {
		results[i].Notified = outcomes
	}
	return results, ctx.Err()
}

// run is a run in progress.
type run struct {
	Options
	policyRef *workspace.Policy
	files     fs.FS // at the policy ref's tip
}

// stage is one stage of a run.
type stage struct {
	pipeline *pipeline.Pipeline
	declared pipeline.Expanded
	live     live.Stage
	state    live.State
	from     live.Stage    // whose history is read: live, or until it is carried over where it was before
	planned  bool          // a new beginning was planned by a dry run: nothing else is proven
	notice   notify.Notice // of what moved; without receivers for nothing
	result   Result
}

// found adds a finding. Done reports whether it was mended.
func (s *stage) found(done bool, mend, format string, args ...any) {
	s.result.Findings = append(s.result.Findings, Finding{What: fmt.Sprintf(format, args...), Mend: mend, Done: done})
}

// one repairs one stage. A pipeline that released nothing has nothing to repair.
func (r *run) one(ctx context.Context, s *stage) error {
	var err error
	if s.declared, _, err = s.pipeline.ExpandCurrent(s.result.Stage, r.files); errors.Is(err, lock.ErrNoRelease) {
		return nil
	}
	if err != nil {
		return err
	}
	if live.Promotes(s.declared) {
		if err := r.promoted(ctx, s); err != nil {
			return err
		}
	}
	return r.candidates(ctx, s)
}

// promoted repairs what is and was live.
func (r *run) promoted(ctx context.Context, s *stage) error {
	var err error
	if s.live, err = live.Open(ctx, r.files, r.policyRef, s.declared, r.Client, r.Workspace.Repository); err != nil {
		return err
	}
	s.from = s.live
	s.state, err = live.ReadGit(ctx, s.live)
	switch broken := errors.Is(err, live.ErrBroken); {
	case r.Reason != "" && (err == nil || broken):
		err = r.restart(ctx, s, err)
	case err == nil:
		err = r.place(ctx, s)
	}
	switch {
	case errors.Is(err, live.ErrBroken):
		return fmt.Errorf("%w: %w", policy.ErrDenied, err)
	case err != nil || s.state.Live == nil || s.planned:
		return err
	}
	return r.registry(ctx, s)
}

// candidates reports the candidates in the ledger that the registry lacks, which hydration makes, and completes the others.
func (r *run) candidates(ctx context.Context, s *stage) error {
	repository, err := r.Client.Repository(s.declared.Repository)
	if err != nil {
		return err
	}
	var wanted []string
	for release, err := range r.policyRef.Releases(ctx, r.files, s.pipeline.Lock) {
		if err != nil {
			return err
		}
		if s.state.Live != nil && s.state.Live.To.Release == release || len(wanted) == ledger.MaxCandidates {
			break // what is older is hydrated when it is wanted
		}
		wanted = append(wanted, release)
	}
	all, err := verify.Candidates(ctx, s.declared, r.Workspace.Repository, wanted...)
	if err != nil {
		return err
	}
	var known []digest.Digest
	for _, release := range wanted {
		if e, ok, err := all.Entry(ctx, verify.NameOf(s.declared, release)); err == nil && ok {
			known = append(known, e.Digest)
		}
	}
	newer := false // whether the registry has a newer one
	for _, release := range wanted {
		has, err := r.candidate(ctx, s, all, verify.NameOf(s.declared, release), repository, known, newer)
		if err != nil {
			return err
		}
		newer = newer || has
	}
	return nil
}

// Package prune removes artifacts from a pipeline's repositories that no stage needs any more.
//
// # What stays
//
//   - What is live in a stage, what its tag names, and what was live within its last N promotions.
//   - The releases that are the newest N of the lock's history on the policy ref, in every stage, with all their
//     hydrations; the current one is always among them.
//   - The releases that were live within the last N promotions of any stage, in every stage of the pipeline: what runs in
//     one stage can still be promoted to the next.
//   - What any other tag names: another stage's, or one that somebody made.
//   - What is not certainly ours and old. An artifact goes only if its manifest says what its tags say, the hydrator signed
//     it for this pipeline, stage and repository, and the policy ref knows the release. What is not is told, and left.
//   - Every record of a promotion: the chain of records cannot be proven without one. Where the registry has the referrers
//     API, records may go with their subject; there, what was ever live stays whole. Elsewhere the artifact goes, and its
//     records stay listed under its fallback tag.
//   - All of a stage whose record is broken. [live.ErrBroken] says what is wrong.
//
// # How it goes
//
// Of one artifact first the tags go, the candidate's before the others, then the manifest, then what is attached to it. A run
// that ends anywhere leaves no tag at anything that is not signed. What it leaves behind is found again where the registry has
// fallback tags; else it is untagged, and the registry's garbage collection takes it. So does it with blobs: nothing here
// deletes one, and in an image layout, which nobody collects, they stay.
//
// The registry is asked first whether it deletes at all. One that does not is left as it is.
//
// # What may happen meanwhile
//
// What is to be kept is found out after the registry was listed, by a policy ref that was read before that: a release that is
// new is unknown, and so it stays. A promotion under way is noticed by the record that it attaches. One that is told by
// name to take a release which is about to be removed may find it gone; it fails then, as one a minute later would.
package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

const (
	// listConcurrency bounds the tags that are resolved at a time.
	listConcurrency = 16
	// concurrency bounds the stages that are read, and the artifacts that are looked at and removed, at a time.
	concurrency = 8
)

// Trunk is the policy ref.
type Trunk interface {
	// Name is the policy ref's name, for messages.
	Name() string
	// Releases are those of a lock directory, the newest first; see gitops.Policy.
	Releases(ctx context.Context, files fs.FS, dir string) iter.Seq2[string, error]
}

// Request says what to prune. Stages, DryRun and Step aside, all of it is required.
type Request struct {
	Pipelines []*pipeline.Pipeline
	Stages    []string // by name; none means all
	Keep      int      // how many promotions and releases back, at least 1
	DryRun    bool     // find out, and remove nothing

	Files   fs.FS // of the GitOps repository at the policy ref
	Trunk   Trunk
	Client  *oci.Client
	Remotes verify.Remotes
	Step    func(progress string)
}

// Removed is an artifact that was removed, or would be.
type Removed struct {
	Digest  digest.Digest
	Release string
	Tags    []string // that it had; none where an earlier run was interrupted
}

// Left is an artifact under a tag of the stage that is old or unknown, and why it stays.
type Left struct {
	Digest digest.Digest
	Tags   []string
	Reason string
}

// Result is what became of one stage.
type Result struct {
	Pipeline string
	Stage    string
	Kept     int // artifacts under the stage's tags that stay, those of Held and Left included
	Held     int // that stay for their records of promotion alone, which might go with them
	Removed  []Removed
	Left     []Left
	Err      error
}

// ErrKeep says that a request would keep nothing.
var ErrKeep = errors.New("keep at least 1")

// Stages prunes stages of all pipelines that have them. The error is for what concerns all of them: nothing was removed
// then. Results come in the order of the pipelines, and of their stages' graph.
func Stages(ctx context.Context, r Request) ([]Result, error) {
	if r.Keep < 1 {
		return nil, fmt.Errorf("%w: %d", ErrKeep, r.Keep)
	}
	var results []Result
	for _, p := range r.Pipelines {
		var names []string
		for _, name := range p.Order() {
			if len(r.Stages) == 0 || slices.Contains(r.Stages, name) {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		some, err := r.pipeline(ctx, p, names)
		if err != nil {
			for _, name := range names[len(some):] {
				some = append(some, Result{Pipeline: p.Name, Stage: name, Err: err})
			}
		}
		results = append(results, some...)
	}
	return results, ctx.Err()
}

// pipeline prunes some stages of a pipeline. With an error, the results are those of the first stages.
func (r Request) pipeline(ctx context.Context, p *pipeline.Pipeline, names []string) ([]Result, error) {
	current, err := lock.Current(r.Files, p.Lock)
	if err != nil {
		return nil, err
	}
	// First what is there, then what of it is needed: what comes to be needed meanwhile is seen.
	inventories := map[string]*inventory{}
	for _, name := range names {
		repository, err := r.Client.Repository(p.Repository(name))
		if err != nil {
			return nil, err
		}
		if inventories[repository.Name()] == nil {
			r.step("%s: list %s", p.Name, repository.Name())
			if inventories[repository.Name()], err = takeInventory(ctx, repository); err != nil {
				return nil, err
			}
		}
	}
	stages, err := r.stages(ctx, p, current.Lock)
	if err != nil {
		return nil, err
	}
	releases, err := r.releases(ctx, p.Lock, current.Lock.ReleaseID, releasesIn(inventories, names))
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		for release := range s.releases {
			releases.kept[release] = true
		}
	}
	var results []Result
	for _, name := range names {
		s := stages[name]
		r.step("%s/%s: prune", p.Name, name)
		result := Result{Pipeline: p.Name, Stage: name, Err: s.broken}
		if s.broken == nil {
			w := &work{stage: s, inventory: inventories[s.repository.Name()], releases: releases, request: r}
			result.Err = w.run(ctx, &result)
		}
		results = append(results, result)
	}
	return results, nil
}

// stages reads what is and was live in all stages of a pipeline.
func (r Request) stages(ctx context.Context, p *pipeline.Pipeline, current lock.Lock) (map[string]*stage, error) {
	order := p.Order()
	all := make([]*stage, len(order))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, name := range order {
		group.Go(func() error {
			declared, err := p.Expand(name, current, r.Files)
			if err != nil {
				return err
			}
			if all[i], err = r.open(groupCtx, declared, p.Lock); err != nil {
				return fmt.Errorf("stage %s: %w", name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	stages := map[string]*stage{}
	for i, name := range order {
		stages[name] = all[i]
	}
	return stages, nil
}

func (r Request) step(format string, args ...any) {
	if r.Step != nil {
		r.Step(fmt.Sprintf(format, args...))
	}
}

// stage is a stage, and what of it is needed.
type stage struct {
	declared   pipeline.Expanded
	locks      string // the lock directory
	repository *oci.Repository
	verifier   verifier
	tag        digest.Digest          // what the stage's tag names
	kept       map[digest.Digest]bool // what is or was live within N
	releases   map[string]bool        // of those
	sequence   int                    // of the newest promotion; 0 for none
	broken     error
}

// open reads what is and was live in a stage. That the record is broken is no error here.
func (r Request) open(ctx context.Context, declared pipeline.Expanded, locks string) (*stage, error) {
	s := &stage{declared: declared, locks: locks, kept: map[digest.Digest]bool{}, releases: map[string]bool{}}
	var err error
	if s.repository, err = r.Client.Repository(declared.Repository); err != nil {
		return nil, err
	}
	if s.verifier, err = newVerifier(r.Files, declared); err != nil {
		return nil, err
	}
	if !live.Promotes(declared) {
		s.tag, err = s.repository.Lookup(ctx, declared.Stage)
		return s, err
	}
	at, err := live.Open(ctx, r.Files, declared, r.Client, r.Remotes)
	if err != nil {
		return nil, err
	}
	state, err := live.Read(ctx, at)
	s.tag = state.Tag
	if u := state.Unpromoted; u != nil {
		s.kept[u.Digest()] = true
	}
	if err == nil && state.Live != nil {
		s.sequence = state.Live.Sequence
		err = s.keep(ctx, at, r.Keep)
	}
	if errors.Is(err, live.ErrBroken) {
		s.broken, err = err, nil
	}
	return s, err
}

// keep notes the last promotions.
func (s *stage) keep(ctx context.Context, at live.Stage, last int) error {
	seen := 0
	for p, err := range live.History(ctx, at) {
		if err != nil {
			return err
		}
		s.sequence = max(s.sequence, p.Sequence)
		s.kept[p.To.Digest], s.releases[p.To.Release] = true, true
		if seen++; seen == last {
			break
		}
	}
	return nil
}

// Package prune removes artifacts from a pipeline's repositories that no stage needs any more.
//
// # What stays
//
//   - What is live in a stage, what its tag names, and what was live within its last N promotions.
//   - What the ledger's tip has of releases that never were the current one, however old: promotion by name takes a hotfix.
//   - The releases that are the newest N of the lock's history on the policy ref, in every stage, with all their
//     hydrations; the current one is always among them.
//   - The releases that were live within the last N promotions of any stage, in every stage of the pipeline: what runs in
//     one stage can still be promoted to the next.
//   - What any other tag names: another stage's, or one that somebody made.
//   - What is not certainly ours and old. An artifact is removed only if its manifest agrees with its tags, the hydrator
//     signed it for this pipeline, stage and repository, and the policy ref knows the release. The result names the others.
//   - Every record of a promotion: the chain of records cannot be proven without one. If the registry has the referrers
//     API, records may go with their subject; then what was ever live stays whole. If not, the artifact is removed, and its
//     records stay listed under its fallback tag.
//   - All of a stage whose record is broken, see [live.ErrBroken].
//
// # How artifacts are removed
//
// First the tags are deleted, the candidate's before the others, then the manifest, then what is attached to it. A run that
// ends at any point leaves no tag that names something unsigned. The next run finds what is left by the fallback tags; in
// other registries it is untagged, and the garbage collection removes it, as it does blobs: this package deletes none, and
// in an image layout they stay.
//
// A registry that deletes nothing is left as it is: it is asked before the first deletion.
//
// # Concurrent changes
//
// The registry is listed after the policy ref was read and before the live stages are: a new release is unknown, and stays.
// A promotion under way is detected by the record that it attaches. A promotion that names a release which is about to be
// removed may not find it; it fails then, as it would a minute later.
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
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
)

const (
	// listConcurrency bounds the tags that are resolved at a time.
	listConcurrency = 16
	// concurrency bounds the stages that are read at a time, and the artifacts that are examined and removed.
	concurrency = 8
)

// PolicyRef is the policy ref; *workspace.Policy is one.
type PolicyRef interface {
	verify.PolicyRef
	// Releases yields the releases of a lock directory, the newest first.
	Releases(ctx context.Context, files fs.FS, dir string) iter.Seq2[string, error]
}

// Request selects what to prune. All fields but Stages, DryRun and Step are required.
type Request struct {
	Pipelines []*pipeline.Pipeline
	Stages    []string // by name; none means all
	Keep      int      // how many promotions and releases back, at least 1
	DryRun    bool     // find out, and remove nothing

	Files     fs.FS // of the GitOps repository at the policy ref
	PolicyRef PolicyRef
	Client    *oci.Client
	Remotes   verify.Remotes
	Step      func(progress string)
}

// Removed is an artifact that was removed, or would be.
type Removed struct {
	Digest  digest.Digest `json:"digest"`
	Release string        `json:"release,omitempty"`
	Tags    []string      `json:"tags"` // that it had; none if an earlier run was interrupted
}

// Left is an artifact under a tag of the stage that is old or unknown, and the reason why it stays.
type Left struct {
	Digest digest.Digest `json:"digest"`
	Tags   []string      `json:"tags"`
	Reason string        `json:"reason"`
}

// Result is the outcome of one stage.
type Result struct {
	Pipeline string    `json:"pipeline"`
	Stage    string    `json:"stage"`
	Kept     int       `json:"kept"`           // artifacts under the stage's tags that stay, including Held and Left
	Held     int       `json:"held,omitempty"` // that stay only for their records of promotion, which might go with them
	Removed  []Removed `json:"removed"`
	Left     []Left    `json:"left,omitempty"`
	Err      error     `json:"-"`
}

// ErrKeep is returned by Stages if a request would keep nothing.
var ErrKeep = errors.New("keep at least 1")

// Stages prunes stages of all pipelines that have them. An error concerns all of them: nothing was removed. Results are in
// the order of the pipelines, and of their stages' graph.
func Stages(ctx context.Context, r Request) ([]Result, error) {
	if r.Keep < 1 {
		return nil, fmt.Errorf("%w: %d", ErrKeep, r.Keep)
	}
	var results []Result
	for _, p := range r.Pipelines {
		names := slices.DeleteFunc(slices.Clone(p.Order()), func(name string) bool {
			return len(r.Stages) > 0 && !p.Names(name, r.Stages...)
		})
		if len(names) == 0 {
			continue
		}
		some, err := r.pipeline(ctx, p, names)
		if errors.Is(err, lock.ErrNoRelease) {
			continue // there is nothing to remove yet
		}
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
	current, err := p.CurrentLock(r.Files)
	if err != nil {
		return nil, err
	}
	// The list comes first, so that what becomes needed meanwhile is seen.
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
	releases, err := r.releases(ctx, p.Lock, current.ReleaseID, releasesIn(inventories, names))
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		for release := range s.releases {
			releases.kept[release] = true
		}
		for _, e := range s.entries {
			if !releases.current[e.Release] {
				s.kept[e.Digest] = true
			}
		}
	}
	var results []Result
	for i, name := range p.Order() {
		if !slices.Contains(names, name) {
			continue
		}
		s := stages[i]
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

// stages reads what is and was live in all stages of a pipeline, in the order of their graph.
func (r Request) stages(ctx context.Context, p *pipeline.Pipeline, current lock.Lock) ([]*stage, error) {
	stages := make([]*stage, len(p.Order()))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, name := range p.Order() {
		group.Go(func() error {
			declared, err := p.Expand(name, current, r.Files)
			if err != nil {
				return err
			}
			if stages[i], err = r.open(ctx, declared); err != nil {
				return fmt.Errorf("stage %s: %w", name, err)
			}
			return nil
		})
	}
	return stages, group.Wait()
}

func (r Request) step(format string, args ...any) {
	if r.Step != nil {
		r.Step(fmt.Sprintf(format, args...))
	}
}

// stage is a stage, and what of it is needed.
type stage struct {
	declared   pipeline.Expanded
	repository *oci.Repository
	verifier   *sign.Verifier         // of hydrator and promoter
	tag        digest.Digest          // what the stage's tag names
	entries    []ledger.Entry         // at the ledger's tip
	kept       map[digest.Digest]bool // what is or was live within N, or waits to be promoted by name
	releases   map[string]bool        // of what is or was live within N
	broken     error
}

// open reads what is and was live in a stage. A broken record is not an error here.
func (r Request) open(ctx context.Context, declared pipeline.Expanded) (*stage, error) {
	s := &stage{declared: declared, kept: map[digest.Digest]bool{}, releases: map[string]bool{}}
	signers := []string{pipeline.RoleHydrator}
	if live.Promotes(declared) {
		signers = append(signers, pipeline.RolePromoter)
	}
	var err error
	if s.repository, err = r.Client.Repository(declared.Repository); err != nil {
		return nil, err
	}
	if s.verifier, err = verify.Identity(r.Files, declared, signers...); err != nil {
		return nil, err
	}
	if s.entries, err = verify.Entries(ctx, declared, r.Remotes); err != nil {
		return nil, err
	}
	if !live.Promotes(declared) {
		s.tag, err = s.repository.Lookup(ctx, declared.Stage)
		return s, err
	}
	at, err := live.Open(ctx, r.Files, r.PolicyRef, declared, r.Client, r.Remotes)
	if err != nil {
		return nil, err
	}
	state, err := live.Read(ctx, at)
	s.tag = state.Tag
	if u := state.Unpromoted; u != nil {
		s.kept[u.Digest()] = true
	}
	if err == nil && state.Live != nil {
		err = s.keep(ctx, at, r.Keep)
	}
	if errors.Is(err, live.ErrBroken) {
		s.broken, err = err, nil
	}
	return s, err
}

// keep keeps what the last promotions name.
func (s *stage) keep(ctx context.Context, at live.Stage, last int) error {
	seen := 0
	for p, err := range live.History(ctx, at) {
		if err != nil {
			return err
		}
		s.kept[p.To.Digest], s.releases[p.To.Release] = true, true
		if seen++; seen == last {
			break
		}
	}
	return nil
}

// Package promote decides what is live in a stage, and makes it so.
//
// # A promotion
//
//  1. The candidate's tag is resolved to a digest once; everything after works on the digest.
//  2. The artifact is verified as `lockage verify` does, by what the policy ref says. Where the stage branch shows candidates, it
//     must be the one that was shown last for its release: a tag can be set back to a hydration that was replaced.
//  3. Order: the release was live in the stages before, by verified records, and was not rolled back there.
//  4. All gates are judged, also after one that does not pass.
//     Where people review a stage the first one is [GateReview]; where promotion merges, the commit that they approved becomes
//     a parent of the live ref's. Where people merge, what lies on the stage branch below others counts only if the forge, where
//     it can be asked, says that its own pull request was merged.
//  5. The promoter signs: summary, record, signature. Each is read back.
//  6. One commit to the live ref names the record: the commit point. It is made only over what was live when the decision
//     was made.
//  7. The stage's tag follows, until tag and live ref agree.
//
// Nothing is written before step 5. A run that ends before 6 leaves statements by the promoter on an artifact that passed
// every gate, and nothing else: no record counts unless the live ref's history names it. The next run that decides the same
// uses them. A run that ends between 6 and 7 leaves a tag behind the live ref; the next one lets it follow, and asks no
// gate again.
//
// Without a mirror there is no live ref, and step 7 is the commit point: a weaker promise, since registries have no
// compare-and-swap on tags. Who comes later tells the other, but for the last moment; and a tag that was moved by hand to
// what was never promoted stops everything, since nothing else knows what was.
//
// # Which release
//
// Without a name it is the newest release of the lock's history on the policy ref that passes; never one older than what
// is live, and after a rollback none up to the release that was left, nor its content under another name. A release that is
// named may be all of that. Releases whose gates do not pass yet are passed over, one that does not verify is not.
//
// # Trust
//
// Pipelines, locks, identities, keys and policies are those at the policy ref's tip, whatever is checked out.
package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign/predicate"
)

// Action is what became of a stage.
type Action string

// The actions of a stage.
const (
	Promoted   Action = "promoted"
	Noop       Action = "noop"      // the content was live already: recorded, and tagged anew
	Unchanged  Action = "unchanged" // the release is live already, or none is newer
	Denied     Action = "denied"
	Pending    Action = "pending" // only time, or what may still come, stands in the way
	RolledBack Action = "rolled-back"
	Failed     Action = "failed"
)

// Errors of what was asked for.
var (
	// ErrNoStage says that no pipeline has a stage of that name.
	ErrNoStage = errors.New("no such stage")
	// ErrPending says that only pending gates stand in the way.
	ErrPending = errors.New("not yet")
	// ErrOvertaken says that somebody else changed what is live while this run was deciding.
	ErrOvertaken = errors.New("somebody else was first")
)

// Options select what to promote. Environment is required.
type Options struct {
	publish.Environment
	Stages  []string // by name, at least one; with Ready, none means all
	Release string   // git-<40 hex>; "" for the newest that passes
	Ready   bool     // only stages that the pipeline file calls auto; a stage that is not ready is not a failure
	Reason  string   // given by a person, for the record
}

// Result is what became of one stage.
type Result struct {
	Pipeline string              `json:"pipeline"`
	Stage    string              `json:"stage"`
	Release  string              `json:"release,omitempty"` // requested or chosen; "" for none
	Action   Action              `json:"action"`
	From, To *predicate.Artifact `json:"-"`                // what was live, and what is now or would be; nil for nothing
	Checks   policy.Verdict      `json:"checks,omitempty"` // of the artifact's verification
	Gates    []policy.GateResult `json:"gates"`            // order, and what the pipeline file declares
	Record   digest.Digest       `json:"record,omitempty"` // of the promotion; "" if none was made
	Branch   string              `json:"branch,omitempty"` // of the live ref; "" without a mirror
	Commit   string              `json:"commit,omitempty"` // on it; "" if none was made
	Notes    []string            `json:"notes,omitempty"`  // what else was found or repaired
	Err      error               `json:"-"`                // why it is denied, pending or failed
}

// Promote promotes stages of all pipelines that have them. The error is for what concerns all of them; nothing was
// written then. Results come in the order of the pipelines, and of their stages' graph.
func Promote(ctx context.Context, o Options) ([]Result, error) {
	r, stages, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.each(ctx, stages, r.promote), nil
}

// run is a run under way.
type run struct {
	Options
	trunk *workspace.Policy
	files fs.FS // at the policy ref's tip

	forges forges

	mu        sync.Mutex
	histories map[string]*sequence[string] // by lock directory
	chains    map[stageKey]*sequence[live.Promotion]
}

type stageKey struct{ pipeline, stage string }

// task is one stage to look at.
type task struct {
	pipeline *pipeline.Pipeline
	stage    pipeline.Stage
	level    int // how many stages come before it at the most: those of one level do not depend on each other
}

func (t task) key() stageKey { return stageKey{t.pipeline.Name, t.stage.Name} }

// begin reads what is declared, and selects the stages.
func begin(ctx context.Context, o Options) (*run, []task, error) {
	r := &run{Options: o, histories: map[string]*sequence[string]{}, chains: map[stageKey]*sequence[live.Promotion]{}}
	var err error
	if r.trunk, err = o.Workspace.Policy(ctx, o.PolicyRef, o.Warn); err != nil {
		return nil, nil, err
	}
	if r.files, err = r.trunk.Files(ctx); err != nil {
		return nil, nil, err
	}
	pipelines, err := o.Workspace.Pipelines(r.files, o.Files)
	if err != nil {
		return nil, nil, err
	}
	tasks, err := selectStages(pipelines, o.Stages, o.Ready)
	return r, tasks, err
}

// selectStages finds the stages that were named, in all pipelines.
func selectStages(pipelines []*pipeline.Pipeline, names []string, ready bool) ([]task, error) {
	var tasks []task
	found := map[string]bool{}
	var all []string
	for _, p := range pipelines {
		levels := map[string]int{}
		for _, name := range p.Order() {
			s, _ := p.Stage(name)
			for _, before := range s.After.Stages {
				levels[name] = max(levels[name], levels[before]+1)
			}
			all = append(all, name)
			named := slices.Contains(names, name)
			found[name] = found[name] || named
			if named || ready && len(names) == 0 {
				if !ready || s.Auto {
					tasks = append(tasks, task{pipeline: p, stage: s, level: levels[name]})
				}
			}
		}
	}
	for _, name := range names {
		if !found[name] {
			slices.Sort(all)
			return nil, fmt.Errorf("%w: %q; there are %s", ErrNoStage, name, strings.Join(slices.Compact(all), ", "))
		}
	}
	return tasks, nil
}

// concurrency is how many stages are looked at at a time.
const concurrency = 8

// each does the stages of one level after the other, since what is promoted to one stage may be ready for the next.
func (r *run) each(ctx context.Context, tasks []task, do func(context.Context, *stage) error) []Result {
	results := make([]Result, len(tasks))
	last := 0
	for _, t := range tasks {
		last = max(last, t.level)
	}
	for level := range last + 1 {
		var group errgroup.Group
		group.SetLimit(concurrency)
		for i, t := range tasks {
			if t.level == level {
				group.Go(func() error {
					results[i] = r.one(ctx, t, do)
					return nil
				})
			}
		}
		_ = group.Wait() // errors stand in the results
	}
	return results
}

// one does one stage. An error without an action of its own is a failure.
func (r *run) one(ctx context.Context, t task, do func(context.Context, *stage) error) Result {
	s, err := r.open(ctx, t)
	switch {
	case err == nil:
		err = do(ctx, s)
	case r.Ready && errors.Is(err, errNoRelease):
		s.note("%v", err)
		s.result.Action, err = Unchanged, nil
	}
	result := s.result
	result.Pipeline, result.Stage, result.Err = t.pipeline.Name, t.stage.Name, err
	switch {
	case err == nil:
	case errors.Is(err, policy.ErrDenied):
		result.Action = Denied
	case errors.Is(err, ErrPending):
		result.Action = Pending
	default:
		result.Action = Failed
	}
	r.Step(fmt.Sprintf("%s/%s %s", t.pipeline.Name, t.stage.Name, result.Action))
	return result
}

package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/notify"
)

const (
	// concurrency bounds the stages in progress. Most of a promotion is waiting for servers; what artifacts unpack to has a bound of its
	// own, see [inRoom].
	concurrency = 32
	// maxReleases bounds how far back in the lock's history a release is searched for.
	maxReleases = 500
	// maxHolds bounds how many releases that were rolled back from, and that nobody promoted since, are held.
	maxHolds = 50
)

// run is a run in progress.
type run struct {
	Options
	policyRef *workspace.Policy
	files     fs.FS // at the policy ref's tip

	forges   memo.Map[string, *forge.Repository] // by the URL of the remote
	views    map[[2]string]*view                 // of all stages, by pipeline and name
	releases memo.Map[string, *sequence[string]] // by lock directory, the newest first
	evidence *evidence.Run
	unpacked *semaphore.Weighted // bytes, see [inRoom]

	mu    sync.Mutex
	stops []func() // end the reading of sequences
}

// start reads the declarations, selects the stages, and does each. Stages of one level run concurrently, and one level
// after the other, since what is promoted to one stage may be ready for the next.
func start(ctx context.Context, o Options, do func(*run, context.Context, *stage) error) ([]Result, error) {
	r := &run{Options: o, evidence: evidence.NewRun(), unpacked: semaphore.NewWeighted(maxUnpacked)}
	var pipelines []*pipeline.Pipeline
	var err error
	if r.policyRef, r.files, pipelines, err = o.Trusted(ctx, o.Stages); err != nil {
		return nil, err
	}
	stages := r.selectStages(pipelines)
	defer func() {
		for _, stop := range r.stops {
			stop()
		}
	}()
	var ended atomic.Int32
	for level, left := 0, len(stages); left > 0; level++ {
		var group errgroup.Group
		group.SetLimit(concurrency)
		for _, s := range stages {
			if s.level == level {
				left--
				group.Go(func() error {
					r.one(ctx, s, do)
					r.Step(fmt.Sprintf("%d/%d %s/%s %s", ended.Add(1), len(stages), s.pipeline.Name, s.stage.Name, s.result.Action))
					return nil
				})
			}
		}
		_ = group.Wait() // the results hold the errors
	}
	r.call(ctx, stages)
	var results []Result
	for _, s := range stages {
		if !s.proposes || s.result.Proposal != nil || s.result.Err != nil && len(s.result.Gates) == 0 {
			results = append(results, s.result)
		}
	}
	return results, nil
}

// call calls the receivers of the stages that moved.
func (r *run) call(ctx context.Context, stages []*stage) {
	notices := make([]notify.Notice, len(stages))
	for i, s := range stages {
		notices[i] = s.notice
	}
	for i, outcomes := range notify.Send(ctx, r.Environment, notices) {
		stages[i].result.Notified = outcomes
	}
}

// selectStages finds the named stages in all pipelines.
func (r *run) selectStages(pipelines []*pipeline.Pipeline) []*stage {
	var stages []*stage
	r.views = map[[2]string]*view{}
	for _, p := range pipelines {
		levels := map[string]int{}
		for _, name := range p.Order() {
			v := &view{pipeline: p}
			v.stage, _ = p.Stage(name)
			r.views[[2]string{p.Name, name}] = v
			for _, before := range v.stage.After.Stages {
				levels[name] = max(levels[name], levels[before]+1)
			}
			s := &stage{view: v, level: levels[name], proposes: r.proposed != nil || r.Ready && !v.stage.Auto}
			named := p.Names(name, r.Stages...) || r.Ready && len(r.Stages) == 0
			if r.proposed != nil {
				named = r.proposed[[2]string{p.Name, name}]
			}
			if named && (!s.proposes || r.asksPeople(p, name)) {
				stages = append(stages, s)
			}
		}
	}
	return stages
}

// asksPeople reports whether people review a stage, for the current release.
func (r *run) asksPeople(p *pipeline.Pipeline, stage string) bool {
	declared, _, err := p.ExpandCurrent(stage, r.files)
	return err == nil && declared.Mirror.Reviewed()
}

// one does one stage. An error without an action of its own is a failure.
func (r *run) one(ctx context.Context, s *stage, do func(*run, context.Context, *stage) error) {
	_, err := r.view(ctx, s.pipeline, s.stage.Name)
	switch {
	case err == nil:
		if err = r.read(ctx, s); err == nil {
			err = do(r, ctx, s)
			r.unpacked.Release(s.unpacked)
		}
	case r.Ready && errors.Is(err, lock.ErrNoRelease):
		s.note("%v", err)
		s.result.Action, err = Unchanged, nil
	}
	if errors.Is(err, live.ErrBroken) && !errors.Is(err, policy.ErrDenied) { // nothing is decided on a record that cannot be trusted
		err = fmt.Errorf("%w: %w", policy.ErrDenied, err)
	}
	result := &s.result
	result.Pipeline, result.Stage, result.Err = s.pipeline.Name, s.stage.Name, err
	switch {
	case err == nil:
	case errors.Is(err, policy.ErrDenied):
		result.Action = Denied
	case errors.Is(err, ErrPending):
		result.Action = Pending
	default:
		result.Action = Failed
	}
}

// lock reads the lock of a release of the stage's pipeline.
func (r *run) lock(s *stage, release string) (lock.File, error) {
	f, err := s.pipeline.LockOf(r.files, release)
	if err != nil {
		return f, fmt.Errorf("%s: %w", r.policyRef.Name(), err)
	}
	return f, nil
}

// named reads the lock of the release that the options name, and returns the digits of the hydration that they name, if any.
func (r *run) named(s *stage) (f lock.File, input string, err error) {
	name, input := lock.SplitName(r.Release)
	id, err := s.pipeline.FindRelease(r.files, name)
	if err != nil {
		return f, input, fmt.Errorf("%s: %w", r.policyRef.Name(), err)
	}
	f, err = r.lock(s, id)
	return f, input, err
}

// history returns the releases of a pipeline, the newest first.
func (r *run) history(ctx context.Context, p *pipeline.Pipeline) *sequence[string] {
	history, _ := r.releases.Get(p.Lock, func() (*sequence[string], error) {
		return sequenceOf(r, r.policyRef.Releases(ctx, r.files, p.Lock)), nil
	})
	return history
}

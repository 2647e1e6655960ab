package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
)

const (
	// concurrency bounds the stages in progress.
	concurrency = 8
	// maxReleases bounds how far back in the lock's history a release is searched for.
	maxReleases = 500
)

// run is a run in progress.
type run struct {
	Options
	policyRef *workspace.Policy
	files     fs.FS // at the policy ref's tip

	forges    memo.Map[string, *forge.Repository]   // by the URL of the remote
	histories sequences[string, string]             // releases by lock directory, the newest first
	chains    sequences[sign.Claim, live.Promotion] // promotions by stage, the newest first
}

// start reads the declarations, selects the stages, and does each. Stages of one level run concurrently, and one level
// after the other, since what is promoted to one stage may be ready for the next.
func start(ctx context.Context, o Options, do func(*run, context.Context, *stage) error) ([]Result, error) {
	r := &run{Options: o}
	var pipelines []*pipeline.Pipeline
	var err error
	if r.policyRef, r.files, pipelines, err = o.Trusted(ctx, o.Stages); err != nil {
		return nil, err
	}
	stages := selectStages(pipelines, o.Stages, o.Ready)
	defer r.histories.close()
	defer r.chains.close()
	results := make([]Result, len(stages))
	last := 0
	for _, s := range stages {
		last = max(last, s.level)
	}
	for level := range last + 1 {
		var group errgroup.Group
		group.SetLimit(concurrency)
		for i, s := range stages {
			if s.level == level {
				group.Go(func() error {
					results[i] = r.one(ctx, s, do)
					return nil
				})
			}
		}
		_ = group.Wait() // the results hold the errors
	}
	return results, nil
}

// selectStages finds the named stages in all pipelines.
func selectStages(pipelines []*pipeline.Pipeline, names []string, ready bool) []*stage {
	var stages []*stage
	for _, p := range pipelines {
		levels := map[string]int{}
		for _, name := range p.Order() {
			declared, _ := p.Stage(name)
			for _, before := range declared.After.Stages {
				levels[name] = max(levels[name], levels[before]+1)
			}
			named := slices.Contains(names, name) || ready && len(names) == 0
			if named && (declared.Auto || !ready) {
				stages = append(stages, &stage{pipeline: p, stage: declared, level: levels[name]})
			}
		}
	}
	return stages
}

// one does one stage. An error without an action of its own is a failure.
func (r *run) one(ctx context.Context, s *stage, do func(*run, context.Context, *stage) error) Result {
	err := r.open(ctx, s)
	switch {
	case err == nil:
		if err = r.read(ctx, s); err == nil {
			err = do(r, ctx, s)
		}
	case r.Ready && errors.Is(err, errNoRelease):
		s.note("%v", err)
		s.result.Action, err = Unchanged, nil
	}
	result := s.result
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
	r.Step(fmt.Sprintf("%s/%s %s", s.pipeline.Name, s.stage.Name, result.Action))
	return result
}

// lock reads the lock of a release of the stage's pipeline.
func (r *run) lock(s *stage, release string) (lock.File, error) {
	f, err := lock.Release(r.files, s.pipeline.Lock, release)
	if err != nil {
		return f, fmt.Errorf("%s: %w", r.policyRef.Name(), err)
	}
	return f, nil
}

// releases returns the releases of a lock directory, the newest first.
func (r *run) releases(ctx context.Context, dir string) *sequence[string] {
	return r.histories.of(dir, r.policyRef.Releases(ctx, r.files, dir))
}

// chain returns the promotions of a stage, the newest first. A broken record is an error before the first of them: a caller that reads
// the newest alone has to know.
func (r *run) chain(ctx context.Context, s *stage) *sequence[live.Promotion] {
	return r.chains.of(s.live.Claim, func(yield func(live.Promotion, error) bool) {
		if _, err := live.Read(ctx, s.live); err != nil {
			yield(live.Promotion{}, err)
			return
		}
		live.History(ctx, s.live)(yield)
	})
}

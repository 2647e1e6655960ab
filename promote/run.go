package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/oci"
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
	locks    memo.Map[[2]string, lock.File]      // by pipeline and release
	views    map[[2]string]*view                 // of all stages, by pipeline and name
	evidence *evidence.Run
	unpacked *semaphore.Weighted // bytes, see [inRoom]
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
		for _, v := range r.views {
			v.close()
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
	notices := make([]notify.Notice, len(stages)) // of those that moved
	for i, s := range stages {
		notices[i] = s.notice
	}
	notified := notify.Send(ctx, r.Environment, notices)
	var results []Result
	for i, s := range stages {
		s.result.Notified = notified[i]
		if !s.proposes || s.result.Proposal != nil || s.result.Err != nil && len(s.result.Gates) == 0 {
			results = append(results, s.result)
		}
	}
	return results, nil
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
			if named && s.proposes {
				declared, _, err := p.ExpandCurrent(name, r.files)
				named = err == nil && declared.Mirror.Reviewed()
			}
			if named {
				stages = append(stages, s)
			}
		}
	}
	return stages
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
		switch replaced := slices.Contains([]Action{Promoted, Noop, RolledBack}, s.result.Action); {
		case s.missing == nil:
		case replaced:
			s.note("%v", s.missing)
		case err == nil:
			err = s.missing
		default:
			err = fmt.Errorf("%w\n%s", s.missing, err.Error()) // not wrapped: whatever keeps the other one back, the stage failed
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

// lock reads the lock of a release of the stage's pipeline, once.
func (r *run) lock(s *stage, release string) (lock.File, error) {
	return r.locks.Get([2]string{s.pipeline.Name, release}, func() (lock.File, error) {
		f, err := s.pipeline.LockOf(r.files, release)
		if err != nil {
			err = fmt.Errorf("%s: %w", r.policyRef.Name(), err)
		}
		return f, err
	})
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

// history yields the n newest releases of a pipeline, the newest first.
func (r *run) history(ctx context.Context, p *pipeline.Pipeline, n int) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		left := n
		if left == 0 {
			return
		}
		for id, err := range r.policyRef.Releases(ctx, r.files, p.Lock) {
			if left--; !yield(id, err) || left == 0 {
				return
			}
		}
	}
}

// stage is one stage of a run: what is kept of it, and the outcome.
type stage struct {
	*view
	level    int // the most stages in a row before it: stages of one level do not depend on each other
	state    live.State
	missing  error   // what is live is not in the registry; nil if it is. It may be gone for good, and another artifact replaces it
	review   *review // nil until it is read, and for a stage that people do not review
	proposes bool    // it is only proposed, and not promoted
	result   Result
	notice   notify.Notice // of what moved; without receivers for nothing
	unpacked int64         // bytes of the run's that it takes
}

// read reads what is live, and completes what an earlier run began.
func (r *run) read(ctx context.Context, s *stage) error {
	var err error
	s.result.Branch = s.live.Place.Branch
	if s.state, err = s.read(ctx); err != nil {
		return err
	}
	if s.state.Live != nil {
		s.result.From = &s.state.Live.To
	}
	if err := r.meet(ctx, s); err != nil {
		return err
	}
	switch u := s.state.Unpromoted; {
	case u != nil && s.state.Refused != "":
		s.note("branch %s: %s", s.live.Place.Branch, s.state.Refused)
	case u != nil:
		s.note("branch %s shows %s, which was not promoted: it is unpromoted until it passes", s.live.Place.Branch, u.Lockage.Release)
	}
	drift, bare := s.state.Drift(), s.state.Bare
	if s.state.Live == nil || !drift && !bare {
		return nil
	}
	if !r.DryRun {
		if err := s.live.Follow(ctx, *s.state.Live, s.state.Head); errors.Is(err, oci.ErrNotFound) {
			s.missing = err
			return nil
		} else if err != nil {
			return err
		}
		if drift {
			s.notice = notify.Notice{Event: notify.About(s.live, *s.state.Live, r.Now()), Receivers: s.receivers}
		}
	}
	artifact := s.state.Live.To.Digest
	what, done := fmt.Sprintf("%s, which is live, lacked what was signed about it", artifact), "it is attached again"
	if drift {
		what, done = s.live.Artifacts.Reference(s.stage.Name)+" did not name what is live", fmt.Sprintf("it names %s again", artifact)
	}
	if r.DryRun {
		done = "a run without --dry-run puts it right"
	}
	s.note("%s: %s", what, done)
	return nil
}

// meet makes sure that the policy ref contains the commit that the last promotion was judged by: what is decided next is decided by
// no older policy. A policy ref whose history was rewritten does not contain it any more, which is only said.
func (r *run) meet(ctx context.Context, s *stage) error {
	if s.state.Live == nil {
		return nil
	}
	commit := s.state.Live.Policy.Commit
	if on, err := r.policyRef.Contains(ctx, commit); err != nil || on {
		return err
	}
	ref, err := r.Workspace.Policy(ctx, r.PolicyRef, func(string) {})
	if err != nil {
		return err
	}
	if on, err := ref.Contains(ctx, commit); err != nil {
		return err
	} else if on {
		return fmt.Errorf("%w: %s has moved on to commit %.12s since this run began, and the last promotion was judged by that or an earlier one; run it again",
			ErrConflict, ref.Name(), ref.Tip())
	}
	older, err := ref.Older(ctx, commit)
	switch {
	case err != nil:
		return err
	case older:
		return fmt.Errorf("%w: %s is at commit %.12s, which is older than %.12s, by which the last promotion was judged: its remote lags behind another one, or it was set back; take back a commit by `git revert`, on top of %.12s",
			policy.ErrDenied, ref.Name(), ref.Tip(), commit, commit)
	}
	s.note("%s does not contain commit %.12s, by which the last promotion was judged: its history was rewritten, or it is older than that", ref.Name(), commit)
	return nil
}

// isLive reports whether an artifact is live, and the live ref shows it.
func (s *stage) isLive(d digest.Digest) bool {
	return s.state.Live != nil && s.state.Unpromoted == nil && s.state.Live.To.Digest == d
}

// note adds a note once: several releases may lead to it.
func (s *stage) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(s.result.Notes, note) {
		s.result.Notes = append(s.result.Notes, note)
	}
}

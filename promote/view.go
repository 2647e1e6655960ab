package promote

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// maxLookback bounds how many promotions of a stage are searched for one release.
const maxLookback = 500

// view is what Git and the registry have of a stage. All that a run does with the stage shares one.
type view struct {
	pipeline *pipeline.Pipeline
	stage    pipeline.Stage

	once       sync.Once // opens it
	err        error
	live       live.Stage
	candidates *ledger.Candidates
	entry      ledger.Candidate // the name of each candidate, but for the release
	receivers  []pipeline.Receiver

	mu         sync.Mutex
	now        *live.State // what is live; nil until it is read
	promotions *promotions // nil until they are read
	stops      []func()    // end the reading of promotions
}

// promotions are those of a stage, the newest first, which are read once, and only as far as somebody asks.
type promotions struct {
	next  func() (live.Promotion, error, bool)
	known []live.Promotion
	err   error // that ended them
}

// view opens the view of a stage.
func (r *run) view(ctx context.Context, p *pipeline.Pipeline, name string) (*view, error) {
	v := r.views[[2]string{p.Name, name}]
	v.once.Do(func() { v.err = r.open(ctx, v) })
	return v, v.err
}

// open finds where the state of a stage is kept, and reads its candidates.
func (r *run) open(ctx context.Context, v *view) error {
	// The place of the state does not depend on the release; what does is expanded for each release.
	declared, release, err := v.pipeline.ExpandCurrent(v.stage.Name, r.files)
	if err != nil {
		return err
	}
	v.receivers = declared.Notify
	v.entry = verify.NameOf(declared, release)
	if v.candidates, err = verify.Candidates(ctx, declared, r.Workspace.Repository, release); err != nil {
		return err
	}
	v.live, err = live.Open(ctx, r.files, r.policyRef, declared, r.Client, r.Workspace.Repository)
	return err
}

// candidate returns the ledger's entry of a release, which is not proven; false for none.
func (v *view) candidate(ctx context.Context, release string) (ledger.Entry, bool, error) {
	name := v.entry
	name.Release = release
	e, ok, err := v.candidates.Entry(ctx, name)
	if errors.Is(err, ledger.ErrEntry) {
		err = fmt.Errorf("%w: %w; hydrate again", policy.ErrDenied, err)
	}
	return e, ok, err
}

// read reads what is live.
func (v *view) read(ctx context.Context) (live.State, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now == nil {
		state, err := live.Read(ctx, v.live)
		if err != nil {
			return state, err
		}
		v.now = &state
	}
	return *v.now, nil
}

// changed forgets what was read of a stage that got a new promotion.
func (v *view) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now, v.promotions = nil, nil
}

// close ends what is being read.
func (v *view) close() {
	for _, stop := range v.stops {
		stop()
	}
}

// history yields the promotions of a stage, the newest first. A broken record is an error before the first of them: a caller that
// reads the newest alone has to know.
func (v *view) history(ctx context.Context) iter.Seq2[live.Promotion, error] {
	return func(yield func(live.Promotion, error) bool) {
		state, err := v.read(ctx)
		if err != nil {
			yield(live.Promotion{}, err)
			return
		}
		v.mu.Lock()
		if v.promotions == nil {
			next, stop := iter.Pull2(live.HistoryOf(ctx, v.live, state))
			v.promotions, v.stops = &promotions{next: next}, append(v.stops, stop)
		}
		all := v.promotions
		v.mu.Unlock()
		for i := range maxLookback {
			if p, ok, err := v.promotion(all, i); !ok || !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// promotion returns one of the promotions of a stage, or the error before it; false after the last one.
func (v *view) promotion(all *promotions, i int) (p live.Promotion, ok bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for len(all.known) <= i {
		if all.err == nil {
			p, all.err, ok = all.next()
		}
		if all.err != nil || !ok {
			return p, all.err != nil, all.err
		}
		all.known = append(all.known, p)
	}
	return all.known[i], true, nil
}

// since returns the promotions of a stage that a release can be among, the newest first: none was judged by a policy commit without its
// lock, but for the last of them.
func (v *view) since(ctx context.Context, r *run, release string) (since []live.Promotion, err error) {
	for p, err := range v.history(ctx) {
		if err != nil {
			return nil, err
		}
		since = append(since, p)
		if had, err := r.policyRef.Had(ctx, v.pipeline.Lock, release, p.Policy.Commit); err != nil || !had {
			return since, err
		}
	}
	return since, nil
}

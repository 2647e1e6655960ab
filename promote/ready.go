package promote

import (
	"context"
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
)

// hold judges whether a later stage's soak keeps a stage's release where it is. Without it, a pipeline with releases more
// frequent than they soak would never promote any of them. It returns nil if none does.
func (r *run) hold(ctx context.Context, s *stage) (*policy.GateResult, error) {
	if s.state.Live == nil {
		return nil, nil //nolint:nilnil // nothing is soaking
	}
	f, err := r.lock(s, s.state.Live.To.Release)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // a release without a lock is promoted to no other stage
	}
	for _, name := range s.pipeline.Order() {
		declared, err := s.pipeline.Expand(name, f.Lock, r.files)
		if err != nil {
			return nil, err
		}
		declared.Gates = slices.DeleteFunc(declared.Gates, func(g pipeline.Gate) bool {
			return !slices.Contains(policy.NeedsOf([]pipeline.Gate{g}).Spans, s.stage.Name)
		})
		if len(declared.Gates) == 0 {
			continue
		}
		made, err := r.madeFor(ctx, s, name, f)
		if err != nil {
			return nil, err
		}
		facts, err := r.facts(ctx, s, declared, f, made, evidence.Request{})
		if err != nil {
			return nil, err
		}
		held, ok := policy.Hold(s.stage.Name, name, declared.Gates, facts)
		if !ok {
			continue // another stage may wait for longer
		}
		wanted, err := r.wanted(ctx, s, name, f.Lock)
		if err != nil {
			return nil, err
		}
		if wanted {
			return &held, nil
		}
	}
	return nil, nil //nolint:nilnil // nothing is soaking
}

// madeFor returns how a release's candidate for another stage was made; zero for none.
func (r *run) madeFor(ctx context.Context, s *stage, name string, f lock.File) (verify.Made, error) {
	later, err := r.sibling(ctx, s, name)
	if err != nil {
		return verify.Made{}, err
	}
	e, _, err := r.candidate(ctx, later, f.ReleaseID)
	if err != nil {
		return verify.Made{}, err
	}
	return r.made(ctx, later, f, e)
}

// wanted reports whether a later stage may still take a release: it did not have it yet, and has none that is newer.
func (r *run) wanted(ctx context.Context, s *stage, name string, l lock.Lock) (bool, error) {
	later, err := r.sibling(ctx, s, name)
	if err != nil {
		return false, err
	}
	passage, err := r.passage(ctx, later, l, nil)
	if err != nil || passage.Was || passage.RolledBack {
		return false, denied(err)
	}
	newest, ok := r.chain(ctx, later).at(0)
	if !ok || newest.err != nil {
		return !ok, denied(newest.err)
	}
	for id, err := range r.releases(ctx, s.pipeline.Lock).first(maxReleases) {
		if err != nil || id == newest.value.To.Release {
			return false, err
		}
		if id == l.ReleaseID {
			return true, nil
		}
	}
	return false, nil // it never was current
}

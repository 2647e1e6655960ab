package promote

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
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
		if err != nil { // nothing can be promoted there
			s.note("stage %s holds nothing: %v", name, err)
			continue
		}
		declared.Gates = slices.DeleteFunc(declared.Gates, func(g pipeline.Gate) bool {
			return !slices.Contains(policy.NeedsOf([]pipeline.Gate{g}).Spans, s.stage.Name)
		})
		if len(declared.Gates) == 0 {
			continue
		}
		if held, err := r.holdFor(ctx, s, declared, f); err != nil || held != nil {
			return held, err
		}
	}
	return nil, nil //nolint:nilnil // nothing is soaking
}

// holdFor judges whether the gates of a later stage keep a release in a stage; nil if they do not.
func (r *run) holdFor(ctx context.Context, s *stage, declared pipeline.Expanded, f lock.File) (*policy.GateResult, error) {
	later, err := r.view(ctx, s.pipeline, declared.Stage)
	if err != nil {
		return nil, err
	}
	h, err := r.hydrated(ctx, later, f)
	if err != nil {
		return nil, err
	}
	others, err := r.others(ctx, s, policy.NeedsOf(declared.Gates).Stages(), f, h.made())
	if err != nil {
		return nil, err
	}
	facts, err := r.facts(ctx, declared, f, others, evidence.Request{})
	if err != nil {
		return nil, err
	}
	held, ok := policy.Hold(s.stage.Name, declared.Stage, declared.Gates, facts)
	if ok {
		ok, err = r.wanted(ctx, later, f.ReleaseID, h.entry.Digest)
	}
	if !ok {
		return nil, err // another stage may wait for longer
	}
	return &held, nil
}

// wanted reports whether a later stage may still take a release by itself: it does not hold it, and has none that is newer.
func (r *run) wanted(ctx context.Context, later *view, release string, candidate digest.Digest) (bool, error) {
	state, err := later.read(ctx)
	if _, held := state.Holds().Of(release, candidate); err != nil || held || state.Live == nil {
		return err == nil && !held, err
	}
	for id, err := range r.history(ctx, later.pipeline).first(maxReleases) {
		if err != nil || id == state.Live.To.Release {
			return false, err
		}
		if id == release {
			return true, nil
		}
	}
	return false, nil // it never was current
}

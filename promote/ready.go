package promote

import (
	"context"
	"fmt"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy"
)

// GateHold is the name of the gate that keeps what is soaking: it stands in the way of promote --ready only.
const GateHold = "hold"

// hold tells what keeps a stage's release where it is: another stage whose soak on it is still running. Without it, a
// pipeline that gets releases faster than they soak would never promote any of them. It is nil where nothing does.
func (r *run) hold(ctx context.Context, s *stage) (*policy.GateResult, error) {
	if s.state.Live == nil {
		return nil, nil //nolint:nilnil // nothing is soaking
	}
	f, err := lock.Release(r.files, s.pipeline.Lock, s.state.Live.To.Release)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // a release without a lock goes nowhere from here
	}
	for _, name := range s.pipeline.Order() {
		declared, err := s.pipeline.Expand(name, f.Lock, r.files)
		if err != nil {
			return nil, err
		}
		for _, g := range declared.Gates {
			if g.Soak == nil || g.Soak.Stage != s.stage.Name {
				continue
			}
			until, err := r.soaksUntil(ctx, s, f.Lock, g.Soak.For)
			if err != nil {
				return nil, err
			}
			if !r.Now().Before(until) {
				continue // another stage may wait for longer
			}
			wanted, err := r.wanted(ctx, s, name, f.Lock)
			if err != nil {
				return nil, err
			}
			if wanted {
				return &policy.GateResult{
					Gate:       GateHold,
					Result:     policy.Pending,
					RetryAfter: &until,
					Reason: fmt.Sprintf("%s soaks in %s for %s until %s; promote by name to replace it before",
						f.Lock.ReleaseID, s.stage.Name, name, until.Format(time.RFC3339)),
				}, nil
			}
		}
	}
	return nil, nil //nolint:nilnil // nothing is soaking
}

// soaksUntil is when what is live has been so for a duration, without a break.
func (r *run) soaksUntil(ctx context.Context, s *stage, l lock.Lock, duration string) (time.Time, error) {
	needed, err := time.ParseDuration(duration)
	if err != nil {
		return time.Time{}, err
	}
	spans, err := r.spans(ctx, s, l)
	if err != nil || len(spans) == 0 {
		return time.Time{}, denied(err)
	}
	last := len(spans) - 1
	since := spans[last].From
	for i := last - 1; i >= 0 && spans[i].Content == spans[last].Content; i-- {
		since = spans[i].From
	}
	return since.Add(needed), nil
}

// wanted tells whether a later stage may still take a release: it did not have it yet, and has none that is newer.
func (r *run) wanted(ctx context.Context, s *stage, name string, l lock.Lock) (bool, error) {
	later, err := r.sibling(ctx, s, name)
	if err != nil {
		return false, err
	}
	passage, err := r.passage(ctx, later, l)
	if err != nil || passage.Was || passage.RolledBack {
		return false, denied(err)
	}
	newest, ok, err := r.chain(ctx, later).at(0)
	if err != nil || !ok {
		return err == nil, denied(err)
	}
	history := r.releases(ctx, s.pipeline.Lock)
	own, err := place(history, l.ReleaseID)
	if err != nil {
		return false, err
	}
	theirs, err := place(history, newest.To.Release)
	return own >= 0 && (theirs < 0 || own < theirs), err
}

package promote

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// record returns the record of a promotion.
func (r *run) record(s *stage, j *judgement) (predicate.Promotion, error) {
	rec := predicate.Promotion{
		Claim:    s.live.Claim,
		Action:   predicate.Action(s.result.Action),
		Sequence: 1,
		From:     s.result.From,
		To:       j.artifact,
		Reason:   r.Reason,
		Time:     r.Now().UTC().Truncate(time.Second),
		Version:  r.Version,
	}
	var err error
	if rec.Policy, err = live.PolicyOf(r.policyRef, r.files, s.pipeline.File); err != nil {
		return rec, err
	}
	rec.Release = rec.To.Release
	if before := s.state.Newest(); before != nil {
		rec.Sequence, rec.Previous = before.Sequence+1, before.Record
		if rec.Time.Before(before.Time) {
			return rec, fmt.Errorf("clock skew: it is %s here, before the previous promotion at %s: set the clock right", rec.Time.Format(time.RFC3339), before.Time.Format(time.RFC3339))
		}
	}
	for _, c := range j.checks {
		rec.Checks = append(rec.Checks, predicate.Check{Name: c.Check, Result: string(c.Result), Reason: c.Reason})
	}
	for _, g := range j.gates {
		rec.Checks = append(rec.Checks, predicate.Check{Name: "gate:" + g.Gate, Result: string(g.Result), Reason: g.Reason, Evidence: g.Evidence})
	}
	return rec, nil
}

// evidence returns the statements that a promotion rests on: those of the hydrator, and those that a gate counted.
func (j *judgement) evidence() []sign.Bundle {
	counted := map[digest.Digest]bool{}
	for _, g := range j.gates {
		for _, d := range g.Evidence {
			counted[d] = true
		}
	}
	var bundles []sign.Bundle
	for _, v := range j.examined.Hydration.Statements {
		bundles = append(bundles, v.Bundle())
	}
	for v := range j.facts.Statements() {
		if counted[v.Bundle().Digest()] {
			bundles = append(bundles, v.Bundle())
		}
	}
	return bundles
}

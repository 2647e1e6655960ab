package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/notify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// apply carries out the result's action: the commit that publishes the record, then the registry. A dry run ends here.
func (r *run) apply(ctx context.Context, s *stage, j *judgement) error {
	if r.DryRun {
		return nil
	}
	rec, err := s.live.Record(r.Environment, r.policyRef, predicate.Action(s.result.Action), j.artifact, s.state.Newest())
	if err != nil {
		return err
	}
	rec.Reason, rec.Checks = r.Reason, j.recorded()
	if len(j.left) > 0 {
		rec.Holds = rec.Holds.With(rec.Time, j.left...)
		rec.Holds = rec.Holds[:min(len(rec.Holds), maxHolds)]
	}
	p, err := s.live.Write(ctx, r.Environment, j.declared, rec, ledger.Statements{Bundles: j.evidence(), Images: j.images}, ledger.Change{
		Artifact: ledger.Artifact{
			Source: ledger.Origin{URL: j.declared.SourceRepo, Commit: j.lock.Revision()},
			GitOps: ledger.Origin{URL: r.policyRef.URL(), Commit: j.examined.GitOpsCommit},
		},
		Tree:     func(context.Context) (fs.FS, error) { return j.examined.Tree, nil },
		Compared: j.examined.Compared,
		Promotion: &ledger.Promotion{
			Verb:     map[predicate.Action]string{predicate.RolledBack: "Roll back"}[rec.Action],
			Merge:    s.merges(j),
			Expected: s.state.Tree,
			First:    rec.Sequence == 1,
		},
	})
	s.changed() // also by somebody else, who was faster
	if errors.Is(err, ledger.ErrMoved) {
		return r.conflict(ctx, s, rec.To)
	}
	if err != nil {
		return err
	}
	s.result.Record, s.result.Commit = p.Record, p.Commit
	s.notice = notify.Notice{Event: notify.About(s.live, p, time.Time{}), Receivers: j.declared.Notify}
	err = s.live.Follow(ctx, p, git.Hash(p.Commit))
	r.landed(ctx, s, j)
	return err
}

// recorded returns what was checked, as the record holds it. A property that a gate proves may rest on what the hydrator states, too.
func (j *judgement) recorded() (checks []predicate.Check) {
	for _, c := range j.checks {
		checks = append(checks, predicate.Check{Name: c.Check, Result: string(c.Result), Reason: c.Reason})
	}
	for _, g := range j.gates {
		evidence := g.Evidence
		if g.Property == policy.Reproducible {
			for _, b := range j.statements() {
				evidence = append(evidence[:len(evidence):len(evidence)], b.Digest())
			}
		}
		checks = append(checks, predicate.Check{Name: "gate:" + g.Gate, Result: string(g.Result), Reason: g.Reason, Evidence: evidence, Property: g.Property})
	}
	return checks
}

// conflict describes the change that came first. It is none if that promoted the same artifact.
func (r *run) conflict(ctx context.Context, s *stage, to predicate.Artifact) error {
	now, err := live.ReadGit(ctx, s.live)
	if err != nil {
		return err
	}
	if now.Live == nil {
		return fmt.Errorf("%w: branch %s was changed meanwhile, and not by a promotion", ErrConflict, s.live.Place.Branch)
	}
	if now.Live.To.Digest == to.Digest && now.Unpromoted == nil {
		s.result.Action, s.result.Commit = Unchanged, now.Live.Commit
		return s.live.Follow(ctx, *now.Live, now.Head)
	}
	return fmt.Errorf("%w: %s was %s at %s by the key %.12s (record %s); run it again if %s is still wanted",
		ErrConflict, now.Live.To.Release, now.Live.Action, now.Live.Time.Format(time.RFC3339), now.Live.Key, now.Live.Record, to.Release)
}

// evidence returns the statements that a promotion rests on: those of the hydrator, and those that a gate counted.
func (j *judgement) evidence() []sign.Bundle {
	counted := map[digest.Digest]bool{}
	for _, g := range j.gates {
		for _, d := range g.Evidence {
			counted[d] = true
		}
	}
	bundles := j.statements()
	for v := range j.facts.Statements() {
		if counted[v.Bundle().Digest()] {
			bundles = append(bundles, v.Bundle())
		}
	}
	return bundles
}

// statements returns those of the hydrator.
func (j *judgement) statements() (bundles []sign.Bundle) {
	for _, v := range j.examined.Hydration.Statements {
		bundles = append(bundles, v.Bundle())
	}
	return bundles
}

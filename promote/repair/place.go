package repair

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// place carries the history of a stage to where the pipeline file says now, if it is not there.
func (r *run) place(ctx context.Context, s *stage) error {
	former, err := s.live.Former(ctx, s.state)
	if err == nil && former == nil {
		err = s.live.Witness(ctx, &s.state)
	}
	if err != nil || former == nil {
		return err
	}
	return r.carry(ctx, s, former)
}

// carry carries the history of a stage over from a former place. If nobody witnesses that it is complete there, the record says so, with
// the word of the person who answers for it.
func (r *run) carry(ctx context.Context, s *stage, former *live.Former) (err error) {
	unwitnessed := ""
	if former.Unwitnessed != nil {
		unwitnessed = fmt.Sprintf("; the registry there could not be asked whether it is complete (%v): %s", former.Unwitnessed, r.Reason)
	}
	base := *former.State.Live
	rec, err := s.live.Record(r.Environment, r.policyRef, predicate.Carried, base.To, &base)
	if err != nil {
		return err
	}
	rec.Carried = &predicate.Origin{Claim: former.Claim, Path: base.Path, Commit: base.Commit}
	rec.Reason = fmt.Sprintf("commit %.12s of the policy ref changed %s", former.Commit, strings.Join(former.Edits, " and ")) + unwitnessed
	after := &ledger.Promotion{Verb: "Carry over", First: true, Former: former.Pipeline}
	if former.Remote.URL() != s.live.Remote.URL() {
		after.From = former.Remote
	}
	if after.From != nil || former.Place.Branch != s.live.Place.Branch {
		after.Merge = former.State.Head
	}
	if err := r.write(ctx, s, rec, after, former.Stage, base); err != nil {
		return err
	}
	s.found(!r.DryRun, fmt.Sprintf("carry it over to branch %s, %s", s.live.Place.Branch, s.live.Place.Path),
		"commit %.12s of the policy ref changed %s, and the history with promotion %d is on branch %s%s",
		former.Commit, strings.Join(former.Edits, " and "), base.Sequence, former.Place.Branch, unwitnessed)
	if r.DryRun {
		s.from, s.state = former.Stage, former.State
		s.planned = former.Unwitnessed != nil
	}
	return nil
}

// write puts a record into force that makes a promotion live again, which another place has, or nothing. The state is that of the new
// commit then. A dry run writes nothing.
func (r *run) write(ctx context.Context, s *stage, rec predicate.Promotion, after *ledger.Promotion, from live.Stage, base live.Promotion) error {
	rec.Checks = []predicate.Check{{Name: string(rec.Action), Result: string(policy.Pass), Reason: rec.Reason}}
	if r.DryRun {
		return nil
	}
	files, err := ledger.Files(ctx, from.Remote, git.Hash(base.Commit), base.Path)
	if err != nil {
		return err
	}
	after.Expected = s.state.Tree
	m, gitOps := base.Metadata, ledger.Origin{URL: base.Metadata.RepoURL, Commit: base.Metadata.DrySHA}
	if gitOps.Commit == "" { // nobody signs metadata
		gitOps = ledger.Origin{URL: r.policyRef.URL(), Commit: base.Policy.Commit}
	}
	p, err := s.live.Write(ctx, r.Environment, s.declared, rec, s.live.Others(base), ledger.Change{
		Artifact:  ledger.Artifact{Source: m.Lockage.Source, GitOps: gitOps},
		Tree:      func(context.Context) (fs.FS, error) { return files, nil },
		Promotion: after,
	})
	if err != nil {
		return err
	}
	s.result.Record, s.result.Commit = p.Record, p.Commit
	if s.state, err = live.ReadGit(ctx, s.live); err == nil && s.state.Newest() == nil {
		err = fmt.Errorf("live ref %s: what was written is not there", s.live.Place.Branch)
	}
	return err
}

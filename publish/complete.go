package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// Complete reports for every stage of a GitOps commit whether it was hydrated, by whichever run: the ledger has an entry of the
// commit's current release whose provenance is verified, and names the inputs that the stage has at that commit. It renders nothing and
// reads neither source repositories nor the registry. Of the options it takes the environment and At.
func Complete(ctx context.Context, o Options) ([]verify.Report, error) {
	ref, err := o.Workspace.Policy(ctx, o.PolicyRef, o.Warn)
	if err != nil {
		return nil, err
	}
	head, err := o.Workspace.Publication(ctx, ref, o.At)
	if err != nil {
		return nil, err
	}
	c := completion{ref: ref, head: head}
	if c.trusted, err = ref.Files(ctx); err != nil {
		return nil, err
	}
	if c.files, err = ref.FilesAt(ctx, head); err != nil {
		return nil, err
	}
	pipelines, err := o.Usable(o.Workspace.Pipelines(c.files, o.Files))
	if err != nil {
		return nil, err
	}
	for _, p := range o.Shard.Select(pipelines) {
		c.add(ctx, p, o)
	}
	return c.reports(ctx)
}

// completion looks for the hydrations of one GitOps commit.
type completion struct {
	ref     policyRef
	head    string
	files   fs.FS // of that commit
	trusted fs.FS // of the policy ref's tip, whose keys count
	stages  []*expectedStage
}

// expectedStage is a stage that must have been hydrated.
type expectedStage struct {
	verify.Declared
	claim     sign.Claim
	broken    error // why it cannot be judged
	hydrator  verify.Keys
	ledger    *git.Remote
	artifacts *oci.Repository
}

func (s *expectedStage) candidate() ledger.Candidate {
	return verify.NameOf(s.Expanded, s.claim.Release)
}

// add adds the stages of a pipeline; none if it has no release yet.
func (c *completion) add(ctx context.Context, p *pipeline.Pipeline, o Options) {
	current, err := p.CurrentLock(c.files)
	if errors.Is(err, lock.ErrNoRelease) {
		return
	}
	for _, name := range p.Order() {
		s := &expectedStage{Declared: verify.Declared{Pipeline: p, Lock: current, Files: c.files}, broken: err}
		s.claim = sign.Claim{Pipeline: p.Name, Stage: name, Release: current.ReleaseID}
		if err == nil {
			s.broken = s.open(ctx, c.trusted, o)
		}
		c.stages = append(c.stages, s)
	}
}

// open expands the stage, and finds what its hydration is in and who signs it.
func (s *expectedStage) open(ctx context.Context, trusted fs.FS, o Options) (err error) {
	if s.Expanded, err = s.Pipeline.Expand(s.claim.Stage, s.Lock.Lock, s.Files); err != nil {
		return err
	}
	if s.hydrator, err = verify.KeysOf(trusted, s.Expanded, pipeline.RoleHydrator); err != nil {
		return err
	}
	if s.artifacts, err = o.Client.Repository(s.Repository); err != nil {
		return err
	}
	s.claim.Repository = s.artifacts.Name()
	s.ledger, err = verify.LedgerRemote(ctx, s.Expanded, o.Workspace.Repository)
	return err
}

// reports reads the ledgers, with as few requests as for one stage, and judges every stage.
func (c *completion) reports(ctx context.Context) ([]verify.Report, error) {
	names := map[*git.Remote][]ledger.Candidate{}
	for _, s := range c.stages {
		if s.broken != nil {
			continue
		}
		names[s.ledger] = append(names[s.ledger], s.candidate())
	}
	read := map[*git.Remote]*ledger.Candidates{}
	for remote, wanted := range names {
		var err error
		if read[remote], err = ledger.ReadCandidates(ctx, remote, wanted...); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
	}
	reports := make([]verify.Report, len(c.stages))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, s := range c.stages {
		group.Go(func() (err error) {
			reports[i], err = c.report(ctx, s, read[s.ledger])
			return err
		})
	}
	return reports, group.Wait()
}

// report judges a stage by its entry, or by one that was there before: another commit with other inputs may have replaced it, and old
// releases have none at the tip. An entry that is not proven is replaced by the next hydration.
func (c *completion) report(ctx context.Context, s *expectedStage, candidates *ledger.Candidates) (verify.Report, error) {
	if s.broken != nil {
		report := verify.Report{Reference: s.claim.Pipeline + "/" + s.claim.Stage, Result: policy.Fail}
		report.Checks = policy.Verdict{{Check: "hydrated", Result: report.Result, Reason: s.broken.Error()}}
		return report, nil
	}
	report := verify.Report{Reference: s.artifacts.Reference(oci.CandidateTag(s.Stage, s.claim.Release)), Result: policy.Fail}
	where := fmt.Sprintf("branch %s of %s", s.candidate().Branch, candidates.Remote().Written())
	reason := where + " has no such release"
	proven := true
	match := func(e ledger.Entry) (found bool, err error) {
		var why string
		found, proven, why, err = c.judge(ctx, s, e)
		if found {
			report.Digest, report.Result = e.Digest, policy.Pass
		}
		reason = fmt.Sprintf("%s has %s, made from GitOps commit %.12s: %s", where, e.Digest, e.GitOps.Commit, why)
		return found, err
	}
	e, ok, err := candidates.Entry(ctx, s.candidate())
	if errors.Is(err, ledger.ErrEntry) {
		reason, proven, err = err.Error(), false, nil
	}
	found := false
	if err == nil && ok {
		found, err = match(e)
	}
	if err == nil && !found && proven {
		newest := reason
		if found, err = candidates.Had(ctx, s.candidate(), match); !found {
			reason = newest
		}
	}
	if !found {
		reason = fmt.Sprintf("it was not hydrated at GitOps commit %.12s: %s; make it with: lockage hydrate %s --at %.12s", c.head, reason, s.Argument, c.head)
	}
	report.Checks = policy.Verdict{{Check: "hydrated", Result: report.Result, Reason: reason}}
	return report, err
}

// judge decides whether an entry is a hydration of the stage at the commit, and whether it is proven, and says why.
func (c *completion) judge(ctx context.Context, s *expectedStage, e ledger.Entry) (found, proven bool, why string, err error) {
	if e.Claim != s.claim {
		return false, false, "it is of stage " + e.Stage + " of pipeline " + e.Pipeline + ", repository " + e.Repository, nil
	}
	h, ok, err := verify.Entry(ctx, e, s.hydrator, c.ref)
	if err != nil {
		return false, false, "", err
	}
	verdict := policy.Hydrated(verify.Expect(s.Lock, s.claim), h)
	switch {
	case verdict.Result() != policy.Pass:
		return false, false, verdict.Reason(), nil
	case !ok:
		return false, false, "the entry says more than the hydrator signed", nil
	case e.GitOps.Commit == c.head:
		return true, true, "it was hydrated there", nil
	}
	if after, err := c.ref.IsAncestor(ctx, c.head, e.GitOps.Commit); err != nil || after {
		return after, true, "that commit comes after it", err
	}
	for _, statement := range h.Statements {
		if !verify.States(statement, e) {
			continue
		}
		p, err := statement.Provenance()
		if err == nil {
			why, err = s.Differs(p)
		}
		if err != nil || why == "" {
			return err == nil, true, "all that was read is equal", err
		}
	}
	return false, true, why, nil
}

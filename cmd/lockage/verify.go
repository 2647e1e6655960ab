package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/sides"
)

type verifyResults []verify.Report

func (rs verifyResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s: %s\n", r.Reference, r.Result)
		if r.Digest != "" {
			fmt.Fprintf(w, "  digest %s\n", r.Digest)
		}
		table(w, func(w io.Writer) {
			for _, c := range r.Checks {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
			}
		})
	}
}

func newVerifyCommand(a *app) *cobra.Command {
	var query verify.Query
	var identities []string
	cmd := &cobra.Command{
		Use:   "verify STAGE|REFERENCE|branch:NAME|live:STAGE",
		Short: "Verify where an artifact comes from",
		Long: `Verify proves that the hydrator signed an artifact for this pipeline, stage and release, that it was made from the locked
commit and image under a GitOps commit on the policy ref, and that it is unaltered. Pipelines, locks and keys are read
from the policy ref, whatever is checked out. If the pipeline has a mirror, the newest commit of the stage branch that
names the artifact must have exactly its files; verify lists the files that differ.

STAGE means its candidate of the current release. REFERENCE is REPOSITORY:TAG or REPOSITORY@DIGEST.
branch:NAME means what a stage branch shows at its head, for all stages that share it or for the one in --stage.
live:STAGE means what is live, which the live ref must show bit for bit.

For STAGE, live:STAGE and the stage's own tag, REPOSITORY:STAGE, the tag must name the artifact that was promoted last,
according to the promoter's record on the live ref. With --identity NAME, that identity of the pipeline file must have
signed the artifact too: --identity promoter checks that it was promoted.`,
		Example: `  lockage verify production
  lockage verify live:production
  lockage verify branch:stage/production
  lockage verify ghcr.io/acme/shop-manifests:production --identity promoter`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query.Artifact = args[0]
			return a.verify(cmd.Context(), query, identities)
		},
	}
	releaseFlag(cmd, &query.Release, "release", "required release, an `ID` git-<40 hex>")
	cmd.Flags().StringVar(&query.Stage, "stage", "", "required `STAGE` of a REFERENCE or branch")
	cmd.Flags().StringArrayVar(&identities, "identity", nil, "`NAME` of an identity that must have signed it; repeatable")
	a.policyFlag(cmd)
	return cmd
}

func (a *app) verify(ctx context.Context, q verify.Query, identities []string) error {
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	subjects, err := d.subjects(ctx, q)
	if err != nil {
		return err
	}
	results := verifyResults{}
	var errs []error
	for _, s := range subjects {
		request := d.complete(s.Request)
		request.Identities = identities
		report, err := verify.Artifact(ctx, request)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s.live != nil {
			report.Checks = append(report.Checks, *s.live)
			report.Result = report.Checks.Result()
		}
		results = append(results, report)
		if err := report.Checks.Err(); err != nil {
			errs = append(errs, fmt.Errorf("%s is %w", report.Reference, err))
		}
	}
	a.emit(results)
	return errors.Join(errs...)
}

// subject is an artifact to verify.
type subject struct {
	verify.Request
	live *policy.Check // of its stage's state; nil if the query does not ask for it
}

// subjects finds the artifacts that a query names.
func (d declaration) subjects(ctx context.Context, q verify.Query) ([]subject, error) {
	stage, isLive := strings.CutPrefix(q.Artifact, sides.LivePrefix)
	if isLive {
		if err := d.checkStages([]string{stage}); err != nil { // what follows live: is not a reference
			return nil, err
		}
		q.Artifact = stage
	}
	var requests []verify.Request
	var err error
	if branch, ok := strings.CutPrefix(q.Artifact, sides.BranchPrefix); ok {
		requests, err = verify.FindBranch(ctx, branch, q.Stage, d.pipelines, d.files, d.client, d.workspace.Repository)
	} else {
		requests, err = verify.Find(ctx, q, d.pipelines, d.files, d.client, d.workspace.Repository)
	}
	if err != nil {
		return nil, err
	}
	var subjects []subject
	for _, r := range requests {
		if q.Artifact != r.Stage && r.Reference != r.Stage { // neither STAGE, live:STAGE nor REPOSITORY:STAGE
			subjects = append(subjects, subject{Request: r})
			continue
		}
		declared, _, err := d.expand(r.Pipeline, r.Stage)
		if err != nil {
			return nil, err
		}
		check, state, err := d.judgeLive(ctx, declared)
		switch {
		case err != nil:
			return nil, err
		case isLive && state.Live == nil:
			reason := "nothing was promoted yet"
			if check != nil {
				reason = check.Reason
			}
			return nil, fmt.Errorf("what is live in stage %s of pipeline %s is %w: %s", r.Stage, r.Pipeline.Name, policy.ErrDenied, reason)
		case isLive:
			at := declared.LiveRef()
			r.Candidates = nil
			r.Reference, r.Live = state.Live.To.Digest.String(), ledger.Place{Branch: at.Branch, Path: at.Path}
			r.Release = cmp.Or(q.Release, state.Live.To.Release)
		}
		subjects = append(subjects, subject{r, check})
	}
	return subjects, nil
}

// judgeLive reads what is live in a declared stage, and checks whether its tag agrees. The check is nil if nothing is live.
func (d declaration) judgeLive(ctx context.Context, declared pipeline.Expanded) (*policy.Check, live.State, error) {
	if !live.Promotes(declared) {
		return nil, live.State{}, nil
	}
	s, err := live.Open(ctx, d.files, d.policyRef, declared, d.client, d.workspace.Repository)
	if err != nil {
		return nil, live.State{}, err
	}
	check := policy.Check{Check: "live", Result: policy.Fail}
	state, err := live.Read(ctx, s)
	if errors.Is(err, live.ErrBroken) {
		check.Reason = err.Error()
		return &check, state, nil
	}
	ok, reason := state.Consistent(declared)
	if err != nil || ok && state.Live == nil {
		return nil, state, err
	}
	if check.Reason = reason; ok {
		check.Result = policy.Pass
	}
	return &check, state, nil
}

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
		if report.Result != policy.Pass {
			errs = append(errs, fmt.Errorf("%s is %w: %s", report.Reference, policy.ErrDenied, report.Checks.Reason()))
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

func (d declaration) subjects(ctx context.Context, q verify.Query) ([]subject, error) {
	if stage, ok := strings.CutPrefix(q.Artifact, sides.LivePrefix); ok {
		return d.liveSubjects(ctx, stage, q.Release)
	}
	var requests []verify.Request
	var err error
	if branch, ok := strings.CutPrefix(q.Artifact, sides.BranchPrefix); ok {
		requests, err = verify.FindBranch(ctx, branch, q.Stage, d.pipelines, d.files, d.client, d.workspace.Repository)
	} else {
		requests, err = verify.Find(ctx, q, d.pipelines, d.files, d.client)
	}
	if err != nil {
		return nil, err
	}
	subjects := make([]subject, len(requests))
	for i, r := range requests {
		subjects[i].Request = r
		if q.Artifact != r.Stage && r.Reference != r.Stage { // neither STAGE nor REPOSITORY:STAGE
			continue
		}
		declared, _, err := d.expand(r.Pipeline, r.Stage)
		if err != nil {
			return nil, err
		}
		if subjects[i].live, _, err = d.judgeLive(ctx, declared); err != nil {
			return nil, err
		}
	}
	return subjects, nil
}

// judgeLive reads what is live in a declared stage, and checks whether its tag agrees. The check is nil if nothing is live.
func (d declaration) judgeLive(ctx context.Context, declared pipeline.Expanded) (*policy.Check, live.State, error) {
	if !live.Promotes(declared) {
		return nil, live.State{}, nil
	}
	s, err := d.open(ctx, declared)
	if err != nil {
		return nil, live.State{}, err
	}
	state, err := live.Read(ctx, s)
	if errors.Is(err, live.ErrBroken) {
		return &policy.Check{Check: "live", Result: policy.Fail, Reason: err.Error()}, state, nil
	}
	ok, reason := state.Consistent(declared)
	switch {
	case !ok:
		return &policy.Check{Check: "live", Result: policy.Fail, Reason: reason}, state, err
	case state.Live == nil:
		return nil, state, err
	}
	return &policy.Check{Check: "live", Result: policy.Pass, Reason: reason}, state, err
}

// liveSubjects returns what is live in a stage, one subject for each pipeline that has it.
func (d declaration) liveSubjects(ctx context.Context, stage, release string) ([]subject, error) {
	pipelines, err := verify.Having(d.pipelines, stage)
	if err != nil {
		return nil, err
	}
	var subjects []subject
	for _, p := range pipelines {
		declared, _, err := d.expand(p, stage)
		if err != nil {
			return nil, err
		}
		check, state, err := d.judgeLive(ctx, declared)
		if err != nil {
			return nil, err
		}
		if state.Live == nil {
			reason := "nothing was promoted yet"
			if check != nil {
				reason = check.Reason
			}
			return nil, fmt.Errorf("what is live in stage %s of pipeline %s is %w: %s", stage, p.Name, policy.ErrDenied, reason)
		}
		repository, err := d.client.Repository(declared.Repository)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, subject{
			Request: verify.Request{
				Pipeline:   p,
				Stage:      stage,
				Repository: repository,
				Reference:  state.Live.To.Digest.String(),
				Release:    cmp.Or(release, state.Live.To.Release),
				Live:       live.PlaceOf(declared),
			},
			live: check,
		})
	}
	return subjects, nil
}

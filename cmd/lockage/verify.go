package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

type verifyResults []verify.Report

func (rs verifyResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s: %s\n", r.Reference, r.Result)
		if r.Digest != "" {
			fmt.Fprintf(w, "  digest %s\n", r.Digest)
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range r.Checks {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
		}
		_ = tw.Flush() // the writer's own errors show at the end of the run
	}
}

// branchPrefix marks an argument of verify as a stage branch.
const branchPrefix = "branch:"

func newVerifyCommand(a *app) *cobra.Command {
	var policyRef, release, stage string
	var identities []string
	cmd := &cobra.Command{
		Use:   "verify STAGE|REFERENCE|branch:NAME|live:STAGE",
		Short: "Prove what an artifact is",
		Long: `Verify proves that an artifact is what it says: signed by the hydrator for this pipeline, stage and release, made from
the locked commit and image, under a GitOps commit on the policy ref, and unaltered. Pipelines, locks and keys are read
from the policy ref, whatever is checked out. Where the pipeline has a mirror, the newest commit of the stage branch that
names the artifact must have exactly its files; those that differ are named.

STAGE stands for its candidate of the current release. REFERENCE is REPOSITORY:TAG or REPOSITORY@DIGEST.
branch:NAME stands for what a stage branch shows at its head, of all stages that share it or of the one in --stage.
live:STAGE stands for what is live, which must lie on the live ref bit for bit.

For STAGE, live:STAGE and the stage's own tag, REPOSITORY:STAGE, the tag must name what was promoted last, by the promoter's
record on the live ref. With --identity NAME the artifact must be signed as just this by an identity of the pipeline file,
too: --identity promoter asks whether it was promoted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), verify.Query{Artifact: args[0], Stage: stage, Release: release}, identities, policyRef)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().StringVar(&release, "release", "", "it must be of this `RELEASE`, git-<40 hex>")
	cmd.Flags().StringVar(&stage, "stage", "", "a REFERENCE or branch must be of this `STAGE`")
	cmd.Flags().StringArrayVar(&identities, "identity", nil, "it must be signed by the identity `NAME`; repeatable")
	cmd.Flags().StringVar(&policyRef, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	return cmd
}

func (a *app) verify(ctx context.Context, q verify.Query, identities []string, policyRef string) error {
	if err := checkRelease("--release", q.Release); err != nil {
		return err
	}
	d, err := a.declared(ctx, policyRef)
	if err != nil {
		return err
	}
	subjects, err := d.subjects(ctx, q)
	if errors.Is(err, verify.ErrUnknown) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	var results verifyResults
	var errs []error
	for _, s := range subjects {
		s.Files, s.Trunk, s.Remotes, s.Identities = d.files, d.trunk, d.workspace.Repository, identities
		report, err := verify.Artifact(ctx, s.Request)
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
	if len(results) > 0 {
		a.emit(results)
	}
	return errors.Join(errs...)
}

// subject is an artifact to verify.
type subject struct {
	verify.Request
	live *policy.Check // of its stage's state; nil where that is not asked for
}

func (d declaration) subjects(ctx context.Context, q verify.Query) ([]subject, error) {
	if stage, ok := strings.CutPrefix(q.Artifact, livePrefix); ok {
		return d.liveSubjects(ctx, stage, q.Release)
	}
	var requests []verify.Request
	var err error
	if branch, ok := strings.CutPrefix(q.Artifact, branchPrefix); ok {
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
		if subjects[i].live, _, err = d.judgeLive(ctx, r.Pipeline, r.Stage); err != nil {
			return nil, err
		}
	}
	return subjects, nil
}

// judgeLive reads what is live in a stage, and judges whether its tag agrees. The check is nil where there is nothing to
// judge.
func (d declaration) judgeLive(ctx context.Context, p *pipeline.Pipeline, stage string) (*policy.Check, live.State, error) {
	declared, _, err := d.expand(p, stage)
	if err != nil || !live.Promotes(declared) {
		return nil, live.State{}, err
	}
	s, err := live.Open(ctx, d.files, declared, d.client, d.workspace.Repository)
	if err != nil {
		return nil, live.State{}, err
	}
	state, err := live.Read(ctx, s)
	check := &policy.Check{Check: "live", Result: policy.Fail}
	if errors.Is(err, live.ErrBroken) {
		check.Reason = err.Error()
		return check, state, nil
	}
	ok, reason := state.Consistent(declared)
	if check.Reason = reason; ok {
		check.Result = policy.Pass
	}
	if ok && state.Live == nil {
		check = nil
	}
	return check, state, err
}

// liveSubjects are what is live in a stage, one for each pipeline that has it.
func (d declaration) liveSubjects(ctx context.Context, stage, release string) ([]subject, error) {
	if err := d.checkStages([]string{stage}); err != nil {
		return nil, err
	}
	var subjects []subject
	for _, p := range d.pipelines {
		if len(stagesOf(p, []string{stage})) == 0 {
			continue
		}
		check, state, err := d.judgeLive(ctx, p, stage)
		if err != nil {
			return nil, err
		}
		declared, _, err := d.expand(p, stage)
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

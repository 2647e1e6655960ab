package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/verify"
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
	cmd := &cobra.Command{
		Use:   "verify STAGE|REFERENCE|branch:NAME",
		Short: "Prove what an artifact is",
		Long: `Verify proves that an artifact is what it says: signed by the hydrator for this pipeline, stage and release, made from
the locked commit and image, under a GitOps commit on the policy ref, and unaltered. Pipelines, locks and keys are read
from the policy ref, whatever is checked out. Where the pipeline has a mirror, the newest commit of the stage branch that
names the artifact must have exactly its files; those that differ are named.

STAGE stands for its candidate of the current release. REFERENCE is REPOSITORY:TAG or REPOSITORY@DIGEST.
branch:NAME stands for what a stage branch shows at its head, of all stages that share it or of the one in --stage.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.verify(cmd.Context(), verify.Query{Artifact: args[0], Stage: stage, Release: release}, policyRef)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().StringVar(&release, "release", "", "it must be of this `RELEASE`, git-<40 hex>")
	cmd.Flags().StringVar(&stage, "stage", "", "a REFERENCE or branch must be of this `STAGE`")
	cmd.Flags().StringVar(&policyRef, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	return cmd
}

func (a *app) verify(ctx context.Context, q verify.Query, policyRef string) error {
	if err := checkRelease(q.Release); err != nil {
		return err
	}
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	trunk, err := w.Policy(ctx, policyRef, func(message string) { a.warn("%s", message) })
	if err != nil {
		return err
	}
	files, err := trunk.Files(ctx)
	if err != nil {
		return err
	}
	pipelines, err := a.pipelines(w, files)
	if err != nil {
		return err
	}
	var requests []verify.Request
	if branch, ok := strings.CutPrefix(q.Artifact, branchPrefix); ok {
		requests, err = verify.FindBranch(ctx, branch, q.Stage, pipelines, files, a.registries(w.Root()), w.Repository)
	} else {
		requests, err = verify.Find(ctx, q, pipelines, files, a.registries(w.Root()))
	}
	if errors.Is(err, verify.ErrUnknown) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	var results verifyResults
	var errs []error
	for _, r := range requests {
		r.Files, r.Trunk, r.Remotes = files, trunk, w.Repository
		report, err := verify.Artifact(ctx, r)
		if err != nil {
			errs = append(errs, err)
			continue
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

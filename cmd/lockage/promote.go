package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	forges "github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/sign/predicate"
)

type promoteResults []promoteResult

type promoteResult struct {
	Pipeline    string              `json:"pipeline"`
	Stage       string              `json:"stage"`
	Release     string              `json:"release,omitempty"`
	Action      promote.Action      `json:"action"`
	DryRun      bool                `json:"dryRun,omitempty"`
	From        string              `json:"from,omitempty"` // digest
	FromRelease string              `json:"fromRelease,omitempty"`
	To          string              `json:"to,omitempty"` // digest
	Checks      policy.Verdict      `json:"checks,omitempty"`
	Gates       []policy.GateResult `json:"gates"`
	Record      string              `json:"record,omitempty"`
	Branch      string              `json:"branch,omitempty"`
	Commit      string              `json:"commit,omitempty"`
	Notes       []string            `json:"notes,omitempty"`
	Error       string              `json:"error,omitempty"`
}

func (rs promoteResults) Text(w io.Writer) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "No stage is promoted automatically.")
	}
	for _, r := range rs {
		fmt.Fprintf(w, "%s/%s: %s", r.Pipeline, r.Stage, r.Action)
		if r.Release != "" {
			fmt.Fprintf(w, " %s", r.Release)
		}
		if r.DryRun {
			fmt.Fprint(w, " (dry run: nothing was written)")
		}
		fmt.Fprintln(w)
		if r.From != "" && r.From != r.To {
			fmt.Fprintf(w, "  from %s %s\n", r.From, r.FromRelease)
		}
		if r.To != "" {
			fmt.Fprintf(w, "  to   %s\n", r.To)
		}
		if r.Commit != "" {
			fmt.Fprintf(w, "  on   %s %.12s\n", r.Branch, r.Commit)
		}
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range r.Checks {
			if c.Result != policy.Pass {
				fmt.Fprintf(tw, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
			}
		}
		for _, g := range r.Gates {
			fmt.Fprintf(tw, "  %s\t%s\t%s\n", g.Result, g.Gate, g.Reason)
		}
		_ = tw.Flush() // the writer's own errors show at the end of the run
		for _, note := range r.Notes {
			fmt.Fprintf(w, "  note: %s\n", note)
		}
	}
}

func newPromoteCommand(a *app) *cobra.Command {
	p := promoteFlags{flag: "--release"}
	cmd := &cobra.Command{
		Use:   "promote STAGE... | promote --ready [STAGE...]",
		Short: "Verify a release, judge its gates, and let it run in a stage",
		Long: `Promote decides whether a release may run in a stage, and makes it so. It verifies the candidate's artifact, asks whether
the release went through the stages before, and judges every gate. If all pass it signs the artifact as the promoter,
writes a record, pushes one commit to the stage's live ref, which is the moment at which the promotion counts, and moves
the stage's tag. Nothing is rendered.

Without --release it takes the newest release that passes, never one older than what is live, and after a rollback none up
to the release that was left. Pipelines, locks, keys and policies are read at the policy ref, whatever is checked out.

With --ready it looks at all stages that say auto: true, in the order of the graph; that nothing is ready is no failure.`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			p.stages = stages
			return a.promote(cmd.Context(), p, promote.Promote)
		},
		ValidArgsFunction: completeStages(a),
	}
	p.add(cmd)
	cmd.Flags().StringVar(&p.release, "release", "", "promote this `RELEASE`, git-<40 hex>, and no other")
	cmd.Flags().BoolVar(&p.ready, "ready", false, "promote what is ready to the stages that are auto")
	return cmd
}

func newRollbackCommand(a *app) *cobra.Command {
	p := promoteFlags{flag: "--to"}
	cmd := &cobra.Command{
		Use:   "rollback STAGE",
		Short: "Let a stage run again what was live before",
		Long: `Rollback takes a stage back to an artifact that was live in it before: the one before, or that of the release in --to.
Nothing is rendered and no gate is asked, since it passed them then; the artifact is verified again, and the rollback is
signed and recorded like a promotion. The release that is left is held: it comes back only when it is promoted by name.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, stages []string) error {
			p.stages = stages
			return a.promote(cmd.Context(), p, promote.Rollback)
		},
		ValidArgsFunction: completeStages(a),
	}
	p.add(cmd)
	cmd.Flags().StringVar(&p.release, "to", "", "go back to this `RELEASE`, git-<40 hex>")
	return cmd
}

type promoteFlags struct {
	stages  []string
	release string
	flag    string // that gives the release
	policy  string
	reason  string
	ready   bool
	dryRun  bool
}

// add adds the flags that promote and rollback share.
func (p *promoteFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	cmd.Flags().StringVar(&p.reason, "reason", "", "why, as a `TEXT` for the record")
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "say what would be done; write nothing and use no key")
}

func (a *app) promote(ctx context.Context, p promoteFlags, do func(context.Context, promote.Options) ([]promote.Result, error)) error {
	if err := checkRelease(p.flag, p.release); err != nil {
		return err
	}
	switch {
	case len(p.stages) == 0 && !p.ready:
		return usagef("name a STAGE, or use promote --ready for all that are auto")
	case p.ready && p.release != "":
		return usagef("--ready finds out which release is ready: leave --release out")
	}
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	results, err := do(ctx, promote.Options{
		Files:     a.files,
		Stages:    p.stages,
		Release:   p.release,
		Ready:     p.ready,
		Policy:    p.policy,
		DryRun:    p.dryRun,
		Reason:    p.reason,
		Workspace: w,
		Client:    a.registries(w.Root()),
		Forge:     forges.Options{Getenv: os.Getenv, UserAgent: "lockage/" + version()},
		Keys:      a.keyring(),
		Version:   version(),
		Now:       time.Now,
		Random:    rand.Int64N,
		Warn:      func(message string) { a.warn("%s", message) },
		Step:      func(progress string) { a.step("%s", progress) },
	})
	if err != nil {
		return err
	}
	shown := promoteResults{}
	var errs []error
	for _, r := range results {
		shown = append(shown, promotionResult(r, p.dryRun))
		if r.Err != nil && (!p.ready || !notReady(r)) {
			errs = append(errs, fmt.Errorf("%s/%s: %w", r.Pipeline, r.Stage, r.Err))
		}
	}
	a.emit(shown)
	return worst(errs)
}

// worst joins the errors of several stages. A failure weighs more than a denial, and a denial more than what is pending.
func worst(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	weight := map[int]int{exitFailed: 4, exitUsage: 3, exitDenied: 2, exitNotYet: 1}
	code := exitNotYet
	for _, err := range errs {
		if c := exitCode(err); weight[c] > weight[code] {
			code = c
		}
	}
	return reported{code, errors.Join(errs...)}
}

// notReady tells whether only gates stand in the way: what promote --ready looks for, and does not find.
func notReady(r promote.Result) bool {
	return (r.Action == promote.Pending || r.Action == promote.Denied) && len(r.Gates) > 0
}

func promotionResult(r promote.Result, dryRun bool) promoteResult {
	s := promoteResult{
		Pipeline: r.Pipeline,
		Stage:    r.Stage,
		Release:  r.Release,
		Action:   r.Action,
		DryRun:   dryRun,
		Checks:   r.Checks,
		Gates:    r.Gates,
		Record:   r.Record.String(),
		Branch:   r.Branch,
		Commit:   r.Commit,
		Notes:    r.Notes,
	}
	if s.Gates == nil {
		s.Gates = []policy.GateResult{}
	}
	s.From, s.FromRelease = nameOf(r.From)
	s.To, _ = nameOf(r.To)
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	return s
}

func nameOf(a *predicate.Artifact) (digest, release string) {
	if a == nil {
		return "", ""
	}
	return a.Digest.String(), a.Release
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

type promoteResults []promoteResult

type promoteResult struct {
	promote.Result
	DryRun      bool          `json:"dryRun,omitempty"`
	From        digest.Digest `json:"from,omitempty"`
	FromRelease string        `json:"fromRelease,omitempty"`
	To          digest.Digest `json:"to,omitempty"`
	Error       string        `json:"error,omitempty"`

	folds bool // many such results are one in the text
}

func (rs promoteResults) Text(w io.Writer) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "Nothing to promote: no stage here has auto: true, or is reviewed.")
	}
	var actions []string
	var kinds []string // of folded results, by what there is to say of them
	folded := map[string][]string{}
	for _, r := range rs {
		actions = append(actions, string(r.Action))
		name := r.Pipeline + "/" + r.Stage
		notes := strings.Join(r.Notes, "\n")
		like := strings.ReplaceAll(notes, name, "{stage}") // which the command in a note names
		switch {
		case r.Action == actionStopped:
		case !r.folds:
			r.write(w)
		default:
			if folded[like] == nil {
				kinds = append(kinds, like)
			}
			folded[like] = append(folded[like], name)
		}
	}
	for _, like := range kinds {
		fmt.Fprintf(w, "%s: %s\n", few(folded[like]), promote.Unchanged)
		for line := range strings.Lines(strings.ReplaceAll(like, "{stage}", folded[like][0])) {
			fmt.Fprintf(w, "  note: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	summarize(w, actions)
}

func (r promoteResult) write(w io.Writer) {
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
	judged := false // that it does not pass: the reasons are in the rows
	table(w, func(w io.Writer) {
		for _, c := range r.Checks {
			if c.Result != policy.Pass {
				judged = true
				fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Result, c.Check, c.Reason)
			}
		}
		for _, g := range r.Gates {
			judged = judged || g.Result == policy.Fail || g.Result == policy.Pending
			fmt.Fprintf(w, "  %s\t%s\t%s\n", g.Result, g.Gate, g.Reason)
		}
	})
	if r.Error != "" && !judged {
		fmt.Fprintf(w, "  %s\n", strings.ReplaceAll(r.Error, "\n", "\n  "))
	}
	if p := r.Proposal; p != nil {
		fmt.Fprintf(w, "  review %s %s\n", p.Release, cmp.Or(p.PullRequest, p.Compare, p.Branch))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", note)
	}
}

func newPromoteCommand(a *app) *cobra.Command {
	var o promote.Options
	cmd := &cobra.Command{
		Use:   "promote STAGE... | promote --ready [STAGE...]",
		Short: "Verify a release, judge its gates, and make it live in a stage",
		Long: `Promote decides whether a release may run in a stage, and makes it live. It verifies the candidate's artifact, checks that
the release went through the stages before, and judges every gate. If all pass, it signs a record as the promoter, pushes it in
one commit to the stage's live ref, which puts the promotion into force, and then attaches the signatures in the registry and
moves the stage's tag. Nothing is rendered.

Without --release it takes the newest release that passes, never one older than what is live; after a rollback it takes only
releases newer than the one that was left. Pipelines, locks, keys and policies are read at the policy ref, whatever is
checked out.

A stage with review: pull-request has one pull request, which shows the newest release that is due: order, soak and what programs
attest pass. It moves on with the next one until somebody approves it.

With --ready it examines all stages with auto: true, in the order of the graph, and succeeds if nothing is ready. Of stages that
people review it keeps the pull requests, auto or not.`,
		Example: `  lockage promote staging
  lockage promote production --dry-run
  lockage promote production --release git-3f5c0e0a8f4b7f2d9c6f1f0f0c7f4a6d1c2b3a49 --reason "change 1042"
  lockage promote --ready -f 'apps/*/lockage.yaml'`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			o.Stages = stages
			return a.promote(cmd.Context(), o, promote.Promote)
		},
	}
	a.promoteFlags(cmd, &o)
	releaseFlag(cmd, &o.Release, "release", "release to promote, an `ID` git-<4 to 40 hex>[-<hex>] (default: the newest that passes)")
	cmd.Flags().BoolVar(&o.Ready, "ready", false, "all stages with auto: true that have a release ready; keep the pull requests of the others")
	a.shardFlag(cmd, "")
	return cmd
}

func newRollbackCommand(a *app) *cobra.Command {
	var o promote.Options
	cmd := &cobra.Command{
		Use:   "rollback STAGE",
		Short: "Make an earlier artifact of a stage live again",
		Long: `Rollback takes a stage back to an artifact that was live in it: the previous one, or the one of the release in --to.
Nothing is rendered and no gate is judged, since the artifact passed them before. It is verified again, and the rollback is
signed and recorded like a promotion. The release that is left is held: only promote --release makes it live again.`,
		Example: `  lockage rollback production
  lockage rollback production --to git-3f5c0e0a8f4b7f2d9c6f1f0f0c7f4a6d1c2b3a49 --reason "incident 4711"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, stages []string) error {
			o.Stages = stages
			return a.promote(cmd.Context(), o, promote.Rollback)
		},
	}
	a.promoteFlags(cmd, &o)
	releaseFlag(cmd, &o.Release, "to", "release to go back to, an `ID` git-<4 to 40 hex>[-<hex>] (default: the previous one)")
	return cmd
}

// promoteFlags adds the flags that promote and rollback share.
func (a *app) promoteFlags(cmd *cobra.Command, o *promote.Options) {
	a.policyFlag(cmd)
	dryRunFlag(cmd, &o.DryRun)
	cmd.Flags().StringVar(&o.Reason, "reason", "", "reason for the record, a `TEXT`")
}

func (a *app) promote(ctx context.Context, o promote.Options, do func(context.Context, promote.Options) ([]promote.Result, error)) (err error) {
	switch {
	case len(o.Stages) == 0 && !o.Ready:
		return usagef("name a STAGE, or use promote --ready for all with auto: true")
	case o.Ready && o.Release != "":
		return usagef("--ready chooses the release: leave --release out")
	}
	if o.Environment, err = a.environment(ctx, o.DryRun); err != nil {
		return err
	}
	results, err := do(ctx, o)
	if err != nil {
		return err
	}
	shown := promoteResults{}
	var errs []error
	for _, r := range results {
		if a.tally.add(ctx, r.Err) {
			r.Action = actionStopped
		}
		shown = append(shown, promotionResult(r, o.DryRun))
		shown[len(shown)-1].folds = o.Ready && r.Action == promote.Unchanged && r.Proposal == nil
		if r.Err != nil && (!o.Ready || !notReady(r)) {
			name := r.Pipeline + "/" + r.Stage
			errs = append(errs, beside{fmt.Errorf("%s: %w", name, r.Err), name, string(r.Action)})
		}
	}
	if len(shown) == 0 && a.part.Of > 0 {
		a.emit(nothing(fmt.Sprintf("Nothing to promote: part %s has none of the stages.", a.part)))
		return nil
	}
	a.emit(shown)
	a.next(a.after(shown)...)
	return worst(errs)
}

// after returns the commands that may come after a promotion: of what does not pass, the one that explains it.
func (a *app) after(results promoteResults) (commands []string) {
	for _, r := range results {
		if (r.Action == promote.Denied || r.Action == promote.Pending) && !r.DryRun {
			commands = append(commands, "lockage explain "+r.Pipeline+"/"+r.Stage+a.fileFlags())
		}
	}
	if len(commands) == 0 {
		commands = []string{"lockage status" + a.fileFlags()}
	}
	return commands[:min(len(commands), 3)]
}

// worst joins the errors of several stages. The exit status is that of a failure before a denial, and of a denial before a
// pending gate.
func worst(errs []error) error {
	for _, code := range []int{exitFailed, exitUsage, exitDenied, exitNotYet} {
		if slices.ContainsFunc(errs, func(err error) bool { return exitCode(err) == code }) {
			return reported{code, errors.Join(errs...)}
		}
	}
	return errors.Join(errs...)
}

// notReady reports whether only gates prevent a promotion, which promote --ready does not count as a failure.
func notReady(r promote.Result) bool {
	return (r.Action == promote.Pending || r.Action == promote.Denied) && len(r.Gates) > 0
}

func promotionResult(r promote.Result, dryRun bool) promoteResult {
	r.Gates = nonNil(r.Gates)
	s := promoteResult{Result: r, DryRun: dryRun, Error: messageOf(r.Err)}
	if r.From != nil {
		s.From, s.FromRelease = r.From.Digest, r.From.Release
	}
	if r.To != nil {
		s.To = r.To.Digest
	}
	return s
}

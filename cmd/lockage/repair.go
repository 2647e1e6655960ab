package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/promote/repair"
)

type repairResult struct {
	repair.Result
	DryRun bool   `json:"dryRun,omitempty"`
	Error  string `json:"error,omitempty"`
}

func (r repairResult) Text(w io.Writer) {
	name := r.Pipeline + "/" + r.Stage
	switch {
	case len(r.Findings) > 0 && r.DryRun:
		fmt.Fprintf(w, "%s: %d out of step (dry run: nothing was written; --apply mends it)\n", name, len(r.Findings))
	case len(r.Findings) > 0:
		fmt.Fprintf(w, "%s: %d out of step\n", name, len(r.Findings))
	case r.Error != "":
		fmt.Fprintf(w, "%s: not repaired\n", name)
	default:
		fmt.Fprintf(w, "%s: in step\n", name)
	}
	for _, f := range r.Findings {
		done := "to do: "
		if f.Done {
			done = "done: "
		}
		fmt.Fprintf(w, "  %s\n    %s%s\n", f.What, done, f.Mend)
	}
	if r.Commit != "" {
		fmt.Fprintf(w, "  record %s in commit %.12s\n", r.Record, r.Commit)
	}
}

func newRepairCommand(a *app) *cobra.Command {
	var o repair.Options
	var apply bool
	cmd := &cobra.Command{
		Use:   "repair [STAGE...]",
		Short: "Put the registry back from Git, and carry histories to where the pipeline file says",
		Long: `Repair compares what Git proves with the registry and the pipeline file, and reports what is out of step. With --apply it
mends that:

  - What is or was live, and the registry lost, comes back from the live ref, digest for digest, with its signatures and
    records; then the tags. That needs no key. Candidates are hydrated again.
  - A stage to which the pipeline file gives another place, name or registry gets its history there. The promoter signs one
    record for that.

With --reason, for the stages that are named, it begins a history anew that nobody can prove any more: because the live ref was
set back and the commits are lost, or because the promoter's key was stolen and taken out of its file. The promoter signs the
beginning; what came after the last promotion that is proven is held, and comes back by promote --release alone.

Without --reason, the exit status is 3 for a stage whose live ref was set back. Pipelines, locks and keys are read at the policy
ref, whatever is checked out.`,
		Example: `  lockage repair
  lockage repair --apply
  lockage repair production --apply --reason "incident 4711: the promoter's key was stolen"`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			o.Stages = stages
			switch reason := cmd.Flags().Changed("reason"); {
			case reason && o.Reason == "":
				return usagef("--reason is empty: say why the history begins anew")
			case reason && len(stages) == 0:
				return usagef("--reason begins the history of a stage anew: name each STAGE that is meant")
			}
			return a.repair(cmd.Context(), o, !apply)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "mend what is out of step; without it nothing is written")
	cmd.Flags().StringVar(&o.Reason, "reason", "", "why the history of the named stages begins anew, a `TEXT` for the record")
	a.policyFlag(cmd)
	return cmd
}

func (a *app) repair(ctx context.Context, o repair.Options, dryRun bool) (err error) {
	if o.Environment, err = a.environment(ctx, dryRun); err != nil {
		return err
	}
	results, err := repair.Stages(ctx, o)
	shown := list[repairResult]{}
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	for _, r := range results {
		r.Findings = nonNil(r.Findings)
		shown = append(shown, repairResult{r, dryRun, messageOf(r.Err)})
		if r.Err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", r.Pipeline, r.Stage, r.Err))
		}
	}
	if results != nil {
		a.emit(shown)
	}
	return worst(errs)
}

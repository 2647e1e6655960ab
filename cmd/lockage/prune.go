package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/promote/prune"
)

type pruneResult struct {
	prune.Result
	DryRun bool   `json:"dryRun,omitempty"`
	Error  string `json:"error,omitempty"`
}

type pruneResults []pruneResult

// Text writes a long list without the stages that have nothing to remove, and counts what it has.
func (rs pruneResults) Text(w io.Writer) {
	removed, kept, verb := 0, 0, ""
	for _, r := range rs {
		if len(rs) <= longList || len(r.Removed) > 0 || len(r.Left) > 0 {
			r.Text(w)
		}
		removed, kept, verb = removed+len(r.Removed), kept+r.Kept, r.verb()
	}
	if len(rs) > longList {
		fmt.Fprintf(w, "%s: %d %s, %d kept\n", counted(len(rs), "stage"), removed, verb, kept)
	}
}

func (r pruneResult) verb() string {
	if r.DryRun {
		return "to remove"
	}
	return "removed"
}

func (r pruneResult) Text(w io.Writer) {
	verb, dry := r.verb(), ""
	if r.DryRun {
		dry = " (dry run: nothing was removed)"
	}
	fmt.Fprintf(w, "%s/%s: %d %s, %d kept", r.Pipeline, r.Stage, len(r.Removed), verb, r.Kept)
	if r.Held > 0 {
		fmt.Fprintf(w, ", %d of them for their records of promotion", r.Held)
	}
	fmt.Fprintln(w, dry)
	for _, a := range r.Removed {
		fmt.Fprintf(w, "  %s %s %s\n", verb, a.Digest, a.Release)
	}
	for _, a := range r.Left {
		fmt.Fprintf(w, "  left %s %s: %s\n", a.Digest, terminal.Blank(strings.Join(a.Tags, " ")), terminal.Blank(a.Reason))
	}
}

func newPruneCommand(a *app) *cobra.Command {
	var request prune.Request
	cmd := &cobra.Command{
		Use:   "prune --keep N [STAGE...]",
		Short: "Remove old candidates from the registry",
		Long: `Prune removes the artifacts of old releases from the registry: tags, manifests, and their signatures and attestations.

It keeps what is live, what was live within the last N promotions, the newest N releases of the lock's history, and the
candidates of releases that never were the current one, such as a hotfix; a release that is kept for one stage as one of the
newest, or for having been live, is kept for all. It never removes an artifact that the hydrator did not sign for this
stage, that another tag names, or whose release the policy ref does not know, nor the record of a promotion. If the registry
may drop records with their artifact, prune keeps every artifact that ever was live. It leaves a stage alone whose record of
what is live is broken, with exit status 3. Pipelines, locks and keys are read at the policy ref, whatever is checked out.

The registry's garbage collection frees the space. Some registries, such as GHCR, do not allow deletion through this API:
prune reports that and removes nothing.`,
		Example: `  lockage prune --keep 20 --dry-run
  lockage prune --keep 20 staging`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			request.Stages = stages
			if !cmd.Flags().Changed("keep") {
				return usagef("--keep is missing: how many promotions and releases to keep of each stage")
			}
			return a.prune(cmd.Context(), request)
		},
	}
	cmd.Flags().IntVar(&request.Keep, "keep", 0, "`NUMBER` of promotions, and of the newest releases, to keep")
	a.policyFlag(cmd)
	dryRunFlag(cmd, &request.DryRun)
	return cmd
}

func (a *app) prune(ctx context.Context, r prune.Request) error {
	if r.Keep < 1 {
		return usagef("--keep %d: want at least 1", r.Keep)
	}
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	if err := d.checkStages(r.Stages); err != nil {
		return err
	}
	r.Pipelines, r.Files, r.PolicyRef = d.pipelines, d.files, d.policyRef
	r.Client, r.Remotes, r.Step = d.client, d.workspace.Repository, a.step
	results, err := prune.Stages(ctx, r)
	shown := pruneResults{}
	var errs []error
	if err != nil {
		errs = append(errs, err)
	}
	seen := map[string]bool{} // a registry refuses many stages for one reason
	for _, result := range results {
		shown = append(shown, showPruned(result, r.DryRun))
		if message := messageOf(result.Err); message != "" && !seen[message] {
			seen[message] = true
			errs = append(errs, fmt.Errorf("%s/%s: %w", result.Pipeline, result.Stage, result.Err))
		}
	}
	a.emit(shown)
	return worst(errs)
}

// showPruned completes a result for -o json, where no list is null.
func showPruned(r prune.Result, dryRun bool) pruneResult {
	r.Removed = nonNil(r.Removed)
	for i := range r.Removed {
		r.Removed[i].Tags = nonNil(r.Removed[i].Tags)
	}
	for i := range r.Left {
		r.Left[i].Tags = nonNil(r.Left[i].Tags)
	}
	return pruneResult{r, dryRun, messageOf(r.Err)}
}

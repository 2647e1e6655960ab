package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/prune"
)

type pruneResults []pruneResult

type pruneResult struct {
	Pipeline string           `json:"pipeline"`
	Stage    string           `json:"stage"`
	DryRun   bool             `json:"dryRun,omitempty"`
	Kept     int              `json:"kept"`
	Held     int              `json:"held,omitempty"` // of those, for their records of promotion alone
	Removed  []prunedArtifact `json:"removed"`
	Left     []prunedArtifact `json:"left,omitempty"` // of those that are kept
	Error    string           `json:"error,omitempty"`
}

type prunedArtifact struct {
	Digest  digest.Digest `json:"digest"`
	Release string        `json:"release,omitempty"`
	Tags    []string      `json:"tags"`
	Reason  string        `json:"reason,omitempty"` // why it was left
}

func (rs pruneResults) Text(w io.Writer) {
	for _, r := range rs {
		verb := "removed"
		if r.DryRun {
			verb = "to remove"
		}
		fmt.Fprintf(w, "%s/%s: %d %s, %d kept", r.Pipeline, r.Stage, len(r.Removed), verb, r.Kept)
		if r.Held > 0 {
			fmt.Fprintf(w, ", %d of them for their records of promotion", r.Held)
		}
		if r.DryRun {
			fmt.Fprint(w, " (dry run: nothing was removed)")
		}
		fmt.Fprintln(w)
		for _, a := range r.Removed {
			fmt.Fprintf(w, "  %s %s %s\n", verb, a.Digest, a.Release)
		}
		for _, a := range r.Left {
			fmt.Fprintf(w, "  left %s %s: %s\n", a.Digest, terminal.Blank(strings.Join(a.Tags, " ")), terminal.Blank(a.Reason))
		}
	}
}

type pruneFlags struct {
	stages []string
	keep   int
	policy string
	dryRun bool
}

func newPruneCommand(a *app) *cobra.Command {
	var p pruneFlags
	cmd := &cobra.Command{
		Use:   "prune --keep N [STAGE...]",
		Short: "Remove old candidates from the registry",
		Long: `Prune removes the artifacts of old releases from the registry: tags, manifests, and what is attached to them.

It keeps what is live, what was live within the last N promotions, and the newest N releases of the lock's history; a
release that is kept for one stage is kept for all. Never does it touch what the hydrator did not sign for this very stage, what
another tag names, a release that the policy ref does not know, or the record of a promotion. A registry that may
drop records with their artifact keeps every artifact that ever was live. A stage whose record of what is live is broken is left
alone, and the exit status is 3. Pipelines, locks and keys are read at the policy ref, whatever is checked out.

Space is freed by the registry's garbage collection. Some registries, GHCR among them, delete nothing through this API: that is
said, and nothing is done.`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			p.stages = stages
			if !cmd.Flags().Changed("keep") {
				return usagef("say with --keep N how many promotions and releases to keep of each stage")
			}
			return a.prune(cmd.Context(), p)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().IntVar(&p.keep, "keep", 0, "keep what was live within the last `N` promotions, and the newest N releases")
	cmd.Flags().StringVar(&p.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	cmd.Flags().BoolVar(&p.dryRun, "dry-run", false, "say what would be removed; remove nothing")
	return cmd
}

func (a *app) prune(ctx context.Context, p pruneFlags) error {
	if p.keep < 1 {
		return usagef("--keep %d: want at least 1", p.keep)
	}
	d, err := a.declared(ctx, p.policy)
	if err != nil {
		return err
	}
	if err := d.checkStages(p.stages); err != nil {
		return err
	}
	results, err := prune.Stages(ctx, prune.Request{
		Pipelines: d.pipelines,
		Stages:    p.stages,
		Keep:      p.keep,
		DryRun:    p.dryRun,
		Files:     d.files,
		Trunk:     d.trunk,
		Client:    d.client,
		Remotes:   d.workspace.Repository,
		Step:      func(progress string) { a.step("%s", progress) },
	})
	shown := pruneResults{}
	errs := []error{}
	if err != nil {
		errs = append(errs, err)
	}
	said := map[string]bool{} // one registry's refusal concerns many stages
	for _, r := range results {
		shown = append(shown, showPruned(r, p.dryRun))
		if r.Err == nil || said[r.Err.Error()] {
			continue
		}
		said[r.Err.Error()] = true
		err := fmt.Errorf("%s/%s: %w", r.Pipeline, r.Stage, r.Err)
		if errors.Is(err, live.ErrBroken) {
			err = reported{exitDenied, err}
		}
		errs = append(errs, err)
	}
	a.emit(shown)
	return stopped(ctx, worst(errs))
}

func showPruned(r prune.Result, dryRun bool) pruneResult {
	s := pruneResult{Pipeline: r.Pipeline, Stage: r.Stage, DryRun: dryRun, Kept: r.Kept, Held: r.Held, Removed: []prunedArtifact{}}
	for _, a := range r.Removed {
		s.Removed = append(s.Removed, prunedArtifact{Digest: a.Digest, Release: a.Release, Tags: nonNil(a.Tags)})
	}
	for _, a := range r.Left {
		s.Left = append(s.Left, prunedArtifact{Digest: a.Digest, Tags: nonNil(a.Tags), Reason: a.Reason})
	}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	return s
}

// nonNil makes an empty list one in JSON too.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

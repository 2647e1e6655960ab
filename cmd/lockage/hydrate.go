package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/publish"
)

type hydrateResults []hydrateResult

type hydrateResult struct {
	Pipeline     string         `json:"pipeline"`
	Release      string         `json:"release,omitempty"`
	GitCommit    string         `json:"gitCommit,omitempty"`
	GitopsCommit string         `json:"gitopsCommit"`
	DryRun       bool           `json:"dryRun,omitempty"`
	Stages       []hydrateStage `json:"stages"`
	Error        string         `json:"error,omitempty"`
}

type hydrateStage struct {
	publish.Stage
	Error string `json:"error,omitempty"`
}

func (rs hydrateResults) Text(w io.Writer) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "Nothing to hydrate.")
	}
	table(w, func(w io.Writer) {
		for _, r := range rs {
			r.rows(w)
		}
	})
}

func (r hydrateResult) rows(w io.Writer) {
	dry := ""
	if r.DryRun {
		dry = ", dry run: nothing was written"
	}
	if r.Error != "" {
		fmt.Fprintf(w, "%s: failed%s\n", r.Pipeline, dry)
		return
	}
	fmt.Fprintf(w, "%s %s (GitOps commit %.12s%s)\n", r.Pipeline, r.Release, r.GitopsCommit, dry)
	for _, s := range r.Stages {
		if s.Error != "" {
			fmt.Fprintf(w, "  %s\t%s\n", s.Name, s.Action)
			continue
		}
		fmt.Fprintf(w, "  %s\t%s\t%d objects\t%s", s.Name, s.Action, s.Objects, s.Reference)
		if s.Commit != "" {
			fmt.Fprintf(w, "\t%s %.12s", s.Branch, s.Commit)
		}
		if url := cmp.Or(s.PullRequest, s.Compare); url != "" {
			fmt.Fprintf(w, "\t%s", url)
		}
		fmt.Fprintln(w)
	}
}

func newHydrateCommand(a *app) *cobra.Command {
	var h hydrateFlags
	cmd := &cobra.Command{
		Use:   "hydrate [STAGE...]",
		Short: "Render, pack, sign and push the stages of a release",
		Long: `Hydrate renders every stage of every pipeline at the locked source commit, packs each into one OCI artifact, signs it
and tags it by image digest and release. It does not touch what the registry has already; the next run completes an
interrupted one.

If the pipeline has a mirror, hydrate then commits each stage's manifests to its branch, only below its path, in one atomic
push per pipeline, for people to review and tools to diff. The commit names the artifact. With review: pull-request it commits
to a review branch instead, and opens or updates a pull request into the stage's branch; without an API token
(LOCKAGE_FORGE_TOKEN) it prints the page on which to open the pull request.

Hydrate reads the GitOps repository at HEAD, never uncommitted files, and publishes only if that commit is on the policy ref.`,
		Example: `  lockage hydrate
  lockage hydrate staging --dry-run
  lockage hydrate -f 'apps/*/lockage.yaml' --since "$BEFORE"
  lockage hydrate -f 'apps/*/lockage.yaml' --shard 2/8
  lockage hydrate --plan -o json`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			h.stages = stages
			return a.hydrate(cmd.Context(), h)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().Var(&h.release, "release", "release to hydrate, an `ID` git-<40 hex> (default: the current one)")
	a.policyFlag(cmd)
	cmd.Flags().StringVar(&h.shard, "shard", "", "part `K/N` of the pipelines, for a matrix of CI jobs (default: all)")
	cmd.Flags().StringVar(&h.since, "since", "", "`REV` of the GitOps repository; only stages whose inputs changed since then")
	cmd.Flags().BoolVar(&h.plan, "plan", false, "print the selected pipelines and stages, a matrix for CI jobs, and do nothing else")
	dryRunFlag(cmd, &h.dryRun)
	return cmd
}

type hydrateFlags struct {
	stages  []string
	release releaseID
	shard   string
	since   string
	plan    bool
	dryRun  bool
}

func (a *app) hydrate(ctx context.Context, h hydrateFlags) error {
	var shard publish.Shard
	if h.shard != "" {
		var err error
		if shard, err = publish.ParseShard(h.shard); err != nil {
			return usagef("--shard %w", err)
		}
	}
	environment, err := a.environment(ctx, h.dryRun)
	if err != nil {
		return err
	}
	options := publish.Options{
		Environment: environment,
		Stages:      h.stages,
		Release:     string(h.release),
		Shard:       shard,
		Since:       h.since,
		Renderers:   a.renderers(),
	}
	if h.plan {
		return a.planHydration(ctx, options)
	}
	releases, err := publish.Run(ctx, options)
	if err != nil {
		return err
	}
	results := make(hydrateResults, len(releases))
	var errs, stageErrs []error
	for i, r := range releases {
		results[i] = hydrateResult{
			Pipeline:     r.Pipeline,
			Release:      r.Lock.ReleaseID,
			GitCommit:    r.Lock.GitCommit,
			GitopsCommit: string(environment.Workspace.Head.Hash),
			DryRun:       h.dryRun,
			Stages:       []hydrateStage{},
			Error:        messageOf(r.Err),
		}
		if r.Err != nil {
			errs = append(errs, named(r.Err, r.Pipeline))
		}
		for _, s := range r.Stages {
			results[i].Stages = append(results[i].Stages, hydrateStage{s, messageOf(s.Err)})
			if s.Err != nil {
				stageErrs = append(stageErrs, fmt.Errorf("%s/%s: %w", r.Pipeline, s.Name, s.Err))
			}
		}
	}
	a.emit(results)
	return errors.Join(append(errs, stageErrs...)...)
}

// planResults are the pipelines that hydrate selects: each is one job of a matrix.
type planResults []planResult

type planResult struct {
	Pipeline string   `json:"pipeline"`
	File     string   `json:"file"` // for -f, relative to the repository's root
	Release  string   `json:"release,omitempty"`
	Stages   []string `json:"stages"`
	Error    string   `json:"error,omitempty"`
}

func (rs planResults) Text(w io.Writer) {
	for _, r := range rs {
		fmt.Fprintf(w, "%s %s: %s\n", r.Pipeline, r.Release, strings.Join(r.Stages, " "))
	}
}

func (a *app) planHydration(ctx context.Context, o publish.Options) error {
	planned, err := publish.Plan(ctx, o)
	if err != nil {
		return err
	}
	results := planResults{}
	var errs []error
	for _, p := range planned {
		r := planResult{Pipeline: p.Pipeline.Name, File: p.Pipeline.File, Release: p.Lock.Lock.ReleaseID, Stages: []string{}, Error: messageOf(p.Err)}
		for _, s := range p.Stages {
			r.Stages = append(r.Stages, s.Name)
		}
		if p.Err != nil {
			errs = append(errs, named(p.Err, p.Pipeline.Name))
		}
		results = append(results, r)
	}
	a.emit(results)
	return errors.Join(errs...)
}

// named puts a pipeline's name before an error that does not contain it. Problems of files begin with file and line instead.
func named(err error, pipeline string) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) || strings.Contains(err.Error(), "pipeline "+pipeline) {
		return err
	}
	return fmt.Errorf("%s: %w", pipeline, err)
}

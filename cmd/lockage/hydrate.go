package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	forges "github.com/lockage/lockage/internal/forge"
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
	Stage         string         `json:"stage"`
	Action        publish.Action `json:"action"`
	Reference     string         `json:"reference,omitempty"`
	Digest        string         `json:"digest,omitempty"`
	ContentDigest string         `json:"contentDigest,omitempty"`
	InputDigest   string         `json:"inputDigest,omitempty"`
	Tags          []string       `json:"tags,omitempty"`
	Objects       int            `json:"objects,omitempty"`
	Images        []string       `json:"images,omitempty"`
	Branch        string         `json:"branch,omitempty"`
	Commit        string         `json:"commit,omitempty"`
	PullRequest   string         `json:"pullRequest,omitempty"`
	Compare       string         `json:"compare,omitempty"` // where a person opens it, without a token
	Error         string         `json:"error,omitempty"`
}

func (rs hydrateResults) Text(w io.Writer) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "Nothing to hydrate.")
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rs {
		dry := ""
		if r.DryRun {
			dry = ", dry run: nothing was written"
		}
		if r.Error != "" {
			fmt.Fprintf(tw, "%s: failed%s\n", r.Pipeline, dry)
			continue
		}
		fmt.Fprintf(tw, "%s %s (GitOps commit %.12s%s)\n", r.Pipeline, r.Release, r.GitopsCommit, dry)
		for _, s := range r.Stages {
			if s.Error != "" {
				fmt.Fprintf(tw, "  %s\t%s\n", s.Stage, s.Action)
				continue
			}
			fmt.Fprintf(tw, "  %s\t%s\t%d objects\t%s", s.Stage, s.Action, s.Objects, s.Reference)
			if s.Commit != "" {
				fmt.Fprintf(tw, "\t%s %.12s", s.Branch, s.Commit)
			}
			if url := cmp.Or(s.PullRequest, s.Compare); url != "" {
				fmt.Fprintf(tw, "\t%s", url)
			}
			fmt.Fprintln(tw)
		}
	}
	_ = tw.Flush() // the writer's own errors show at the end of the run
}

func newHydrateCommand(a *app) *cobra.Command {
	var h hydrateFlags
	cmd := &cobra.Command{
		Use:   "hydrate [STAGE...]",
		Short: "Render, pack, sign and push the stages of a release",
		Long: `Hydrate renders every stage of every pipeline at the locked source commit, packs each into one OCI artifact, signs it
and tags it by image digest and release. What is in the registry already is left alone, and a run that was interrupted is
completed by the next one.

Where the pipeline has a mirror, each stage's manifests are then committed to its branch, below its path and nowhere
else, in one atomic push a pipeline: for people to review, and for tools to diff. The commit names the artifact. With
review: pull-request it is committed to a review branch instead, and a pull request into the stage's branch is opened, found
again or updated; without an API token (LOCKAGE_FORGE_TOKEN) the page is named on which a person opens it.

It reads the GitOps repository at HEAD, never uncommitted files, and only publishes when that commit is on the policy ref.`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			h.stages = stages
			return a.hydrate(cmd.Context(), h)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().StringVar(&h.release, "release", "", "hydrate this `RELEASE`, git-<40 hex>, instead of the current one")
	cmd.Flags().StringVar(&h.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	cmd.Flags().StringVar(&h.shard, "shard", "", "only part `K/N` of the pipelines, for a matrix of CI jobs")
	cmd.Flags().StringVar(&h.since, "since", "", "only stages whose inputs are others than at this `REV` of the GitOps repository")
	cmd.Flags().BoolVar(&h.plan, "plan", false, "print the pipelines and stages that are selected, a matrix for CI jobs, and do nothing")
	cmd.Flags().BoolVar(&h.dryRun, "dry-run", false, "say what would be done; write nothing and use no key")
	return cmd
}

type hydrateFlags struct {
	stages  []string
	release string
	policy  string
	shard   string
	since   string
	plan    bool
	dryRun  bool
}

func (a *app) hydrate(ctx context.Context, h hydrateFlags) error {
	if err := checkRelease("--release", h.release); err != nil {
		return err
	}
	var shard publish.Shard
	if h.shard != "" {
		var err error
		if shard, err = publish.ParseShard(h.shard); err != nil {
			return usagef("--shard %w", err)
		}
	}
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	options := publish.Options{
		Workspace: w,
		Files:     a.files,
		Stages:    h.stages,
		Release:   h.release,
		Shard:     shard,
		Since:     h.since,
		Policy:    h.policy,
		DryRun:    h.dryRun,
		Renderers: a.renderers(),
		Client:    a.registries(w.Root()),
		Forge:     forges.Options{Getenv: os.Getenv, UserAgent: "lockage/" + version()},
		Keys:      a.keyring(),
		Version:   version(),
		Random:    rand.Int64N,
		Warn:      func(message string) { a.warn("%s", message) },
		Step:      func(progress string) { a.step("%s", progress) },
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
			GitopsCommit: string(w.Head.Hash),
			DryRun:       h.dryRun,
			Stages:       []hydrateStage{},
		}
		if r.Err != nil {
			results[i].Error = r.Err.Error()
			errs = append(errs, named(r.Err, r.Pipeline))
		}
		for _, s := range r.Stages {
			results[i].Stages = append(results[i].Stages, stageResult(s))
			if s.Err != nil {
				stageErrs = append(stageErrs, fmt.Errorf("%s/%s: %w", r.Pipeline, s.Name, s.Err))
			}
		}
	}
	a.emit(results)
	return errors.Join(append(errs, stageErrs...)...)
}

// planResults are the pipelines that hydrate would look at: each is one job of a matrix.
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
		r := planResult{Pipeline: p.Pipeline.Name, File: p.Pipeline.File, Release: p.Lock.Lock.ReleaseID, Stages: []string{}}
		for _, s := range p.Stages {
			r.Stages = append(r.Stages, s.Name)
		}
		if p.Err != nil {
			r.Error = p.Err.Error()
			errs = append(errs, named(p.Err, p.Pipeline.Name))
		}
		results = append(results, r)
	}
	a.emit(results)
	return errors.Join(errs...)
}

func stageResult(r publish.Stage) hydrateStage {
	s := hydrateStage{
		Stage:         r.Name,
		Action:        r.Action,
		Reference:     r.Reference,
		Digest:        r.Digest.String(),
		ContentDigest: r.ContentDigest.String(),
		InputDigest:   r.InputDigest.String(),
		Tags:          r.Tags,
		Objects:       r.Objects,
		Images:        r.Images,
		Branch:        r.Branch,
		Commit:        r.Commit,
		PullRequest:   r.PullRequest,
		Compare:       r.Compare,
	}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	return s
}

// named puts a pipeline's name before an error that does not say it. Problems of files stay as they are: they begin with
// file and line.
func named(err error, pipeline string) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) || strings.Contains(err.Error(), "pipeline "+pipeline) {
		return err
	}
	return fmt.Errorf("%s: %w", pipeline, err)
}

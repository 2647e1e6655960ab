package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/promote"
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
	Note         string         `json:"note,omitempty"` // why there are no stages, if the run does not fail by that
	Error        string         `json:"error,omitempty"`

	wide bool // the text names references instead of digests
}

type hydrateStage struct {
	publish.Stage
	PullRequest string `json:"pullRequest,omitempty"` // URL
	Compare     string `json:"compare,omitempty"`     // URL of the page on which a person opens it
	Error       string `json:"error,omitempty"`
}

func (rs hydrateResults) Text(w io.Writer) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "Nothing to hydrate.")
	}
	seen := map[string]string{} // where a reason of a failure was shown
	table(w, func(w io.Writer) {
		for _, r := range rs {
			r.rows(w, seen)
		}
	})
	var actions []string
	for _, r := range rs {
		if r.Error != "" {
			actions = append(actions, string(publish.Failed))
		}
		for _, s := range r.Stages {
			actions = append(actions, string(s.Action))
		}
	}
	summarize(w, actions)
}

func (r hydrateResult) rows(w io.Writer, seen map[string]string) {
	dry := ""
	if r.DryRun {
		dry = ", dry run: nothing was written"
	}
	if r.Error != "" {
		fmt.Fprintf(w, "%s: failed%s\n  %s\n", r.Pipeline, dry, once(seen, r.Error, r.Pipeline, "\n  "))
		return
	}
	if r.Note != "" {
		fmt.Fprintf(w, "%s: %s\n", r.Pipeline, r.Note)
		return
	}
	fmt.Fprintf(w, "%s %s (GitOps commit %.12s%s)\n", r.Pipeline, r.Release, r.GitopsCommit, dry)
	for _, s := range r.Stages {
		if s.Action == actionStopped {
			continue
		}
		if s.Error != "" {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Name, s.Action, once(seen, s.Error, r.Pipeline+"/"+s.Name, "\n\t\t"))
			continue
		}
		artifact := s.Reference
		if !r.wide {
			artifact = short(s.Digest.String())
		}
		fmt.Fprintf(w, "  %s\t%s\t%d objects\t%s", s.Name, s.Action, s.Objects, artifact)
		if s.Commit != "" {
			fmt.Fprintf(w, "\t%s %.12s", s.Branch, s.Commit)
		}
		if url := cmp.Or(s.PullRequest, s.Compare); url != "" {
			fmt.Fprintf(w, "\t%s", url)
		}
		fmt.Fprintln(w)
	}
}

// once returns a reason at its first row, and for later rows where that is. A new line of it begins with lead.
func once(seen map[string]string, reason, row, lead string) string {
	if first, ok := seen[reason]; ok {
		return "as " + first
	}
	seen[reason] = row
	return strings.ReplaceAll(reason, "\n", lead)
}

func newHydrateCommand(a *app) *cobra.Command {
	var o publish.Options
	var plan bool
	cmd := &cobra.Command{
		Use:   "hydrate [STAGE...]",
		Short: "Render, pack, sign and push the stages of a release",
		Long: `Hydrate renders every stage of every pipeline at the locked source commit, packs each into one OCI artifact, signs it
and tags it by image digest and release. It does not touch what the registry has already; the next run completes an
interrupted one.

What was made and signed is recorded on the branch candidates/PIPELINE, see ledger in the pipeline file: promote, verify and
approve take the candidate from there, and the registry's tags follow it. If the pipeline has a mirror, the same push commits
each stage's manifests to its branch, only below its path, for people to review and tools to diff. The commit names the
artifact. With review: pull-request it writes no stage branch: promote opens a pull request into it when the release is due, and hydrate
does for a stage that nothing comes before; without an API token (LOCKAGE_FORGE_TOKEN) they print the page on which to open it.

Hydrate reads the GitOps repository at the policy ref's tip, whatever is checked out, and says where HEAD is behind it. A HEAD
that the policy ref does not contain, a pull request's say, is refused. --at publishes another commit of the policy ref's
first-parent line: the parts of one commit (--shard), or an old job that runs again.`,
		Example: `  lockage hydrate
  lockage hydrate staging --dry-run
  lockage hydrate -f 'apps/*/lockage.yaml' --since "$BEFORE"
  lockage hydrate -f 'apps/*/lockage.yaml' --shard 2/8
  lockage hydrate --plan -o json`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			o.Stages = stages
			return a.hydrate(cmd.Context(), o, plan)
		},
	}
	releaseFlag(cmd, &o.Release, "release", "release to hydrate, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	a.policyFlag(cmd)
	a.shardFlag(cmd, "")
	cmd.Flags().StringVar(&o.At, "at", "", "`COMMIT` of the policy ref to publish (default: its tip)")
	cmd.Flags().StringVar(&o.Since, "since", "", "`REV` of the GitOps repository; only stages whose inputs changed since then")
	cmd.Flags().BoolVar(&plan, "plan", false, "print the selected pipelines and stages, a matrix for CI jobs, and do nothing else")
	dryRunFlag(cmd, &o.DryRun)
	return cmd
}

func (a *app) hydrate(ctx context.Context, o publish.Options, plan bool) (err error) {
	if o.Environment, err = a.environment(ctx, o.DryRun); err != nil {
		return err
	}
	if o.Renderers, err = a.renderers(); err != nil {
		return err
	}
	o.Charts = helm.Charts{Archives: a.chartFetcher()}
	if plan {
		return a.planHydration(ctx, o)
	}
	releases, err := publish.Run(ctx, o)
	if err != nil {
		return err
	}
	var proposals map[[2]string]*promote.Proposal
	if ctx.Err() == nil {
		if proposals, err = a.proposals(ctx, o.Environment, releases); err != nil && ctx.Err() == nil {
			return err
		}
	}
	results := make(hydrateResults, len(releases))
	var errs, stageErrs []error
	for i, r := range releases {
		results[i] = hydrateResult{
			Pipeline:     r.Pipeline,
			Release:      r.Lock.ReleaseID,
			GitCommit:    r.Lock.GitCommit,
			GitopsCommit: r.GitOpsCommit,
			DryRun:       o.DryRun,
			Stages:       []hydrateStage{},
			wide:         a.format == "wide",
		}
		if results[i].Note, r.Err = unreleased(r.Err); r.Err != nil {
			results[i].Error = r.Err.Error()
			errs = append(errs, beside{named(r.Err, r.Pipeline), r.Pipeline, string(publish.Failed)})
		}
		for _, s := range r.Stages {
			shown := hydrateStage{Stage: s, Error: messageOf(s.Err)}
			if a.tally.add(ctx, s.Err) {
				shown.Action = actionStopped
			}
			shown.propose(proposals[[2]string{r.Pipeline, s.Name}])
			results[i].Stages = append(results[i].Stages, shown)
			if s.Err != nil {
				name := r.Pipeline + "/" + s.Name
				stageErrs = append(stageErrs, beside{fmt.Errorf("%s: %w", name, s.Err), name, string(publish.Failed)})
			}
		}
	}
	a.emit(results)
	if err := errors.Join(append(errs, stageErrs...)...); err != nil || o.DryRun {
		return err
	}
	a.next("lockage promote --ready"+a.fileFlags(), "lockage status"+a.fileFlags())
	return nil
}

// proposals keeps the pull requests of the stages whose hydration people may be asked about at once, by pipeline and stage.
func (a *app) proposals(ctx context.Context, e publish.Environment, releases []publish.Release) (map[[2]string]*promote.Proposal, error) {
	stages := map[[2]string]bool{}
	for _, r := range releases {
		for _, s := range r.Stages {
			if s.Review {
				stages[[2]string{r.Pipeline, s.Name}] = true
			}
		}
	}
	if len(stages) == 0 {
		return nil, nil //nolint:nilnil // none
	}
	results, err := promote.Propose(ctx, e, stages)
	proposals := map[[2]string]*promote.Proposal{}
	for _, r := range results {
		proposals[[2]string{r.Pipeline, r.Stage}] = r.Proposal
		for _, note := range r.Notes {
			e.Warn(fmt.Sprintf("%s/%s: %s", r.Pipeline, r.Stage, note))
		}
		if r.Err != nil && r.Proposal == nil {
			e.Warn(fmt.Sprintf("%s/%s: its pull request is not kept: %v", r.Pipeline, r.Stage, r.Err))
		}
	}
	return proposals, err
}

// propose adds what the stage's pull request shows, which may be another release that somebody approved.
func (s *hydrateStage) propose(p *promote.Proposal) {
	if p == nil {
		return
	}
	s.Branch, s.Commit, s.PullRequest, s.Compare = p.Branch, p.Commit, p.PullRequest, p.Compare
	if p.Changed && s.Action == publish.Unchanged {
		s.Action = publish.Pushed
	}
}

// planResult is a pipeline that hydrate selects: one job of a matrix.
type planResult struct {
	Pipeline string   `json:"pipeline"`
	File     string   `json:"file"` // for -f, relative to the repository's root
	Release  string   `json:"release,omitempty"`
	Stages   []string `json:"stages"`
	Note     string   `json:"note,omitempty"`
	Error    string   `json:"error,omitempty"`
}

func (r planResult) Text(w io.Writer) {
	if r.Note != "" {
		fmt.Fprintf(w, "%s: %s\n", r.Pipeline, r.Note)
		return
	}
	fmt.Fprintf(w, "%s %s: %s\n", r.Pipeline, r.Release, strings.Join(r.Stages, " "))
}

func (a *app) planHydration(ctx context.Context, o publish.Options) error {
	planned, err := publish.Plan(ctx, o)
	if err != nil {
		return err
	}
	results := list[planResult]{}
	var errs []error
	for _, p := range planned {
		r := planResult{Pipeline: p.Pipeline.Name, File: p.Pipeline.File, Release: p.Lock.ReleaseID, Stages: []string{}}
		for _, s := range p.Stages {
			r.Stages = append(r.Stages, s.Name)
		}
		if r.Note, p.Err = unreleased(p.Err); p.Err != nil {
			r.Error = p.Err.Error()
			errs = append(errs, named(p.Err, p.Pipeline.Name))
		}
		results = append(results, r)
	}
	a.emit(results)
	return errors.Join(errs...)
}

// unreleased makes a note of the error of a pipeline that has no first release yet: it fails no run.
func unreleased(err error) (note string, _ error) {
	if errors.Is(err, lock.ErrNoRelease) {
		return err.Error(), nil
	}
	return "", err
}

// named puts a pipeline's name before an error that does not contain it. Problems of files begin with file and line instead.
func named(err error, pipeline string) error {
	var problems strictyaml.Problems
	if errors.As(err, &problems) || strings.Contains(err.Error(), "pipeline "+pipeline) {
		return err
	}
	return fmt.Errorf("%s: %w", pipeline, err)
}

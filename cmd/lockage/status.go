package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/live"
)

type statusResults []statusResult

type statusResult struct {
	Pipeline string        `json:"pipeline"`
	Stages   []stageStatus `json:"stages"`
}

type stageStatus struct {
	Stage      string        `json:"stage"`
	Live       *liveStatus   `json:"live,omitempty"`
	Tag        digest.Digest `json:"tag,omitempty"`
	Candidate  *shownRelease `json:"candidate,omitempty"`
	Branch     *branchStatus `json:"branch,omitempty"`
	Drift      bool          `json:"drift"`
	Unpromoted *shownRelease `json:"unpromoted,omitempty"` // on the live ref
	Error      string        `json:"error,omitempty"`

	note string // what Text says of drift
	err  error
}

type liveStatus struct {
	shownRelease
	Since time.Time `json:"since"`
}

type shownRelease struct {
	Release string        `json:"release,omitempty"`
	Digest  digest.Digest `json:"digest,omitempty"`
}

type branchStatus struct {
	Name   string `json:"name"`
	Commit string `json:"commit,omitempty"`
	InSync bool   `json:"inSync"`
}

func (rs statusResults) Text(w io.Writer) {
	for i, r := range rs {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, r.Pipeline)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "  STAGE\tLIVE\tSINCE\tTAG\tCANDIDATE\tBRANCH")
		for _, s := range r.Stages {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", s.Stage, s.live(), s.since(), s.tag(), s.candidate(), s.branch())
		}
		_ = tw.Flush() // the writer's own errors show at the end of the run
		for _, s := range r.Stages {
			for _, note := range []string{s.note, s.Error} {
				if note != "" {
					fmt.Fprintf(w, "  %s: %s\n", s.Stage, note)
				}
			}
		}
	}
}

func (s stageStatus) live() string {
	switch {
	case s.Live != nil:
		return shortRelease(s.Live.Release)
	case s.err != nil:
		return "?"
	}
	return "-"
}

func (s stageStatus) since() string {
	if s.Live == nil {
		return "-"
	}
	return s.Live.Since.UTC().Format("2006-01-02 15:04")
}

func (s stageStatus) tag() string {
	switch {
	case s.Drift:
		return "DRIFT"
	case s.err != nil:
		return "?"
	case s.Tag == "":
		return "-"
	case s.Live == nil:
		return shortDigest(s.Tag)
	}
	return "ok"
}

func (s stageStatus) candidate() string {
	switch {
	case s.Candidate == nil:
		return "-"
	case s.Candidate.Digest == "":
		return shortRelease(s.Candidate.Release) + " (not hydrated)"
	case s.Live != nil && s.Live.Digest == s.Candidate.Digest:
		return shortRelease(s.Candidate.Release) + " (live)"
	}
	return shortRelease(s.Candidate.Release)
}

func (s stageStatus) branch() string {
	switch {
	case s.Branch == nil:
		return "-"
	case s.Branch.Commit == "":
		return s.Branch.Name + " (absent)"
	case s.Unpromoted != nil:
		return s.Branch.Name + " (UNPROMOTED)"
	case !s.Branch.InSync:
		return s.Branch.Name + " (differs)"
	}
	return s.Branch.Name
}

// shortDigits is how much of ids a table shows.
const shortDigits = 12

func shortRelease(release string) string {
	name, hex, _ := strings.Cut(release, "-")
	return name + "-" + hex[:min(shortDigits, len(hex))]
}

func shortDigest(d digest.Digest) string {
	if d.Validate() != nil {
		return "-"
	}
	return d.Encoded()[:shortDigits]
}

// statusConcurrency bounds the stages that are read at a time.
const statusConcurrency = 8

func newStatusCommand(a *app) *cobra.Command {
	var policyRef string
	cmd := &cobra.Command{
		Use:   "status [STAGE...]",
		Short: "Show what is live, what comes next, and what is out of step",
		Long: `Status shows for each stage what is live, since when, whether the registry's tag agrees, the candidate of the current
release, and whether the stage branch shows what it should. What is live is read from the live ref, and counts because
the promoter's record proves it. Pipelines and keys are read at the policy ref, whatever is checked out.

The exit status is 3 where a tag was moved by hand, or where the record of what is live is broken.`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			return a.status(cmd.Context(), stages, policyRef)
		},
		ValidArgsFunction: completeStages(a),
	}
	cmd.Flags().StringVar(&policyRef, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	return cmd
}

// declaration is what the policy ref declares.
type declaration struct {
	workspace *workspace.Workspace
	trunk     *workspace.Policy
	files     fs.FS
	pipelines []*pipeline.Pipeline
	client    *oci.Client
}

// declared reads what the policy ref declares.
func (a *app) declared(ctx context.Context, policyRef string) (declaration, error) {
	var d declaration
	var err error
	if d.workspace, err = a.workspace(ctx); err != nil {
		return d, err
	}
	if d.trunk, err = d.workspace.Policy(ctx, policyRef, func(message string) { a.warn("%s", message) }); err != nil {
		return d, err
	}
	if d.files, err = d.trunk.Files(ctx); err != nil {
		return d, err
	}
	d.client = a.registries(d.workspace.Root())
	d.pipelines, err = a.pipelines(d.workspace, d.files)
	return d, err
}

// stages lists the stages of a pipeline that have one of the names, or all.
func stagesOf(p *pipeline.Pipeline, names []string) []string {
	return slices.DeleteFunc(p.Order(), func(stage string) bool { return len(names) > 0 && !slices.Contains(names, stage) })
}

// checkStages refuses names that no pipeline has.
func (d declaration) checkStages(names []string) error {
	var known []string
	for _, p := range d.pipelines {
		known = append(known, p.Order()...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return usagef("no pipeline has a stage %q; there are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// expand declares a stage for the pipeline's current release, and names that.
func (d declaration) expand(p *pipeline.Pipeline, stage string) (pipeline.Expanded, string, error) {
	current, err := lock.Current(d.files, p.Lock)
	if err != nil {
		return pipeline.Expanded{}, "", err
	}
	declared, err := p.Expand(stage, current.Lock, d.files)
	return declared, current.Lock.ReleaseID, err
}

func (a *app) status(ctx context.Context, names []string, policyRef string) error {
	d, err := a.declared(ctx, policyRef)
	if err != nil {
		return err
	}
	if err := d.checkStages(names); err != nil {
		return err
	}
	results := statusResults{}
	var group errgroup.Group
	group.SetLimit(statusConcurrency)
	for _, p := range d.pipelines {
		stages := stagesOf(p, names)
		if len(stages) == 0 {
			continue
		}
		r := statusResult{Pipeline: p.Name, Stages: make([]stageStatus, len(stages))}
		for i, stage := range stages {
			group.Go(func() error {
				r.Stages[i] = d.status(ctx, p, stage)
				return nil
			})
		}
		results = append(results, r)
	}
	_ = group.Wait()
	if err := ctx.Err(); err != nil {
		return stopped(ctx, err)
	}
	var errs []error
	for _, r := range results {
		for _, s := range r.Stages {
			if s.err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: %w", r.Pipeline, s.Stage, s.err))
			}
		}
	}
	a.emit(results)
	return errors.Join(errs...)
}

func (d declaration) status(ctx context.Context, p *pipeline.Pipeline, stage string) stageStatus {
	r := stageStatus{Stage: stage}
	declared, release, err := d.expand(p, stage)
	if err == nil {
		var s live.Status
		s, err = live.Survey(ctx, d.files, declared, release, d.client, d.workspace.Repository)
		r.fill(s, release)
		if err == nil && live.Promotes(declared) {
			r.Drift = s.Drift()
			if ok, reason := s.Consistent(declared); !ok {
				r.note = reason
			}
		}
	}
	switch {
	case err != nil:
		r.err, r.Error = err, err.Error()
		if errors.Is(err, live.ErrBroken) {
			r.err = reported{exitDenied, err}
		}
	case r.Drift:
		r.err = reported{exitDenied, errors.New(r.note)}
	}
	return r
}

func (s *stageStatus) fill(from live.Status, release string) {
	s.Tag = from.Tag
	s.Candidate = &shownRelease{release, from.Candidate}
	if from.Live != nil {
		s.Live = &liveStatus{shownRelease{from.Live.To.Release, from.Live.To.Digest}, from.Live.Time}
	}
	if from.Unpromoted != nil {
		s.Unpromoted = &shownRelease{from.Unpromoted.Lockage.Release, from.Unpromoted.Digest()}
	}
	if b := from.Branch; b != nil {
		s.Branch = &branchStatus{b.Name, string(b.Commit), b.InSync}
	}
}

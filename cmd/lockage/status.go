package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/promote/live"
)

type statusResults []statusResult

type statusResult struct {
	Pipeline string        `json:"pipeline"`
	Newest   string        `json:"newest,omitempty"` // the release that current.yaml went back from
	Note     string        `json:"note,omitempty"`   // why there is nothing of any stage, if the run does not fail by that
	Stages   []stageStatus `json:"stages"`
}

type stageStatus struct {
	Stage      string        `json:"stage"`
	Live       *liveStatus   `json:"live,omitempty"`
	Tag        digest.Digest `json:"tag,omitempty"`
	Candidate  *shownRelease `json:"candidate,omitempty"`
	Stale      string        `json:"stale,omitempty"` // why the candidate is older than what it would be made from
	Branch     *live.Branch  `json:"branch,omitempty"`
	Drift      bool          `json:"drift"`
	Unpromoted *shownRelease `json:"unpromoted,omitempty"` // on the live ref
	Error      string        `json:"error,omitempty"`

	wide  bool
	note  string   // about drift, for Text
	after []string // the stages before it
	err   error
}

type liveStatus struct {
	shownRelease
	Since time.Time `json:"since"`
}

type shownRelease struct {
	Release string        `json:"release,omitempty"`
	Digest  digest.Digest `json:"digest,omitempty"`
	Input   digest.Digest `json:"inputDigest,omitempty"`
}

func (rs statusResults) Text(w io.Writer) {
	var outcomes []string
	for i, r := range rs {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, r.Pipeline)
		if r.Note != "" {
			fmt.Fprintf(w, "  %s\n", r.Note)
		}
		if note := r.wentBack(); note != "" {
			fmt.Fprintf(w, "  %s\n", note)
		}
		if len(r.Stages) == 0 {
			continue
		}
		table(w, func(w io.Writer) {
			fmt.Fprintln(w, "  STAGE\tLIVE\tSINCE\tTAG\tCANDIDATE\tBRANCH")
			for _, s := range r.Stages {
				live, since := s.live()
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%s\n", s.Stage, live, since, s.tag(), s.candidate(), s.branch())
			}
		})
		for _, s := range r.Stages {
			outcomes = append(outcomes, s.outcome())
		}
		notes, stages := r.notes()
		for _, note := range notes {
			fmt.Fprintf(w, "  %s: %s\n", few(stages[note]), strings.ReplaceAll(note, "\n", "\n  "))
		}
	}
	summarize(w, outcomes)
}

// wentBack describes a current.yaml that went back; "" for one that did not.
func (r statusResult) wentBack() string {
	if r.Newest == "" {
		return ""
	}
	return fmt.Sprintf("current.yaml went back from %s: nothing follows it; the way back is `lockage rollback`", r.Newest)
}

// notes returns what there is to say beside the rows, once if it is the same but for the names of stages, and those stages.
func (r statusResult) notes() (notes []string, stages map[string][]string) {
	stages = map[string][]string{}
	alike := map[string]string{}
	for _, s := range r.Stages {
		for _, note := range []string{s.note, s.Stale, s.Error} {
			if note == "" {
				continue
			}
			key := strings.ReplaceAll(note, s.Stage, "{stage}")
			if alike[key] == "" {
				alike[key], notes = note, append(notes, note)
			}
			stages[alike[key]] = append(stages[alike[key]], s.Stage)
		}
	}
	return notes, stages
}

// outcome is what the summary counts a stage as.
func (s stageStatus) outcome() string {
	switch {
	case s.Drift:
		return "drifted"
	case s.err != nil:
		return "unknown"
	case s.Live == nil:
		return "with nothing live"
	case s.Stale != "" || s.Candidate != nil && s.Candidate.Digest == "":
		return "not hydrated"
	}
	return "in order"
}

// id returns a release or digest as the width of the text allows: columns are aligned with short ones.
func (s stageStatus) id(whole string) string {
	if s.wide {
		return whole
	}
	return strings.TrimPrefix(short(whole), "sha256:")
}

// name names a release, and which hydration of it that is, if another one is live or the candidate.
func (s stageStatus) name(r shownRelease) string {
	name := s.id(r.Release)
	if s.Live != nil && s.Candidate != nil && s.Live.Release == s.Candidate.Release && s.Candidate.Digest != "" && s.Live.Digest != s.Candidate.Digest {
		return lock.Hydration(name, r.Input)
	}
	return name
}

func (s stageStatus) live() (release, since string) {
	switch {
	case s.Live != nil:
		return s.name(s.Live.shownRelease), s.Live.Since.UTC().Format("2006-01-02 15:04")
	case s.err != nil:
		return "?", "-"
	}
	return "-", "-"
}

func (s stageStatus) tag() string {
	switch {
	case s.Drift:
		return "DRIFT"
	case s.err != nil:
		return "?"
	case s.Tag == "":
		return "-"
	case s.Live == nil && s.Tag.Validate() == nil:
		return s.id(s.Tag.String())
	case s.Live == nil:
		return "-"
	}
	return "ok"
}

func (s stageStatus) candidate() string {
	switch {
	case s.Candidate == nil:
		return "-"
	case s.Candidate.Digest == "" && s.err != nil:
		return s.name(*s.Candidate) + " ?"
	case s.Candidate.Digest == "":
		return s.name(*s.Candidate) + " (not hydrated)"
	case s.Stale != "":
		return s.name(*s.Candidate) + " (stale)"
	case s.Live != nil && s.Live.Digest == s.Candidate.Digest:
		return s.name(*s.Candidate) + " (live)"
	}
	return s.name(*s.Candidate)
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

// statusConcurrency bounds the stages that are read at the same time: most of that is waiting for servers.
const statusConcurrency = 32

func newStatusCommand(a *app) *cobra.Command {
	var panel commenter
	var html string
	cmd := &cobra.Command{
		Use:   "status [STAGE...]",
		Short: "Show what is live, what comes next, and what has drifted",
		Long: `Status shows for each stage what is live, since when, whether the registry's tag agrees, the candidate of the current
release, whether its inputs changed since it was hydrated (stale), and whether the stage branch is in sync. The live ref says what is
live, and the promoter's record proves it. Pipelines and keys are read at the policy ref, whatever is checked out.

With -o mermaid it prints the graph of the stages of each pipeline in Mermaid's language, which GitHub, GitLab and Gitea draw.

With --comment the same is on a pull request, as a graph and a table, in one comment that each run brings up to date.

With --html it is a static site, which any web server, bucket or folder serves: the graph of the stages, and for each release a page
with its verdicts, what it changes, its provenance, signatures and promotions. What promote would find is asked of a dry run.

The exit status is 3 if a tag was moved by hand, or if the record of what is live is broken.`,
		Example: `  lockage status
  lockage status production -o json
  lockage status -o mermaid
  lockage status -f 'apps/*/lockage.yaml'
  lockage status --comment --pull-request 17
  lockage status -f 'apps/*/lockage.yaml' --html public`,
		RunE: func(cmd *cobra.Command, stages []string) error { return a.status(cmd.Context(), stages, &panel, html) },
	}
	a.policyFlag(cmd)
	cmd.Flags().StringVar(&html, "html", "", "folder `DIR` for a static site: new, empty, or with the site of an earlier run")
	a.shardFlag(cmd, "")
	panel.flags(cmd.Flags(), "")
	return cmd
}

func (a *app) status(ctx context.Context, names []string, panel *commenter, html string) error {
	if err := panel.validate(); err != nil {
		return err
	}
	if html != "" {
		if a.part.Of > 0 {
			return usagef("--html writes one site of all stages, and replaces the one before: leave --shard out")
		}
		if err := checkBoard(html); err != nil {
			return err
		}
	}
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	if err := d.checkStages(names); err != nil {
		return err
	}
	d.pipelines = a.part.Select(d.pipelines)
	if panel.wanted {
		if err := panel.open(ctx, d.policyRef, a.marker(d.workspace.Root(), "status", "status", names)); err != nil {
			return err
		}
	}
	results, err := a.survey(ctx, d, names)
	if err != nil {
		return err
	}
	switch {
	case a.format == formatMermaid:
		a.emitVerbatim(graphs(results))
	case len(results) == 0 && a.part.Of > 0:
		a.emit(nothing(fmt.Sprintf("Part %s has none of the stages.", a.part)))
	case len(results) == 0:
		a.emit(nothing("There is no stage: all are disabled."))
	default:
		a.emit(results)
	}
	err = results.err()
	if html != "" {
		err = errors.Join(err, a.writeBoard(ctx, d, results, html))
	}
	if panel.wanted {
		change, cerr := panel.status(ctx, results)
		if cerr == nil {
			a.step(fmt.Sprintf("comment on pull request %d %s", panel.number, change))
		}
		err = errors.Join(err, cerr)
	}
	return err
}

// survey reads what the stages have.
func (a *app) survey(ctx context.Context, d declaration, names []string) (statusResults, error) {
	results := statusResults{}
	d.policyRef.Expect(d.pipelines)
	var group errgroup.Group
	group.SetLimit(statusConcurrency)
	for _, p := range d.pipelines {
		stages := slices.DeleteFunc(p.Order(), func(s string) bool { return len(names) > 0 && !p.Names(s, names...) })
		if len(stages) == 0 {
			continue
		}
		r := statusResult{Pipeline: p.Name, Stages: make([]stageStatus, len(stages))}
		current, err := p.CurrentLock(d.files)
		if r.Note, _ = unreleased(err); err == nil {
			if r.Newest, err = d.policyRef.Newer(ctx, p.Lock, current.ReleaseID); err != nil {
				_ = group.Wait()
				return nil, named(err, p.Name)
			}
		}
		for i, stage := range stages {
			if r.Note != "" {
				r.Stages[i] = stageStatus{Stage: stage}
				continue
			}
			group.Go(func() error {
				r.Stages[i] = d.status(ctx, p, stage)
				r.Stages[i].wide = a.format == "wide"
				return nil
			})
		}
		results = append(results, r)
	}
	_ = group.Wait()
	if len(names) == 0 {
		results = append(results, unread(a.leftOut)...)
	}
	return results, ctx.Err()
}

// unread returns a result for each pipeline file that has mistakes, under the file's name: which stages it declares is not known.
func unread(problems error) (rs statusResults) {
	var all strictyaml.Problems
	if !errors.As(problems, &all) {
		return nil
	}
	mistakes := map[string]int{}
	for _, p := range all {
		if mistakes[p.File]++; mistakes[p.File] == 1 {
			rs = append(rs, statusResult{Pipeline: p.File, Stages: []stageStatus{}})
		}
	}
	for i, r := range rs {
		rs[i].Note = fmt.Sprintf("not known: the file has %s, see the error", counted(mistakes[r.Pipeline], "mistake"))
	}
	return rs
}

// err returns what is wrong with the stages.
func (rs statusResults) err() error {
	var errs []error
	for _, r := range rs {
		for _, s := range r.Stages {
			if s.err != nil {
				name := r.Pipeline + "/" + s.Stage
				errs = append(errs, beside{fmt.Errorf("%s: %w", name, s.err), name, s.outcome()})
			}
		}
	}
	return errors.Join(errs...)
}

func (d declaration) status(ctx context.Context, p *pipeline.Pipeline, stage string) stageStatus {
	of, _ := p.Stage(stage)
	r := stageStatus{Stage: stage, after: of.After.Stages}
	declared, release, unreadable := d.expand(p, stage)
	if unreadable != nil {
		var err error
		if declared, release, err = d.expandAny(p, stage); err != nil {
			r.err, r.Error = unreadable, unreadable.Error()
			return r
		}
	}
	s, err := live.Survey(ctx, d.files, d.policyRef, declared, release, d.client, d.workspace.Repository, time.Now())
	r.Tag, r.Branch, r.Stale = s.Tag, s.Branch, s.Stale
	r.Candidate = &shownRelease{release, s.Candidate, s.Input}
	if unreadable != nil {
		r.Candidate, r.Stale, r.Branch, err = nil, "", nil, unreadable
	}
	if s.Live != nil {
		r.Live = &liveStatus{shownRelease{s.Live.To.Release, s.Live.To.Digest, s.LiveInput}, s.Since}
	}
	if s.Unpromoted != nil {
		r.Unpromoted = &shownRelease{Release: s.Unpromoted.Lockage.Release, Digest: s.Unpromoted.Digest()}
	}
	if err != nil {
		r.err, r.Error = err, err.Error()
		return r
	}
	if ok, reason := s.Consistent(declared); !ok && live.Promotes(declared) {
		r.note = reason
	}
	if r.Drift = live.Promotes(declared) && s.Drift(); r.Drift {
		r.err = reported{exitDenied, errors.New(r.note)}
	}
	return r
}

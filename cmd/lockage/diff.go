package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/promote/sides"
)

type diffResults struct {
	stages   []stagediff.Change
	rest     string // text after the stages
	color    bool
	markdown bool
	wide     bool // with whole ids and all names
	limit    int
}

// alikeShown is how many stages with an equal change the text names.
const alikeShown = 200

// MarshalJSON returns the list of stages.
func (rs diffResults) MarshalJSON() ([]byte, error) { return json.Marshal(rs.stages) }

func (rs diffResults) Text(w io.Writer) {
	var b strings.Builder
	if err := rs.write(&b); err != nil {
		fmt.Fprintln(&b, err)
	}
	if rs.rest != "" {
		fmt.Fprintln(&b, rs.rest)
	}
	text := b.String()
	if !rs.color { // else a terminal reads it, and all that is not ours is escaped already
		text = harmless(text)
	}
	_, _ = io.WriteString(w, text) // the writer's own errors show at the end of the run
}

func (rs diffResults) write(w io.Writer) error {
	if rs.markdown && len(rs.stages) > 0 {
		return stagediff.WriteMarkdown(w, rs.stages, diff.MarkdownOptions{Limit: rs.limit})
	}
	shorten, most := func(text string) string { return wrap(short(text)) }, alikeShown
	if rs.wide {
		shorten, most = func(text string) string { return text }, len(rs.stages)
	}
	for i, s := range stagediff.Groups(rs.stages) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w, shorten("== "+s.Title()))
		if others := s.Others(most); others != "" {
			fmt.Fprintln(w, shorten("   "+others))
		}
		fmt.Fprintln(w)
		if s.Uncompared != "" {
			fmt.Fprintf(w, "not compared: %s\n", terminal.Escape(s.Uncompared, "\n"))
		} else if err := s.Changes.WriteText(w, diff.TextOptions{Color: rs.color}); err != nil {
			return err
		}
	}
	return nil
}

func newDiffCommand(a *app) *cobra.Command {
	var d differ
	cmd := &cobra.Command{
		Use:   "diff STAGE|RELEASE | diff A B | diff --base REV|--commit COMMIT|--lock FILE|--set-render KEY=VALUE [STAGE...]",
		Short: "Show what a change does to the stages, object by object",
		Long: `Diff compares the manifests of stages, object by object: a summary, the changes that need a reviewer's attention, and the
changed fields. It needs no key, and publishes nothing.

  diff STAGE                    what promoting the candidate would change: the candidate against what is live
  diff RELEASE                  the same for a release, in all stages
  diff A B                      any two of those below
  diff --base REV               what HEAD changes against another commit of the GitOps repository, in all affected stages
  diff --commit COMMIT          what another source commit would change against the locked one
  diff --lock FILE              what another lock would change against the current one, such as its images
  diff --set-render KEY=VALUE   what another render option would change at HEAD, and which stages it would not change

A and B are each one of
  STAGE, candidate:STAGE its candidate of the current release, or of --release
  live:STAGE             what is live in it, according to verified records
  git-<4 to 40 hex>      a release: its candidates for all stages, compared stage by stage
  git-…@<4 hex>          one hydration of a release, by the first digits of its input digest
  branch:NAME            the files at the head of a stage branch, live ref or review branch, not verified
  REFERENCE              REPOSITORY:TAG or REPOSITORY@DIGEST; two of these need no checkout
For these, pipelines, locks and identities are read from the policy ref, as for verify. Two stages are compared in all
pipelines that have both.

With --base, stages that cannot be rendered at REV are named, and only rendered at HEAD: a change that mends them passes.
A change that stages have in common is shown once, with their names. Without --all, versions and checksums in labels and annotations
that nothing uses are only counted, equal changes are shown once, and schemas without descriptions.`,
		Example: `  lockage diff --base origin/main
  lockage diff --base origin/main --comment
  lockage diff --commit "$GITHUB_SHA" production
  lockage diff --set-render hooks=none -f 'apps/*/lockage.yaml'
  lockage diff production
  lockage diff live:staging live:production
  lockage diff git-1a2b3c git-4d5e6f --markdown`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.app, d.args = a, args
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.base, "base", "", "`REV` of the GitOps repository to compare HEAD with")
	f.StringVar(&d.commit, "commit", "", "source `COMMIT` to compare the locked one with, 40 hex digits")
	f.StringVar(&d.lock, "lock", "", "lock `FILE` to compare the current lock with, committed or not")
	f.StringArrayVar(&d.setRender, "set-render", nil, "render option `KEY=VALUE`, the value in YAML, to compare with those of the pipeline files; repeatable")
	releaseFlag(cmd, &d.release, "release", "release of a STAGE's candidate, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	a.policyFlag(cmd)
	f.BoolVar(&d.worktree, "worktree", false, "with --base or --set-render: files as they are on disk, committed or not, instead of HEAD")
	f.BoolVar(&d.options.All, "all", false, "every change, those of every release included, field by field")
	f.StringArrayVar(&d.options.Noise, "noise", nil, "`PATTERN` of fields that change with every release, instead of the usual ones; repeatable")
	f.BoolVar(&d.markdown, "markdown", false, "Markdown, for a pull request")
	f.IntVar(&d.limit, "limit", diff.MarkdownLimit, "with --markdown: maximum number of `BYTES`")
	f.StringVar(&d.html, "html", "", "folder `DIR` for one HTML page per stage, which must be new or empty")
	d.comment.flags(f, "with --base, --commit or --lock: ")
	f.BoolVar(&d.exitCode, "exit-code", false, "exit status 4 if there are changes")
	return cmd
}

type differ struct {
	app                          *app
	args                         []string
	names                        []sides.Name // of the arguments
	setRender                    []string
	overrides                    pipeline.Overrides // of setRender
	head                         fs.FS              // what is compared with the base
	unchanged                    []string           // stages that get the same manifests from other inputs
	base, commit, lock           string
	release, html                string
	worktree, markdown, exitCode bool
	comment                      commenter
	limit                        int
	options                      diff.Options
}

func (d *differ) run(ctx context.Context) error {
	if err := d.check(); err != nil {
		return err
	}
	if err := d.openComment(ctx); err != nil {
		return err
	}
	stages, err := d.compare(ctx)
	if err != nil && len(stages) == 0 {
		return err
	}
	if d.comment.wanted {
		change, cerr := d.comment.changes(ctx, stages, err)
		if cerr == nil {
			d.app.step(fmt.Sprintf("comment on pull request %d %s", d.comment.number, change))
		}
		err = errors.Join(err, cerr)
	}
	if d.html != "" {
		if herr := d.writeHTML(stages); herr != nil {
			return errors.Join(err, herr)
		}
	}
	d.app.emitVerbatim(diffResults{stages: stages, rest: d.rest(stages), color: d.color(), markdown: d.markdown, wide: d.app.format == "wide", limit: d.limit})
	if err == nil && d.exitCode && len(stages) > 0 {
		return reported{exitChange, errors.New(counted(len(stages), "stage") + " changed")}
	}
	return err
}

// rest returns what there is to say beside the stages that change.
func (d *differ) rest(changes []stagediff.Change) string {
	switch {
	case len(d.unchanged) > 0:
		return d.unchangedLine(len(changes) > 0)
	case len(changes) > 0:
		return ""
	case d.named():
		return "Both are the same."
	}
	return "No stage is affected."
}

// named reports whether the arguments name what is compared.
func (d *differ) named() bool {
	return d.base == "" && d.commit == "" && d.lock == "" && len(d.setRender) == 0
}

func (d *differ) check() error {
	switch {
	case d.named() && len(d.args) != 1 && len(d.args) != 2:
		return usagef("name a STAGE or RELEASE, or two sides to compare, or use --base REV, --commit COMMIT, --lock FILE or --set-render KEY=VALUE")
	case !d.named() && (d.release != "" || d.app.policy != ""):
		return usagef("--release and --policy exclude --base, --commit, --lock and --set-render")
	case len(slices.DeleteFunc([]string{d.base, d.commit, d.lock, strings.Join(d.setRender, "")}, func(given string) bool { return given == "" })) > 1:
		return usagef("--base, --commit, --lock and --set-render exclude each other")
	case d.comment.wanted && (d.base == "" && d.commit == "" && d.lock == "" || d.worktree):
		return usagef("--comment needs --base, --commit or --lock, and excludes --worktree")
	case d.worktree && d.base == "" && len(d.setRender) == 0:
		return usagef("--worktree needs --base or --set-render")
	}
	if err := d.comment.validate(); err != nil {
		return err
	}
	var err error
	if d.overrides, err = pipeline.ParseOverrides("--set-render", d.setRender); err != nil {
		return err
	}
	if d.commit != "" {
		if _, err := git.ParseHash(d.commit); err != nil {
			return usagef("--commit: %w", err)
		}
		return nil
	}
	if !d.named() {
		return nil
	}
	for _, arg := range d.args {
		name, err := sides.Parse(arg)
		if err != nil {
			return usageError{err}
		}
		d.names = append(d.names, name)
	}
	only := d.names[0]
	switch {
	case len(d.names) == 1 && only.Kind != sides.Stage && only.Kind != sides.Release:
		return usagef("%s is %s: name a second side, or a STAGE or RELEASE alone to compare it with what is live", only.Text, only.Kind)
	case d.release != "" && !slices.ContainsFunc(d.names, func(n sides.Name) bool { return n.Kind == sides.Stage }):
		return usagef("--release needs a STAGE, whose candidate it selects")
	}
	return nil
}

func (d *differ) compare(ctx context.Context) ([]stagediff.Change, error) {
	if d.named() {
		return d.compareNamed(ctx)
	}
	w, err := d.app.workspace(ctx)
	if err != nil {
		return nil, err
	}
	if d.head, err = headFiles(ctx, w, d.worktree); err != nil {
		return nil, err
	}
	before, after := plan.Request{Files: d.head, Stages: d.args}, plan.Request{Files: d.head, Stages: d.args, Commit: d.commit}
	if d.base != "" {
		if before.Files, err = w.At(ctx, d.base); err != nil {
			return nil, fmt.Errorf("%w; is it fetched? CI checks out the newest commit of one branch: set fetch-depth: 0 (GitHub), GIT_DEPTH: 0 (GitLab), or run git fetch", err)
		}
	}
	var warnings hydrate.Warnings
	defer func() { d.app.warnEach(warnings.Lines()) }()
	earlier, later := stagediff.Plan{}, stagediff.Plan{Warnings: &warnings}
	if after.Lock, err = d.otherLock(); err == nil {
		later.Releases, err = d.app.planOverridden(ctx, w, after, d.overrides)
	}
	if err == nil && d.lock != "" && len(later.Releases) != 1 {
		err = usagef("%d pipelines match, and a lock is of one: name it with -f", len(later.Releases))
	}
	if err == nil && !d.worktree {
		err = d.app.warnUncommitted(ctx, w, later.Releases)
	}
	if err != nil {
		return nil, err
	}
	earlier.MayFail, before.Beside = d.base != "", later.Releases
	if earlier.Releases, err = d.earlier(ctx, w, before); err != nil && (!earlier.MayFail || ctx.Err() != nil) {
		return nil, err
	}
	earlier.Err = err
	if len(d.setRender) > 0 {
		later.With = "with " + strings.Join(d.setRender, ", ")
	}
	changes, unaffected, err := stagediff.ComparePlans(ctx, earlier, later, d.options)
	if len(d.setRender) > 0 {
		d.unchanged = unaffected
	}
	return slices.DeleteFunc(changes, func(c stagediff.Change) bool {
		same := c.Changes.Empty() && c.Uncompared == ""
		if same {
			d.unchanged = append(d.unchanged, c.Name())
		}
		return same
	}), err
}

// otherLock reads the lock to compare the current one with; nil for none.
func (d *differ) otherLock() (*lock.File, error) {
	if d.lock == "" {
		return nil, nil //nolint:nilnil // the current one alone is meant
	}
	data, err := strictyaml.ReadFile(os.DirFS(filepath.Dir(d.lock)), filepath.Base(d.lock))
	var file *fs.PathError
	if errors.As(err, &file) {
		return nil, usagef("--lock %s: %w", d.lock, file.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("--lock: %w", err)
	}
	parsed, err := lock.Parse(d.lock, data)
	return &lock.File{Lock: parsed, Path: d.lock, Data: data, Digest: digest.FromBytes(data)}, err
}

// unchangedLine counts the stages without a change, and names them if there are others: all of them where somebody asks for that.
func (d *differ) unchangedLine(others bool) string {
	stages := slices.Sorted(slices.Values(d.unchanged))
	pipelines := map[string]bool{}
	for _, stage := range stages {
		pipelines[path.Dir(stage)] = true
	}
	line := counted(len(stages), "stage") + " of " + counted(len(pipelines), "pipeline") + ": no change"
	switch {
	case others && len(d.setRender) > 0:
		line += " (" + strings.Join(stages, ", ") + ")"
	case others:
		line += " (" + few(stages) + ")"
	}
	return wrap(line)
}

// compareNamed compares the two sides that the arguments name, or one with what is live.
func (d *differ) compareNamed(ctx context.Context) ([]stagediff.Change, error) {
	finder := sides.Finder{Release: d.release, Warn: d.app.warning}
	if slices.ContainsFunc(d.names, func(n sides.Name) bool { return n.Kind != sides.Reference }) {
		declared, err := d.app.declared(ctx)
		if err != nil {
			return nil, err
		}
		finder.Client, finder.Remotes = declared.client, declared.workspace.Repository
		finder.Files, finder.PolicyRef, finder.Pipelines = declared.files, declared.policyRef, declared.pipelines
	} else {
		finder.Client = d.app.registries(d.app.dir) // references need no checkout
	}
	before, after, err := finder.Find(ctx, d.names...)
	if err != nil {
		return nil, err
	}
	comparisons, err := stagediff.Match(before, after)
	if err != nil {
		return nil, err
	}
	return stagediff.Compare(ctx, comparisons, d.options)
}

// earlier plans the stages before the change; none if the pipeline file or the stage did not exist yet.
func (d *differ) earlier(ctx context.Context, w *workspace.Workspace, request plan.Request) (releases []plan.Release, err error) {
	if d.base != "" {
		request.Pipelines, releases, err = d.pipelinesBefore(w, request)
	}
	if err == nil {
		var planned []plan.Release
		planned, err = d.app.plan(ctx, w, request)
		releases = append(releases, planned...)
	}
	var selected *workspace.SelectionError
	if errors.As(err, &selected) || errors.Is(err, pipeline.ErrNoStage) {
		return releases, nil
	}
	if err != nil && d.base != "" {
		err = fmt.Errorf("at %s: %w", d.base, err)
	}
	return releases, err
}

// pipelinesBefore reads the pipelines at the base, but for those whose files cannot be read any more. A file that could not be read there
// is why nothing is known of its own pipeline.
func (d *differ) pipelinesBefore(w *workspace.Workspace, request plan.Request) (known []*pipeline.Pipeline, broken []plan.Release, err error) {
	known, err = w.Pipelines(request.Files, d.app.files)
	var problems strictyaml.Problems
	if err != nil && (len(known) == 0 || !errors.As(err, &problems)) {
		return nil, nil, err
	}
	for _, after := range request.Beside {
		file := after.Pipeline.File
		_, absent := fs.Stat(request.Files, file)
		if absent == nil && !slices.ContainsFunc(known, func(p *pipeline.Pipeline) bool { return p.File == file }) {
			broken = append(broken, plan.Release{Pipeline: after.Pipeline, Err: fmt.Errorf("at %s: %w", d.base, problems)})
		}
	}
	return slices.DeleteFunc(known, func(p *pipeline.Pipeline) bool {
		_, absent := fs.Stat(d.head, p.File)
		return absent == nil && !slices.ContainsFunc(request.Beside, func(r plan.Release) bool { return r.Pipeline.File == p.File })
	}), broken, nil
}

// color reports whether standard output is a terminal and the user wants colours.
func (d *differ) color() bool {
	f, ok := d.app.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

func (d *differ) writeHTML(stages []stagediff.Change) error {
	pages := map[string][]byte{}
	for _, s := range stages {
		if s.Uncompared != "" {
			continue
		}
		var page bytes.Buffer
		if err := s.Changes.WriteHTML(&page, diff.HTMLOptions{Title: cmp.Or(s.Name(), "Changes"), Before: cmp.Or(s.Before, "nothing"), After: cmp.Or(s.After, "nothing")}); err != nil {
			return err
		}
		name := cmp.Or(strings.Trim(s.Pipeline+"-"+s.Stage, "-"), "changes")
		pages[strings.NewReplacer("/", "-", ":", "-", "@", "-").Replace(name)+".html"] = page.Bytes()
	}
	if err := os.MkdirAll(d.html, 0o755); err != nil { //nolint:gosec // manifests are public
		return err
	}
	for name, page := range pages {
		if err := writeNew(filepath.Join(d.html, name), page, 0o644); err != nil {
			return err
		}
	}
	return nil
}

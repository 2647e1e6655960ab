package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
)

type diffResults struct {
	stages   []stagediff.Stage
	none     string // what is said where no stage changes
	color    bool
	markdown bool
	limit    int
}

// MarshalJSON gives the list of stages.
func (rs diffResults) MarshalJSON() ([]byte, error) { return json.Marshal(rs.stages) }

func (diffResults) verbatim() {}

func (rs diffResults) Text(w io.Writer) {
	if len(rs.stages) == 0 {
		fmt.Fprintln(w, rs.none)
		return
	}
	if rs.markdown {
		if err := stagediff.WriteMarkdown(w, rs.stages, diff.MarkdownOptions{Limit: rs.limit}); err != nil {
			fmt.Fprintln(w, err)
		}
		return
	}
	for i, s := range rs.stages {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "== %s\n\n", s.Title())
		if err := s.Changes.WriteText(w, diff.TextOptions{Color: rs.color}); err != nil {
			return // the writer's own errors show at the end of the run
		}
	}
}

func newDiffCommand(a *app) *cobra.Command {
	var d differ
	cmd := &cobra.Command{
		Use:   "diff STAGE|RELEASE | diff A B | diff --base REV|--commit COMMIT [STAGE...]",
		Short: "Show what a change does to the stages, object by object",
		Long: `Diff compares what stages are rendered to, object by object: what it comes to, what a reviewer should not miss, and the
fields that changed. It needs no key, and writes nothing.

  diff STAGE             what promoting the candidate would change: the candidate against what is live
  diff RELEASE           the same for a release, in all stages
  diff A B               any two of those below
  diff --base REV        what HEAD changes against another commit of the GitOps repository, in all affected stages
  diff --commit COMMIT   what another source commit would change against the locked one

A and B are each one of
  STAGE                  its candidate of the current release, or of --release
  live:STAGE             what is live in it, as verified records say
  git-<4 to 40 hex>      a release: its candidates for all stages, compared stage by stage
  branch:NAME            the files at the head of a stage branch, live ref or review branch, whoever put them there
  REFERENCE              REPOSITORY:TAG or REPOSITORY@DIGEST; two of these need no checkout
Pipelines, locks and identities are read from the policy ref then, as for verify. Two stages are compared in all pipelines
that have both.

Labels and annotations that change with every release are counted and not shown, what changed alike is shown once, and
schemas in outline, unless --all is given.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.app, d.args = a, args
			return d.run(cmd.Context())
		},
		ValidArgsFunction: completeStages(a),
	}
	f := cmd.Flags()
	f.StringVar(&d.base, "base", "", "compare HEAD with this `REV` of the GitOps repository")
	f.StringVar(&d.commit, "commit", "", "compare the locked source commit with this `COMMIT`, 40 hex digits")
	f.StringVar(&d.release, "release", "", "a STAGE's candidate of this `RELEASE`, git-<40 hex>")
	f.StringVar(&d.policy, "policy", "", "the trusted branch, `REMOTE@REF` (default: the remote's default branch)")
	f.BoolVar(&d.worktree, "worktree", false, "with --base: compare the files as they lie on disk, committed or not, instead of HEAD")
	f.BoolVar(&d.options.All, "all", false, "show what changes with every release too, and every field by itself")
	f.StringArrayVar(&d.options.Noise, "noise", nil, "a `PATTERN` of fields that change with every release, instead of the usual ones; repeatable")
	f.BoolVar(&d.markdown, "markdown", false, "write Markdown, for a pull request")
	f.IntVar(&d.limit, "limit", diff.MarkdownLimit, "with --markdown: `BYTES` at the most")
	f.StringVar(&d.html, "html", "", "write one HTML page a stage to this `DIR`, which must be new or empty")
	f.BoolVar(&d.comment, "comment", false, "with --base or --commit: keep a comment on the pull request of this CI job up to date; wants an API token")
	f.IntVar(&d.pullRequest, "pull-request", 0, "with --comment: the `NUMBER` of the pull request (default: that of the CI job)")
	f.BoolVar(&d.exitCode, "exit-code", false, "end with exit status 4 if there are changes")
	return cmd
}

type differ struct {
	app      *app
	args     []string
	base     string
	commit   string
	release  string
	policy   string
	worktree bool
	options  diff.Options
	markdown bool
	limit    int
	html     string
	exitCode bool

	comment     bool
	pullRequest int
}

func (d *differ) run(ctx context.Context) error {
	named := d.base == "" && d.commit == ""
	if named && len(d.args) != 1 && len(d.args) != 2 {
		return usagef("diff wants a STAGE, two things to compare, --base REV, or --commit COMMIT")
	}
	if !named && (d.release != "" || d.policy != "") {
		return usagef("--release and --policy go with what is named, and not with --base or --commit")
	}
	if d.base != "" && d.commit != "" {
		return usagef("--base and --commit are two questions: ask one at a time")
	}
	if d.comment && (named || d.worktree) {
		return usagef("--comment goes with --base or --commit, and what is committed")
	}
	if d.pullRequest != 0 && !d.comment || d.pullRequest < 0 {
		return usagef("--pull-request is a number that goes with --comment")
	}
	if d.worktree && d.base == "" {
		return usagef("--worktree goes with --base")
	}
	if d.commit != "" {
		if _, err := git.ParseHash(d.commit); err != nil {
			return usagef("--commit: %w", err)
		}
	}
	comment, err := d.openComment(ctx)
	if err != nil {
		return err
	}
	stages, err := d.compare(ctx)
	if err != nil && len(stages) == 0 {
		return err
	}
	if comment != nil {
		change, cerr := comment.write(ctx, stages, err)
		if cerr == nil {
			d.app.step("comment on pull request %d %s", comment.number, change)
		}
		err = errors.Join(err, cerr)
	}
	if d.html != "" {
		if herr := d.writeHTML(stages); herr != nil {
			return errors.Join(err, herr)
		}
	}
	none := "No stage is affected."
	if named {
		none = "Both are the same."
	}
	d.app.emit(diffResults{stages: stages, none: none, color: d.color(), markdown: d.markdown, limit: d.limit})
	if err == nil && d.exitCode && len(stages) > 0 {
		return reported{exitChange, fmt.Errorf("%d stages change", len(stages))}
	}
	return err
}

func (d *differ) compare(ctx context.Context) ([]stagediff.Stage, error) {
	if d.base == "" && d.commit == "" {
		return d.named(ctx)
	}
	w, err := d.app.workspace(ctx)
	if err != nil {
		return nil, err
	}
	head, err := w.Files(ctx)
	if d.worktree {
		head, err = w.WorkTree()
	}
	if err != nil {
		return nil, err
	}
	before, after := plan.Request{Files: head, Stages: d.args}, plan.Request{Files: head, Stages: d.args, Commit: d.commit}
	if d.base != "" {
		if before.Files, err = w.At(ctx, d.base); err != nil {
			return nil, err
		}
	}
	later, err := d.app.planAt(ctx, w, after)
	if err != nil {
		return nil, err
	}
	earlier, err := d.earlier(ctx, w, before)
	if err != nil {
		return nil, err
	}
	return stagediff.Plans(ctx, earlier, later, d.options)
}

// earlier plans the stages before the change; where there was no pipeline file yet, or not that stage, there are none.
func (d *differ) earlier(ctx context.Context, w *workspace.Workspace, request plan.Request) ([]plan.Release, error) {
	releases, err := d.app.planAt(ctx, w, request)
	var selected *workspace.SelectionError
	if errors.As(err, &selected) || errors.Is(err, plan.ErrNoStage) {
		return nil, nil
	}
	if err != nil && d.base != "" {
		return nil, fmt.Errorf("at %s: %w", d.base, err)
	}
	return releases, err
}

// color tells whether standard output is a terminal that wants colours.
func (d *differ) color() bool {
	f, ok := d.app.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

// writeHTML writes a page for each stage.
func (d *differ) writeHTML(stages []stagediff.Stage) error {
	pages := map[string][]byte{}
	for _, s := range stages {
		var page bytes.Buffer
		if err := s.Changes.WriteHTML(&page, diff.HTMLOptions{Title: cmp.Or(s.Name(), "Changes"), Before: cmp.Or(s.Before, "nothing"), After: cmp.Or(s.After, "nothing")}); err != nil {
			return err
		}
		name := cmp.Or(strings.Trim(s.Pipeline+"-"+s.Stage, "-"), "changes")
		pages[strings.NewReplacer("/", "-", ":", "-", "@", "-").Replace(name)+".html"] = page.Bytes()
	}
	if err := os.MkdirAll(d.html, 0o755); err != nil { //nolint:gosec // manifests are no secret
		return err
	}
	for name, page := range pages {
		if err := writeNew(filepath.Join(d.html, name), page, 0o644); err != nil {
			return err
		}
	}
	return nil
}

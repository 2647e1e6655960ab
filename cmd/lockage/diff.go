package main

import (
	"bytes"
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

	"github.com/lockage/lockage/gitops"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/plan"
	"github.com/lockage/lockage/review"
)

type diffResults struct {
	stages   []review.Stage
	color    bool
	markdown bool
	limit    int
}

// MarshalJSON gives the list of stages.
func (rs diffResults) MarshalJSON() ([]byte, error) { return json.Marshal(rs.stages) }

func (rs diffResults) Text(w io.Writer) {
	if len(rs.stages) == 0 {
		fmt.Fprintln(w, "No stage is affected.")
		return
	}
	for i, s := range rs.stages {
		if rs.markdown {
			fmt.Fprintf(w, "### `%s`\n\n", s.Title()) // names of stages and releases: nothing to escape
			if err := s.Changes.WriteMarkdown(w, diff.MarkdownOptions{Limit: rs.limit / len(rs.stages)}); err != nil {
				fmt.Fprintln(w, err)
			}
			continue
		}
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
		Use:   "diff --base REV|--commit COMMIT [STAGE...] | diff A B",
		Short: "Show what a change does to the stages, object by object",
		Long: `Diff compares what stages are rendered to, object by object: what it comes to, what a reviewer should not miss, and the
fields that changed. It needs no key, and writes nothing.

  diff --base REV        what HEAD changes against another commit of the GitOps repository, in all affected stages
  diff --commit COMMIT   what another source commit would change against the locked one
  diff A B               two artifacts, each a STAGE (its candidate of the current release) or a REFERENCE

Labels and annotations that change with every release are counted and not shown, unless --all is given.`,
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
	f.BoolVar(&d.worktree, "worktree", false, "with --base: compare the files as they lie on disk, committed or not, instead of HEAD")
	f.BoolVar(&d.options.All, "all", false, "show what changes with every release too")
	f.StringArrayVar(&d.options.Noise, "noise", nil, "a `PATTERN` of fields that change with every release, instead of the usual ones; repeatable")
	f.BoolVar(&d.markdown, "markdown", false, "write Markdown, for a pull request")
	f.IntVar(&d.limit, "limit", diff.MarkdownLimit, "with --markdown: `BYTES` at the most")
	f.StringVar(&d.html, "html", "", "write one HTML page a stage to this `DIR`, which must be new or empty")
	f.BoolVar(&d.exitCode, "exit-code", false, "end with exit status 4 if there are changes")
	return cmd
}

type differ struct {
	app      *app
	args     []string
	base     string
	commit   string
	worktree bool
	options  diff.Options
	markdown bool
	limit    int
	html     string
	exitCode bool
}

func (d *differ) run(ctx context.Context) error {
	if d.base == "" && d.commit == "" && len(d.args) != 2 {
		return usagef("diff wants --base REV, --commit COMMIT, or two artifacts")
	}
	if d.base != "" && d.commit != "" {
		return usagef("--base and --commit are two questions: ask one at a time")
	}
	if d.worktree && d.base == "" {
		return usagef("--worktree goes with --base")
	}
	if d.commit != "" {
		if _, err := git.ParseHash(d.commit); err != nil {
			return usagef("--commit: %w", err)
		}
	}
	stages, err := d.compare(ctx)
	if err != nil && len(stages) == 0 {
		return err
	}
	if d.html != "" {
		if herr := d.writeHTML(stages); herr != nil {
			return errors.Join(err, herr)
		}
	}
	d.app.emit(diffResults{stages: stages, color: d.color(), markdown: d.markdown, limit: d.limit})
	if err == nil && d.exitCode && len(stages) > 0 {
		return reported{exitChange, fmt.Errorf("%d stages change", len(stages))}
	}
	return err
}

func (d *differ) compare(ctx context.Context) ([]review.Stage, error) {
	if d.base == "" && d.commit == "" {
		return d.artifacts(ctx)
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
	return review.Plans(ctx, earlier, later, d.options)
}

// earlier plans the stages before the change; where there was no pipeline file yet, or not that stage, there are none.
func (d *differ) earlier(ctx context.Context, w *gitops.Workspace, request plan.Request) ([]plan.Release, error) {
	releases, err := d.app.planAt(ctx, w, request)
	var selected *gitops.SelectionError
	if errors.As(err, &selected) || errors.Is(err, plan.ErrNoStage) {
		return nil, nil
	}
	if err != nil && d.base != "" {
		return nil, fmt.Errorf("at %s: %w", d.base, err)
	}
	return releases, err
}

// artifacts compares two artifacts of registries.
func (d *differ) artifacts(ctx context.Context) ([]review.Stage, error) {
	var trees [2]*oci.Tree
	var names [2]string
	for i, what := range d.args {
		repository, reference, err := d.app.locate(ctx, what, "")
		if err != nil {
			return nil, err
		}
		manifest, err := repository.ReadArtifact(ctx, reference)
		if err != nil {
			return nil, err
		}
		if trees[i], err = repository.Pull(ctx, manifest); err != nil {
			return nil, err
		}
		names[i] = repository.Reference(reference)
	}
	changes, err := review.Trees(trees[0], trees[1], d.options)
	if err != nil || changes.Empty() {
		return nil, err
	}
	return []review.Stage{{Stage: d.args[1], Before: names[0], After: names[1], Changes: changes}}, nil
}

// color tells whether standard output is a terminal that wants colours.
func (d *differ) color() bool {
	f, ok := d.app.stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
}

// writeHTML writes a page for each stage.
func (d *differ) writeHTML(stages []review.Stage) error {
	pages := map[string][]byte{}
	for _, s := range stages {
		var page bytes.Buffer
		if err := s.Changes.WriteHTML(&page, diff.HTMLOptions{Title: s.Title(), Before: s.Before, After: s.After}); err != nil {
			return err
		}
		name := strings.Trim(s.Pipeline+"-"+s.Stage, "-")
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

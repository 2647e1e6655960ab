package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/publish"
)

type renderResults []renderResult

type renderResult struct {
	Pipeline      string        `json:"pipeline"`
	Stage         string        `json:"stage"`
	Release       string        `json:"release"`
	Digest        digest.Digest `json:"digest"`
	ContentDigest digest.Digest `json:"contentDigest"`
	InputDigest   digest.Digest `json:"inputDigest"`
	Objects       int           `json:"objects"`
	Images        []string      `json:"images"`
	Directory     string        `json:"directory,omitempty"`

	tree *hydrate.Tree
}

func (rs renderResults) Text(w io.Writer) {
	table(w, func(columns io.Writer) {
		for _, r := range rs {
			if r.Directory == "" {
				fmt.Fprintf(w, "# Pipeline: %s, stage: %s, release: %s\n", r.Pipeline, r.Stage, r.Release)
				writeYAML(w, r.tree)
				continue
			}
			fmt.Fprintf(columns, "%s/%s\t%d objects\t%s\n", r.Pipeline, r.Stage, r.Objects, r.Directory)
		}
	})
}

// writeYAML writes all files of a tree as one stream of YAML documents.
func writeYAML(w io.Writer, files fs.FS) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return // a tree in memory
	}
	for _, e := range entries {
		data, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return
		}
		fmt.Fprintf(w, "---\n# File: %s\n%s", e.Name(), data)
	}
}

func newRenderCommand(a *app) *cobra.Command {
	var r rendering
	cmd := &cobra.Command{
		Use:   "render [STAGE...]",
		Short: "Print or write the manifests that hydrate would publish",
		Long: `Render writes the manifests that hydrate would publish to standard output, or as files below a folder. It needs no key
and no policy ref and publishes nothing: use it on a pull request, or with --worktree on work in progress.`,
		Example: `  lockage render staging
  lockage render production --worktree
  lockage render --to manifests/`,
		RunE: func(cmd *cobra.Command, stages []string) error {
			r.app, r.request.Stages = a, stages
			return r.run(cmd.Context())
		},
	}
	releaseFlag(cmd, &r.request.Release, "release", "release to render, an `ID` git-<4 to 40 hex>[-<hex>] (default: the current one)")
	cmd.Flags().BoolVar(&r.worktree, "worktree", false, "files of the GitOps repository as they are on disk, committed or not, instead of HEAD")
	cmd.Flags().StringVar(&r.to, "to", "", "folder `DIR` for the files, as DIR/PIPELINE/STAGE (default: standard output)")
	return cmd
}

type rendering struct {
	app      *app
	request  plan.Request
	worktree bool
	to       string
	warnings hydrate.Warnings
}

func (r *rendering) run(ctx context.Context) error {
	w, err := r.app.workspace(ctx)
	if err != nil {
		return err
	}
	if r.request.Files, err = headFiles(ctx, w, r.worktree); err != nil {
		return err
	}
	if r.request.Pipelines, err = r.app.usable(w.Pipelines(r.request.Files, r.app.files)); err != nil {
		return err
	}
	releases, err := r.app.plan(ctx, w, r.request)
	if err == nil && !r.worktree {
		err = r.app.warnUncommitted(ctx, w, releases)
	}
	if err != nil {
		return err
	}
	results := renderResults{}
	var errs []error
	for _, release := range releases {
		note, err := unreleased(release.Err)
		if note != "" {
			r.app.warn("%s: %s", release.Pipeline.Name, note)
		}
		if err != nil {
			errs = append(errs, named(err, release.Pipeline.Name))
			continue
		}
		for _, s := range release.Stages {
			result, err := r.stage(ctx, release, s)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s/%s: %w", s.Pipeline, s.Name, err))
				continue
			}
			results = append(results, result)
		}
	}
	r.app.warnEach(r.warnings.Lines())
	r.app.emitVerbatim(results)
	return errors.Join(errs...)
}

func (r *rendering) stage(ctx context.Context, release plan.Release, s plan.Stage) (renderResult, error) {
	if s.Err != nil {
		return renderResult{}, s.Err
	}
	rendered, err := s.Render(ctx)
	if err != nil {
		return renderResult{}, err
	}
	r.warnings.Add(s.Pipeline+"/"+s.Name, rendered.Warnings...)
	packed, err := publish.Pack(s.Stage, rendered, release.SourceURL, release.Committed)
	if err != nil {
		return renderResult{}, err
	}
	result := renderResult{
		Pipeline:      s.Pipeline,
		Stage:         s.Name,
		Release:       s.Lock.ReleaseID,
		Digest:        packed.Descriptor.Digest,
		ContentDigest: packed.ContentDigest,
		InputDigest:   s.InputDigest(),
		Objects:       rendered.Objects,
		Images:        rendered.Images,
		tree:          rendered.Tree,
	}
	if r.to != "" {
		result.Directory = filepath.Join(r.to, s.Pipeline, s.Name)
		err = writeDir(result.Directory, rendered.Tree)
	}
	return result, err
}

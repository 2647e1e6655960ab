package main

import (
	"cmp"
	"context"
	"io/fs"
	"path"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock/remotelock"
)

func newLockDiscoverCommand(a *app) *cobra.Command {
	d := lockDiscoverer{lockWriter: lockWriter{app: a}}
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "Record the newest commit of a source branch that has an image",
		Long: `Discover looks for the newest commit of a branch of the source repository for which the image repository holds a tag made
from it, and records it as write does. Without such a commit it fails, and says what it looked for.

It walks along first parents, which is what the branch itself went through: an image that was built on a side branch is not
taken for its merge. With --path, only commits count that touch a path: what lies there differs from what the commit's
first parent has there.

What is not said is taken from the current lock.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.search.Branch, "branch", "", "`BRANCH` of the source repository (default: its default branch)")
	f.StringArrayVar(&d.search.Paths, "path", nil, "`PATH` in the source repository that the commit touches; repeatable, any of them")
	f.StringVar(&d.tag, "tag", "git-{commit}", "`PATTERN` of the image's tag; {commit} is the full commit id")
	f.StringVar(&d.repository, "image", "", "the image's `REPOSITORY`, without a tag (default: the current lock's)")
	f.BoolVar(&d.dryRun, "dry-run", false, "say what would be recorded; write nothing")
	d.addFlags(f)
	return cmd
}

// lockDiscoverer records what it finds.
type lockDiscoverer struct {
	lockWriter
	search     remotelock.Search
	tag        string
	repository string
}

func (d *lockDiscoverer) run(ctx context.Context) error {
	var err error
	if d.search.Tag, err = remotelock.ParsePattern(d.tag); err != nil {
		return usagef("--tag: %w", err)
	}
	for i, p := range d.search.Paths {
		if d.search.Paths[i] = path.Clean(p); !fs.ValidPath(d.search.Paths[i]) {
			return usagef("--path %q: want a path in the source repository, relative to its root", p)
		}
	}
	if err := d.check(); err != nil {
		return err
	}
	if err := d.open(ctx); err != nil {
		return err
	}
	sourceRepo := d.sourceRepo()
	d.repository = cmp.Or(d.repository, d.current.Image.Repository())
	switch {
	case d.repository == "":
		return usagef("--image is missing, and there is no current lock in %s to take it from", d.dir)
	case sourceRepo == "":
		return usagef("--source-repo is missing, and there is no current lock in %s to take it from", d.dir)
	}
	if d.search.Source, err = d.workspace.Repository.Remote(ctx, sourceRepo); err != nil {
		return err
	}
	if d.search.Images, err = d.app.registries("").Repository(d.repository); err != nil {
		return usagef("--image: %w", err)
	}
	commit, err := d.search.Newest(ctx)
	if err != nil {
		return err
	}
	d.lock.GitCommit, d.lock.Image.Ref = string(commit), d.repository+":"+d.search.Tag.Tag(commit)
	return d.record(ctx)
}

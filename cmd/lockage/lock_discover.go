package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/internal/git"
)

func newLockDiscoverCommand(a *app) *cobra.Command {
	d := lockDiscoverer{lockWriter: lockWriter{app: a}}
	cmd := &cobra.Command{
		Use:   "discover",
		Short: "Record the newest commit of a source branch that has an image",
		Long: `Discover looks for the newest commit of a branch of the source repository for which the image repository has a tag, and
records it like write. If no commit has one, it fails and names the tags that it looked for.

It follows first parents, the states of the branch itself: an image that was built on a side branch does not count for its
merge. With --path, only commits count that change something at a path, compared with their first parent.

Values without a flag come from the current lock.`,
		Example: `  lockage lock discover --push
  lockage lock discover --path deploy/chart --path src --tag 'main-{commit}' --push
  lockage lock discover --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&d.search.Branch, "branch", "", "`BRANCH` of the source repository (default: its default branch)")
	f.StringArrayVar(&d.search.Paths, "path", nil, "`PATH` in the source repository that the commit must change; repeatable, one of them is enough")
	f.StringVar(&d.tag, "tag", "git-{commit}", "`PATTERN` of the image's tag, with {commit} for the full commit id")
	f.StringVar(&d.repository, "image", "", "`REPOSITORY` of the image, without a tag (default: the current lock's)")
	d.addFlags(cmd)
	return cmd
}

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
	if err := d.open(ctx); err != nil {
		return err
	}
	sourceRepo := d.sourceRepo()
	d.repository = cmp.Or(d.repository, d.current.Image.Repository())
	switch {
	case d.repository == "":
		return d.missing("--image")
	case sourceRepo == "":
		return d.missing("--source-repo")
	}
	if d.search.Source, err = d.workspace.Repository.Remote(ctx, sourceRepo); err != nil {
		return err
	}
	if d.search.Images, err = d.app.registries("").Repository(d.repository); err != nil {
		return usagef("--image: %w", err)
	}
	commit, err := d.search.Newest(ctx)
	switch {
	case d.search.Branch != "" && errors.Is(err, git.ErrNotFound):
		return usagef("--branch: %w", err)
	case err != nil:
		return err
	}
	d.lock.GitCommit, d.lock.Image.Ref = string(commit), d.repository+":"+d.search.Tag.Tag(commit)
	return d.record(ctx)
}

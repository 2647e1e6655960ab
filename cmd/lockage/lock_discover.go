package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/hydrate/pipeline"
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

Without an image, neither in the current lock nor by --image, it records the newest commit of the branch: with --path, the newest that changes
something there.

With --image-tag or --image-semver, the image is found on its own, and recorded with the newest commit of the branch (with --path, the newest
that changes something there): where only the image moved, as a further release of the commit. Versions are tags of three numbers, with or without
a v; pre-releases count if the range names one.

With --chart-version or --chart, or if the current lock is of an upstream chart, it records the chart's highest version in the range.

Values without a flag come from the current lock. If -f matches several pipelines, each is searched, and a mistake in one stops no other.`,
		Example: `  lockage lock discover --push
  lockage lock discover --path deploy/chart --path src --tag 'main-{commit}' --push
  lockage lock discover --image-semver '>=1.2 <2' --path deploy/chart --push
  lockage lock discover --chart-version '^87' --push
  lockage lock discover -f 'apps/*/lockage.yaml' --push
  lockage lock discover --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	d.searchFlags(cmd.Flags())
	d.addFlags(cmd)
	return cmd
}

// searchFlags adds the flags that say where a release is looked for.
func (d *lockDiscoverer) searchFlags(f *pflag.FlagSet) {
	f.StringVar(&d.search.Branch, "branch", "", "`BRANCH` of the source repository (default: its default branch)")
	f.StringArrayVar(&d.search.Paths, "path", nil, "`PATH` in the source repository that the commit must change; repeatable, one of them is enough")
	f.StringVar(&d.tag, "tag", "", "`PATTERN` of the image's tag, with {commit} for the full commit id (default: git-{commit})")
	f.StringVar(&d.imageTag, "image-tag", "", "`TAG` of the image, such as latest, whatever the commit")
	f.StringVar(&d.versions, "image-semver", "", "`RANGE` of versions: the image with the highest one, whatever the commit")
	f.StringVar(&d.chart.versions, "chart-version", "", "`RANGE` of versions: the highest one of a packaged chart (default: those of the current lock's major version)")
	f.StringVar(&d.repository, "image", "", "`REPOSITORY` of the image, without a tag (default: the current lock's)")
}

type lockDiscoverer struct {
	lockWriter
	search     remotelock.Search
	tag        string
	imageTag   string
	versions   string
	within     *semver.Constraints // that versions is
	repository string
}

// discoverResults is one result in full, and several in a line each.
type discoverResults []lockWriteResult

func (rs discoverResults) Text(w io.Writer) {
	if len(rs) == 1 {
		if rs[0].Written != nil {
			rs[0].Text(w)
		}
		return
	}
	counts := map[string]int{}
	table(w, func(w io.Writer) {
		for _, r := range rs {
			action, release := "failed", "-"
			if r.Written != nil {
				action, release = string(r.Current.Action), r.Lock.ReleaseID
			}
			counts[action]++
			fmt.Fprintf(w, "%s\t%s\t%s\n", r.Pipeline, action, release)
		}
	})
	var summary []string
	for _, action := range slices.Sorted(maps.Keys(counts)) {
		summary = append(summary, fmt.Sprintf("%d %s", counts[action], action))
	}
	dry := ""
	if rs[0].DryRun {
		dry = " (dry run: nothing was written)"
	}
	fmt.Fprintf(w, "%d pipelines: %s%s\n", len(rs), strings.Join(summary, ", "), dry)
}

func (d *lockDiscoverer) run(ctx context.Context) error {
	if err := d.parse(); err != nil {
		return err
	}
	if err := d.open(ctx); err != nil {
		return err
	}
	pipelines := []*pipeline.Pipeline{{Lock: d.dir}}
	if d.dir == "" {
		var err error
		if pipelines, err = d.app.usable(d.workspace.Pipelines(d.files, d.app.files)); err != nil {
			return err
		}
	}
	alone := len(pipelines) == 1 && d.app.leftOut == nil
	for flag, value := range map[string]string{"--image": d.repository, "--chart": d.chart.place} {
		if value != "" && !alone {
			return usagef("%s is of one pipeline, and several match; name one with -f", flag)
		}
	}
	var results discoverResults
	var errs []error
	for _, p := range pipelines {
		one := *d
		result, err := one.discover(ctx, p)
		result.Error = messageOf(err)
		if err != nil && !alone {
			err = named(err, p.Name)
		}
		results, errs = append(results, result), append(errs, err)
	}
	d.app.emit(results)
	return errors.Join(errs...)
}

// parse validates what is searched for.
func (d *lockDiscoverer) parse() (err error) {
	if d.search.Tag, err = remotelock.ParsePattern(cmp.Or(d.tag, "git-{commit}")); err != nil {
		return usagef("--tag: %w", err)
	}
	given := 0
	for _, way := range []string{d.tag, d.imageTag, d.versions} {
		if way != "" {
			given++
		}
	}
	if given > 1 {
		return usagef("--tag, --image-tag and --image-semver are three ways to find the image: give one of them")
	}
	if d.versions != "" {
		if d.within, err = semver.NewConstraint(d.versions); err != nil {
			return usagef("--image-semver %q: want a range such as '>=1.2 <2' or '^1.4': %w", d.versions, err)
		}
	}
	if d.chart.given() {
		if given > 0 || d.repository != "" || d.search.Branch != "" || len(d.search.Paths) > 0 {
			return usagef("--chart and --chart-version find a packaged chart, which has neither image, branch nor paths: leave the other flags out")
		}
		return d.parseChart()
	}
	for i, p := range d.search.Paths {
		if d.search.Paths[i] = path.Clean(p); !fs.ValidPath(d.search.Paths[i]) {
			return usagef("--path %q: want a path in the source repository, relative to its root", p)
		}
	}
	return d.checkFlags()
}

// discover finds and records the newest release of a pipeline.
func (d *lockDiscoverer) discover(ctx context.Context, p *pipeline.Pipeline) (lockWriteResult, error) {
	d.pipeline, d.dir = p, p.Lock
	err := d.readCurrent()
	if err == nil {
		err = d.find(ctx)
	}
	if err != nil {
		return lockWriteResult{Pipeline: p.Name, DryRun: d.dryRun}, err
	}
	return d.record(ctx)
}

// find fills in the commit and the image of the lock, or the version of a chart.
func (d *lockDiscoverer) find(ctx context.Context) (err error) {
	if d.chart.given() || d.current.Packaging.Kind == lock.Packaged && d.repository+d.tag+d.imageTag+d.versions+d.lock.Packaging.SourceRepo == "" {
		return d.findChart(ctx)
	}
	sourceRepo := d.sourceRepo()
	d.repository = cmp.Or(d.repository, d.ownRepository())
	switch {
	case d.repository == "" && d.tag+d.imageTag+d.versions != "":
		return usagef("--image is missing: name the repository that has the tags; %s has no current lock with an image", d.dir)
	case sourceRepo == "":
		return d.missing("--source-repo")
	}
	if d.search.Source, err = d.workspace.Repository.Sources().Remote(ctx, sourceRepo); err != nil {
		return err
	}
	tag, err := d.findTag(ctx)
	if err != nil {
		return err
	}
	commit, err := d.search.Newest(ctx)
	switch {
	case d.search.Branch != "" && errors.Is(err, git.ErrNotFound):
		return usagef("--branch: %w", err)
	case err != nil:
		return err
	}
	if d.lock.GitCommit = string(commit); d.repository != "" {
		d.lock.Image.Ref = d.repository + ":" + cmp.Or(tag, d.search.Tag.Tag(commit))
	}
	return nil
}

// findTag returns the tag of an image that is found on its own. If the commit makes the tag, it returns "", and the search asks for the
// images of commits; without an image neither.
func (d *lockDiscoverer) findTag(ctx context.Context) (tag string, err error) {
	if d.repository == "" {
		return "", nil
	}
	images, err := d.app.registries("").Repository(d.repository)
	switch {
	case err != nil:
		return "", usagef("--image: %w", err)
	case d.within != nil:
		return remotelock.NewestVersion(ctx, images, d.within)
	case d.imageTag == "":
		d.search.Images = images
	}
	return d.imageTag, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/lock/remotelock"
)

// chartFlags name a packaged chart to release.
type chartFlags struct {
	place    string // the repository's URL with the chart's name; "" for the current lock's
	version  string
	former   string              // the version by the former name of its flag
	versions string              // a range of versions to find one in
	within   *semver.Constraints // that versions is
}

func (f chartFlags) given() bool { return f.place+f.version+f.former+f.versions != "" }

// parseChart validates the flags that name a chart, and refuses those that name something else.
func (l *lockWriter) parseChart() error {
	var err error
	if l.chart.place != "" {
		if l.lock.Chart, err = lock.ParseChart(l.chart.place); err != nil {
			return usagef("--chart %w", err)
		}
	}
	if l.chart.versions != "" {
		if l.chart.within, err = semver.NewConstraint(l.chart.versions); err != nil {
			return usagef("--chart-version %q: want a range such as '^87' or '>=1.2 <2': %w", l.chart.versions, err)
		}
	}
	if l.chart.former != "" && l.chart.version != "" && l.chart.former != l.chart.version {
		return usagef("--version is the former name of --chart-version, and they name two versions, %q and %q: leave --version out", l.chart.former, l.chart.version)
	}
	l.lock.Chart.Version = cmp.Or(l.chart.version, l.chart.former)
	return l.refuseSource()
}

// refuseSource returns an error if a flag is of a commit or its images.
func (l *lockWriter) refuseSource() error {
	p := l.lock.Packaging
	if l.lock.GitCommit+p.SourceRepo+p.SourcePath+string(p.Kind)+string(l.lock.Image.Digest) != "" {
		return usagef("--commit, --digest, --kind, --source-repo and --source-path are of a commit's release: leave them out for a packaged chart")
	}
	if len(l.images)+len(l.drop) > 0 {
		return usagef("--image and --drop-image are of a commit's release, and that of a packaged chart has no images: leave them out")
	}
	return nil
}

// completeChart fills in the lock of a packaged chart, by what its repository has now.
func (l *lockWriter) completeChart(ctx context.Context) error {
	c := &l.lock.Chart
	if c.Name == "" {
		c.Repo, c.Name = l.current.Chart.Repo, l.current.Chart.Name
	}
	switch {
	case c.Name == "":
		return usagef("--chart is missing, and the current lock in %s is of no chart", l.dir)
	case c.Version == "":
		return usagef("--chart-version is missing: name the version of %s, or find the newest with `lockage lock discover`", c.URL())
	case strings.ContainsAny(c.Version, "^~*<>=|, "):
		return usagef("--chart-version %q is a range: name one version, or find the newest of it with `lockage lock discover --chart-version '%s'`", c.Version, c.Version)
	}
	var err error
	if c.Digest, err = (chartArchives{l.app.chartFetcher()}).Resolve(ctx, *c); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			if versions, listed := l.app.chartFetcher().Versions(ctx, c.Repo, c.Name); listed == nil {
				return fmt.Errorf("chart %s has no version %s%s", c.URL(), c.Version, newest(versions))
			}
		}
		return err
	}
	l.lock.Packaging = lock.Packaging{Kind: lock.Packaged}
	l.lock.ReleaseID = c.ReleaseID()
	return nil
}

// findChart finds the highest version of a chart in a range, by default that of the current lock's major version.
func (d *lockDiscoverer) findChart(ctx context.Context) error {
	c := &d.lock.Chart
	if c.Name == "" {
		c.Repo, c.Name = d.current.Chart.Repo, d.current.Chart.Name
	}
	if c.Name == "" {
		return usagef("--chart is missing, and the current lock in %s is of no chart", d.dir)
	}
	if d.chart.within == nil {
		within := "*"
		if d.current.Chart.URL() == c.URL() {
			within = "^" + d.current.Chart.Version
		}
		var err error
		if d.chart.within, err = semver.NewConstraint(within); err != nil {
			return usagef("--chart-version is missing: version %s of the current lock in %s is not a semantic version", d.current.Chart.Version, d.dir)
		}
	}
	versions, err := d.app.chartFetcher().Versions(ctx, c.Repo, c.Name)
	if err != nil {
		return err
	}
	if c.Version = remotelock.Highest(versions, d.chart.within); c.Version == "" {
		if len(versions) == 0 {
			return fmt.Errorf("chart %s is not there, or has no version: check the URL, oci://HOST/PATH/NAME or https://HOST/PATH/NAME", c.URL())
		}
		return fmt.Errorf("none of the %d versions of chart %s is one of %s%s", len(versions), c.URL(), d.chart.within, newest(versions))
	}
	return nil
}

// maxNewest bounds the versions that a message names.
const maxNewest = 5

// newest is the end of a message about a version that is not there: it names the highest ones.
func newest(versions []string) string {
	var known semver.Collection
	for _, version := range versions {
		if v, err := semver.NewVersion(version); err == nil {
			known = append(known, v)
		}
	}
	sort.Sort(sort.Reverse(known))
	var names []string
	for _, v := range known[:min(len(known), maxNewest)] {
		names = append(names, v.Original())
	}
	if len(names) == 0 {
		return "; it has none that is a semantic version"
	}
	return "; the newest are " + strings.Join(names, ", ") + ": name one with --chart-version"
}

// chartArchives asks repositories of charts.
type chartArchives struct{ fetcher *chartrepo.Fetcher }

// Resolve implements [lock.Charts].
func (a chartArchives) Resolve(ctx context.Context, c lock.Chart) (digest.Digest, error) {
	data, err := a.fetcher.Current(ctx, c.Repo, c.Name, c.Version)
	if err != nil {
		return "", err
	}
	return digest.FromBytes(data), nil
}

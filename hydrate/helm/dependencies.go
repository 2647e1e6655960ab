package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/lockage/lockage/hydrate"
)

const (
	maxDependencies = 200 // that are not vendored
	fetchers        = 4   // of them at a time
)

// Archives fetches packaged charts from repositories.
type Archives interface {
	// Archive returns the gzipped tar of a chart of this name and exact version. The repository is as Chart.lock has it, an
	// oci:// or https:// URL.
	Archive(ctx context.Context, repository, name, version string) ([]byte, error)
}

// readChart reads the chart in a folder of the source.
func readChart(ctx context.Context, source hydrate.Source, dir string, w *weight) (*chart.Chart, []hydrate.Input, error) {
	folder, err := fs.Sub(source.Files, dir)
	if err != nil {
		return nil, nil, err
	}
	files, inputs, err := readFiles(ctx, folder, source.Packaged)
	if err != nil {
		return nil, nil, err
	}
	if !slices.ContainsFunc(files, func(f *loader.BufferedFile) bool { return f.Name == "Chart.yaml" }) {
		return nil, nil, errNoChart
	}
	parsed, err := load(files, w)
	return parsed, inputs, err
}

var errNoChart = errors.New("no Chart.yaml: this folder is not a Helm chart")

// dependency is a declared dependency that charts/ lacks.
type dependency struct {
	*chart.Dependency        // as Chart.yaml has it
	locked            string // the exact version; for one in the same repository maybe still the range
	repository        string

	chart  *chart.Chart
	inputs []hydrate.Input
}

// complete adds to c the dependencies that its charts/ folder lacks, and returns what it read for them.
func (r Renderer) complete(ctx context.Context, source hydrate.Source, c *chart.Chart, w *weight) ([]hydrate.Input, error) {
	missing, err := lacking(c)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	if len(missing) > maxDependencies {
		return nil, fmt.Errorf("chart %s declares %d dependencies that its charts/ folder does not hold; at most %d are fetched", c.Name(), len(missing), maxDependencies)
	}
	if err := pinned(c, missing, source.Path); err != nil {
		return nil, err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(fetchers)
	for _, d := range missing {
		group.Go(func() error { return r.obtain(groupCtx, source, d, w) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("chart %s: %w", c.Name(), err)
	}
	var inputs []hydrate.Input
	for _, d := range missing {
		c.AddDependency(d.chart)
		inputs = append(inputs, d.inputs...)
	}
	return inputs, nil
}

// lacking lists the dependencies that c declares and does not have. A subchart with the name and a version outside of the
// declared range is an error: Helm would treat it as undeclared, and no condition would disable it.
func lacking(c *chart.Chart) (missing []*dependency, err error) {
	var problems []error
	for _, sub := range c.Dependencies() {
		if ranges := strays(c, sub); len(ranges) > 0 {
			problems = append(problems, fmt.Errorf("charts/ of chart %s holds %s %s, and Chart.yaml asks for %s: "+
				"run `helm dependency update` and commit charts/, or change the range%s", c.Name(), sub.Name(), sub.Metadata.Version, strings.Join(ranges, " or "), prereleaseHint(ranges, sub.Metadata.Version)))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	for _, d := range c.Metadata.Dependencies {
		there := slices.ContainsFunc(c.Dependencies(), func(sub *chart.Chart) bool {
			return sub.Name() == d.Name && (d.Version == "" || inRange(d.Version, sub.Metadata.Version))
		})
		// One chart under several aliases is fetched once.
		twice := slices.ContainsFunc(missing, func(m *dependency) bool {
			return m.Name == d.Name && m.Version == d.Version && m.Repository == d.Repository
		})
		if !there && !twice {
			missing = append(missing, &dependency{Dependency: d})
		}
	}
	return missing, nil
}

// strays returns the ranges that c declares for a subchart which is outside of all of them.
func strays(c, sub *chart.Chart) (ranges []string) {
	for _, d := range c.Metadata.Dependencies {
		switch {
		case d.Name != sub.Name():
		case d.Version == "" || inRange(d.Version, sub.Metadata.Version):
			return nil
		default:
			ranges = append(ranges, d.Version)
		}
	}
	return ranges
}

// anyVersion matches the versions in a constraint.
var anyVersion = regexp.MustCompile(`[0-9]+(\.[0-9xX*]+){0,2}(-[0-9A-Za-z.-]+)?`)

// prereleaseHint returns a range that would take a pre-release, if nothing else is wrong with the ranges.
func prereleaseHint(ranges []string, version string) string {
	for _, r := range ranges {
		with := anyVersion.ReplaceAllStringFunc(r, func(v string) string {
			if strings.Contains(v, "-") {
				return v
			}
			return v + "-0"
		})
		if inRange(with, version) {
			return fmt.Sprintf(": only a range with a pre-release takes pre-releases, such as %q", with)
		}
	}
	return ""
}

// inRange reports, as Helm does, whether a version satisfies a constraint.
func inRange(constraint, version string) bool {
	c, err := semver.NewConstraint(constraint)
	if err != nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.Check(v)
}

// exactVersion matches the constraints that allow one version only, which is as good as a lock.
var exactVersion = regexp.MustCompile(`^=? *(v?[0-9]+\.[0-9]+\.[0-9]+(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?)$`)

// pinned reads the exact versions from the lock file, or without one from Chart.yaml.
func pinned(c *chart.Chart, missing []*dependency, dir string) error {
	lockFile := "Chart.lock"
	if c.Metadata.APIVersion == chart.APIVersionV1 {
		lockFile = "requirements.lock"
	}
	update := fmt.Sprintf("run `helm dependency update %s` and commit %s", dir, lockFile)
	for _, d := range missing {
		if isHostAlias(d.Repository) {
			return fmt.Errorf("chart %s: dependency %s names its repository by %s, which only the configuration of somebody's machine explains; write the URL in Chart.yaml, and %s",
				c.Name(), d.Name, d.Repository, update)
		}
		if d.Repository == "" {
			return fmt.Errorf("chart %s: dependency %s has no repository, and charts/ does not hold %s; commit it there, or write its repository in Chart.yaml",
				c.Name(), d.Name, label(d.Dependency))
		}
	}
	if c.Lock == nil {
		var open []string
		for _, d := range missing {
			d.locked, d.repository = d.Version, d.Repository
			if m := exactVersion.FindStringSubmatch(d.Version); m != nil {
				d.locked = m[1]
			} else if !isLocal(d.Repository) {
				open = append(open, label(d.Dependency))
			}
		}
		if len(open) > 0 {
			return fmt.Errorf("chart %s declares dependencies that its charts/ folder does not hold, and has no %s to say which versions to fetch: %s; %s, or write exact versions in Chart.yaml",
				c.Name(), lockFile, strings.Join(open, ", "), update)
		}
		return nil
	}
	if !inSync(c) {
		return fmt.Errorf("chart %s: %s is out of date: its digest is not that of the dependencies in Chart.yaml; %s", c.Name(), lockFile, update)
	}
	for _, d := range missing {
		i := slices.IndexFunc(c.Lock.Dependencies, func(l *chart.Dependency) bool {
			return l != nil && l.Name == d.Name && inRange(d.Version, l.Version)
		})
		if i < 0 {
			return fmt.Errorf("chart %s: %s pins no version of %s; %s", c.Name(), lockFile, label(d.Dependency), update)
		}
		d.locked, d.repository = c.Lock.Dependencies[i].Version, c.Lock.Dependencies[i].Repository
	}
	return nil
}

func label(d *chart.Dependency) string { return strings.TrimSpace(d.Name + " " + d.Version) }

// isHostAlias reports whether a repository is named by an alias of `helm repo add` on one machine.
func isHostAlias(repository string) bool {
	return strings.HasPrefix(repository, "@") || strings.HasPrefix(repository, "alias:")
}

const localScheme = "file://"

func isLocal(repository string) bool { return strings.HasPrefix(repository, localScheme) }

// inSync reports whether the lock's digest is that of Chart.yaml and lock (Helm 3) or of requirements.yaml (Helm 2).
func inSync(c *chart.Chart) bool {
	declared := slices.Clone(c.Metadata.Dependencies)
	for i, d := range declared {
		// Helm computes the digest after resolving the alias. A vendored dependency may have one.
		if isHostAlias(d.Repository) && i < len(c.Lock.Dependencies) && c.Lock.Dependencies[i] != nil {
			resolved := *d
			resolved.Repository = c.Lock.Dependencies[i].Repository
			declared[i] = &resolved
		}
	}
	if digestOf([2][]*chart.Dependency{declared, c.Lock.Dependencies}) == c.Lock.Digest {
		return true
	}
	return c.Metadata.APIVersion == chart.APIVersionV1 &&
		strings.TrimPrefix(digestOf(map[string]any{"dependencies": c.Metadata.Dependencies}), "sha256:") == strings.TrimPrefix(c.Lock.Digest, "sha256:")
}

func digestOf(value any) string {
	data, err := json.Marshal(value)
	if err != nil { // import-values with a key that is not a string
		return ""
	}
	return digest.FromBytes(data).String()
}

// obtain reads or fetches a dependency's chart.
func (r Renderer) obtain(ctx context.Context, source hydrate.Source, d *dependency, w *weight) (err error) {
	if isLocal(d.repository) {
		err = d.readLocal(ctx, source, w)
	} else {
		err = d.fetch(ctx, r.Charts, w)
	}
	if err != nil {
		return fmt.Errorf("dependency %s: %w", label(d.Dependency), err)
	}
	if d.chart.Name() != d.Name || !isLocal(d.repository) && d.chart.Metadata.Version != d.locked && strings.TrimPrefix(d.chart.Metadata.Version, "v") != strings.TrimPrefix(d.locked, "v") {
		return fmt.Errorf("dependency %s: %s holds %s %s", label(d.Dependency), d.repository, d.chart.Name(), d.chart.Metadata.Version)
	}
	return nil
}

func (d *dependency) fetch(ctx context.Context, charts Archives, w *weight) error {
	if charts == nil {
		return errors.New("charts/ does not hold it, and nothing is fetched here; run `helm dependency build` and commit charts/")
	}
	data, err := charts.Archive(ctx, d.repository, d.Name, d.locked)
	if err != nil {
		return err
	}
	d.inputs = []hydrate.Input{{Path: packageURL(d.repository, d.Name, d.locked), Kind: hydrate.InputDependency, SHA256: sha256.Sum256(data)}}
	files, err := loader.LoadArchiveFiles(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("load chart: %w", err)
	}
	d.chart, err = load(files, w)
	return err
}

// readLocal reads a dependency from the chart's own repository.
func (d *dependency) readLocal(ctx context.Context, source hydrate.Source, w *weight) error {
	relative := strings.TrimPrefix(d.repository, localScheme)
	dir := path.Join(source.Path, relative)
	if path.IsAbs(relative) || !fs.ValidPath(dir) {
		return fmt.Errorf("%s leads out of the source repository", d.repository)
	}
	if source.Prefetch != nil {
		if err := source.Prefetch(ctx, dir); err != nil {
			return fmt.Errorf("%s: read %s of the source repository: %w", d.repository, dir, err)
		}
	}
	read, inputs, err := readChart(ctx, source, dir, w)
	if err != nil {
		return fmt.Errorf("%s: read %s of the source repository: %w", d.repository, dir, err)
	}
	d.chart = read
	if !inRange(d.locked, d.chart.Metadata.Version) {
		return fmt.Errorf("%s holds version %s, and %s is locked; run `helm dependency update %s` and commit what it locks", dir, d.chart.Metadata.Version, d.locked, source.Path)
	}
	for _, in := range inputs {
		in.Path = path.Join(relative, in.Path)
		d.inputs = append(d.inputs, in)
	}
	return nil
}

// packageURL names a chart of a repository (github.com/package-url/purl-spec), without secrets that a URL may hold.
func packageURL(repository, name, version string) string {
	if u, err := url.Parse(repository); err == nil {
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		repository = u.String()
	}
	escape := func(text string) string {
		return strings.NewReplacer("%2F", "/", "%3A", ":").Replace(url.QueryEscape(text))
	}
	return "pkg:helm/" + escape(name) + "@" + escape(version) + "?repository_url=" + escape(strings.TrimRight(repository, "/"))
}

// nestedWarnings lists faults in the dependencies of subcharts, which Helm accepts and only their packagers can correct.
func nestedWarnings(c *chart.Chart) (warnings []string) {
	for _, sub := range c.Dependencies() {
		for _, d := range sub.Metadata.Dependencies {
			if !slices.ContainsFunc(sub.Dependencies(), func(x *chart.Chart) bool { return x.Name() == d.Name }) {
				warnings = append(warnings, fmt.Sprintf("subchart %s declares %s, which is not in its charts/ folder and is left out, as in helm template", sub.ChartFullPath(), label(d)))
			}
		}
		for _, x := range sub.Dependencies() {
			if ranges := strays(sub, x); len(ranges) > 0 {
				warnings = append(warnings, fmt.Sprintf("subchart %s holds %s %s, and declares %s", sub.ChartFullPath(), x.Name(), x.Metadata.Version, strings.Join(ranges, " or ")))
			}
		}
		warnings = append(warnings, nestedWarnings(sub)...)
	}
	return warnings
}

package lock

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/loopback"
)

// Chart is a packaged chart: one version of it in a repository, by the digest of its archive.
type Chart struct {
	Repo    string        `yaml:"repo,required" json:"repo"`     // an oci:// or https:// URL, without the chart's name
	Name    string        `yaml:"name,required" json:"name"`     // as in Chart.yaml
	Version string        `yaml:"version,scalar" json:"version"` // exact
	Digest  digest.Digest `yaml:"digest,scalar" json:"digest"`   // of the archive, sha256:<64 hex>
}

// URL returns the chart's place in its repository: Repo/Name.
func (c Chart) URL() string { return strings.TrimRight(c.Repo, "/") + "/" + c.Name }

// String returns URL:Version, as people name it.
func (c Chart) String() string { return c.URL() + ":" + c.Version }

const (
	chartPrefix  = "chart-"
	maxIDVersion = 40 // characters of a version in a release id
	maxChartText = 250
)

var (
	chartID      = regexp.MustCompile(`^chart-[v0-9][0-9A-Za-z._-]{0,39}-[0-9a-f]{12}$`)
	chartName    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	chartVersion = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// ReleaseID returns the id of the chart as a release: chart-<version>-<12 hex of the archive's digest>, with the first 40 characters of the
// version, in which "+" is "_".
func (c Chart) ReleaseID() string {
	version := strings.ReplaceAll(c.Version, "+", "_")
	return chartPrefix + version[:min(maxIDVersion, len(version))] + "-" + c.Digest.Encoded()[:shortDigits]
}

// ParseChart parses the place of a chart in its repository, as [Chart.URL] returns it.
func ParseChart(place string) (Chart, error) {
	i := strings.LastIndexByte(place, '/')
	c := Chart{Repo: strings.TrimRight(place[:max(0, i)], "/"), Name: place[i+1:]}
	if err := checkChartRepo(c.Repo); err != nil {
		return Chart{}, err
	}
	if msg := c.nameFault(); msg != "" {
		return Chart{}, errors.New(msg)
	}
	return c, nil
}

// checkChartRepo returns an error if address is not that of a chart repository, or carries credentials, and does not repeat it.
func checkChartRepo(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsFunc(address, isControlOrSpace):
		return errors.New("is not the URL of a chart repository: write one like oci://ghcr.io/acme/charts or https://charts.example.com/stable")
	case u.User != nil:
		return errors.New("carries credentials: revoke them, remove them from the URL and run `docker login`")
	case u.Scheme != "oci" && u.Scheme != "https" && (u.Scheme != "http" || !loopback.Is(u.Host)):
		return errors.New("has another scheme than oci:// and https://")
	}
	return nil
}

func (c Chart) nameFault() string {
	if len(c.Name) > maxChartText || !chartName.MatchString(c.Name) {
		return "chart name " + strconv.Quote(c.Name) + " is not letters, digits, dots, dashes and underscores"
	}
	return ""
}

// check reports what is wrong with each field of a lock's chart, and which of the lock's other fields a chart excludes.
func (c Chart) check(l Lock, report func(msg string, at ...any)) {
	if c == (Chart{}) {
		report("chart is missing, which packaging.kind: chart needs: repo, name, version and digest", "packaging", "kind")
		return
	}
	if c.Repo != "" {
		if err := checkChartRepo(c.Repo); err != nil {
			report("chart.repo "+err.Error(), "chart", "repo")
		}
	}
	if c.Name != "" {
		report(c.nameFault(), "chart", "name")
	}
	if len(c.Version) > maxChartText || !chartVersion.MatchString(c.Version) {
		report("chart.version "+strconv.Quote(c.Version)+" is not an exact version: write one like 1.2.3", "chart", "version")
	}
	if !sha256Digest.MatchString(c.Digest.String()) {
		report("chart.digest "+strconv.Quote(c.Digest.String())+" is not sha256: and 64 lower-case hex digits: write that of the archive", "chart", "digest")
	}
	const excluded = " excludes packaging.kind: chart: an upstream chart has neither source repository nor images; take it out"
	for _, field := range []struct {
		set bool
		at  []any
	}{
		{l.GitCommit != "", []any{"gitCommit"}}, {l.Image != (Image{}), []any{"image"}}, {len(l.Others) > 0, []any{"images"}},
		{l.Packaging.SourceRepo != "", []any{"packaging", "sourceRepo"}}, {l.Packaging.SourcePath != "", []any{"packaging", "sourcePath"}},
	} {
		if name, _ := field.at[len(field.at)-1].(string); field.set {
			report(name+excluded, field.at...)
		}
	}
}

// compareVersions compares two versions of a chart, by text where one is not a semantic version.
func compareVersions(a, b string) int {
	va, errA := semver.NewVersion(a)
	vb, errB := semver.NewVersion(b)
	if errA != nil || errB != nil {
		return strings.Compare(a, b)
	}
	return va.Compare(vb)
}

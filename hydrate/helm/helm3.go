package helm

import (
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm/engine"
)

// version3 is that of the linked Helm 3, and part of input digests. A test compares it with go.mod.
const version3 = "v3.22.0"

// helm3 is the dialect of Helm 3.
type helm3 struct{}

func (helm3) engine() int { return 3 }

func (helm3) documents(file string) [][]byte { return splitDocuments(file) }

func (helm3) parse(data []byte) (values any, err error) {
	err = engine.DecodeYAML(data, &values)
	return values, err
}

func (helm3) values(values map[string]any) any { return chartutil.Values(values) }

func (helm3) table(dot map[string]any, name string) (any, error) {
	return chartutil.Values(dot).Table("Values." + name)
}

func (helm3) instance(p *Package, request hydrate.Request, user map[string]any) (*instance, map[string]any, any, error) {
	version, err := chartutil.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		return nil, nil, nil, kubeVersionError(request, err)
	}
	if want := p.chart.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, version.Version) {
		return nil, nil, nil, p.incompatible(version.Version)
	}
	build := chartutil.DefaultCapabilities.HelmVersion
	build.GoVersion = "" // that of lockage, which has no influence on its output
	caps := &capabilities[chartutil.KubeVersion, chartutil.VersionSet, any]{
		*version, slices.Concat(chartutil.DefaultVersionSet, request.APIVersions), build,
	}
	untouched := p.untouched(user, true)
	c := clone(p.chart, untouched)
	if err := chartutil.ProcessDependenciesWithMerge(c, user); err != nil {
		return nil, nil, nil, fmt.Errorf("dependencies of chart %s: %w", c.Name(), err)
	}
	values, err := chartutil.CoalesceValues(c, user)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	untouched.putBack(values)
	root := instance3(c)
	for _, crd := range c.CRDObjects() {
		root.definitions = append(root.definitions, file{crd.Filename, crd.File.Data})
	}
	return root, values, caps, nil
}

func instance3(c *chart.Chart) *instance {
	out := &instance{
		name: c.Name(), path: c.ChartFullPath(), root: c.IsRoot(), library: strings.EqualFold(c.Metadata.Type, "library"),
		metadata: metadata3(c), schema: c.Schema, templates: files3(c.Templates), files: files3(c.Files),
	}
	for _, d := range c.Dependencies() {
		out.subcharts = append(out.subcharts, instance3(d))
	}
	return out
}

func files3(files []*chart.File) (out []file) {
	for _, f := range files {
		if f != nil {
			out = append(out, file{f.Name, f.Data})
		}
	}
	return out
}

// Metadata is what templates of Helm 3 know as .Chart: [chart.Metadata] without pointers, which templates could print as
// addresses in memory.
type Metadata struct {
	Name         string             `json:"name,omitempty"`
	Home         string             `json:"home,omitempty"`
	Sources      []string           `json:"sources,omitempty"`
	Version      string             `json:"version,omitempty"`
	Description  string             `json:"description,omitempty"`
	Keywords     []string           `json:"keywords,omitempty"`
	Maintainers  []chart.Maintainer `json:"maintainers,omitempty"`
	Icon         string             `json:"icon,omitempty"`
	APIVersion   string             `json:"apiVersion,omitempty"`
	Condition    string             `json:"condition,omitempty"`
	Tags         string             `json:"tags,omitempty"`
	AppVersion   string             `json:"appVersion,omitempty"`
	Deprecated   bool               `json:"deprecated,omitempty"`
	Annotations  map[string]string  `json:"annotations,omitempty"`
	KubeVersion  string             `json:"kubeVersion,omitempty"`
	Dependencies []chart.Dependency `json:"dependencies,omitempty"`
	Type         string             `json:"type,omitempty"`
}

func metadata3(c *chart.Chart) any {
	m := c.Metadata
	return struct {
		Metadata
		IsRoot bool
	}{Metadata{
		m.Name, m.Home, m.Sources, m.Version, m.Description, m.Keywords, pointedTo(m.Maintainers), m.Icon, m.APIVersion, m.Condition, m.Tags,
		m.AppVersion, m.Deprecated, m.Annotations, m.KubeVersion, pointedTo(m.Dependencies), m.Type,
	}, c.IsRoot()}
}

func pointedTo[T any](pointers []*T) (values []T) {
	for _, p := range pointers {
		values = append(values, *p)
	}
	return values
}

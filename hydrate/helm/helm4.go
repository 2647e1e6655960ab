package helm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	v3chart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v4/pkg/chart"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2" // of charts, not of Helm
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/lockage/lockage/hydrate"
)

// version4 is that of the linked Helm 4, and part of input digests. A test compares it with go.mod.
const version4 = "v4.3.2"

// helm4 is the dialect of Helm 4.
type helm4 struct{}

func (helm4) engine() int { return 4 }

func (helm4) values(values map[string]any) any { return common.Values(values) }

func (helm4) table(dot map[string]any, name string) (any, error) {
	return common.Values(dot).Table("Values." + name)
}

func (helm4) documents(file string) [][]byte { return splitDocuments4(file) }

// parse merges the documents of a values file, whose first one counts in Helm 3.
func (helm4) parse(data []byte) (any, error) {
	if len(hydrate.SplitStream(data)) == 1 {
		return helm3{}.parse(data)
	}
	values, err := loader.LoadValues(bytes.NewReader(data))
	return values, err
}

func (helm4) instance(p *Package, request hydrate.Request, user map[string]any) (*instance, map[string]any, any, error) {
	version, err := common.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		return nil, nil, nil, kubeVersionError(request, err)
	}
	if want := p.chart.Metadata.KubeVersion; want != "" && !chartutil.IsCompatibleRange(want, version.String()) {
		return nil, nil, nil, p.incompatible(version.String())
	}
	build := common.DefaultCapabilities.HelmVersion
	build.GoVersion = "" // that of lockage, which has no influence on its output
	caps := &capabilities[common.KubeVersion, common.VersionSet, any]{
		*version, slices.Concat(common.DefaultVersionSet, request.APIVersions), build,
	}
	untouched := p.untouched(user, false)
	c, err := p.chart4(p.chart, untouched)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := chartutil.ProcessDependencies(c, user); err != nil {
		return nil, nil, nil, fmt.Errorf("dependencies of chart %s: %w", c.Name(), err)
	}
	values, err := util.CoalesceValues(c, user)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("values of chart %s: %w", c.Name(), err)
	}
	untouched.putBack(values)
	root, err := instance4(c)
	if err != nil {
		return nil, nil, nil, err
	}
	for _, crd := range c.CRDObjects() {
		root.definitions = append(root.definitions, file{crd.Filename, crd.File.Data})
	}
	return root, values, caps, nil
}

// chart4 returns a loaded chart in Helm 4's types. What a render changes is copied.
func (p *Package) chart4(c *v3chart.Chart, u *untouched) (*v2.Chart, error) {
	out := &v2.Chart{Metadata: &v2.Metadata{}, Templates: files4(c.Templates), Files: files4(c.Files), Schema: c.Schema, Values: u.valuesOf(c)}
	data, err := json.Marshal(c.Metadata)
	if err == nil {
		err = json.Unmarshal(data, out.Metadata)
	}
	if documents, several := p.several[c]; several && err == nil {
		out.Values, err = loader.LoadValues(bytes.NewReader(documents))
	}
	if err != nil {
		return nil, fmt.Errorf("load chart %s: %w", c.Name(), err)
	}
	for _, d := range c.Dependencies() {
		sub, err := p.chart4(d, u)
		if err != nil {
			return nil, err
		}
		out.AddDependency(sub)
	}
	return out, nil
}

func files4(files []*v3chart.File) (out []*common.File) {
	for _, f := range files {
		if f != nil {
			out = append(out, &common.File{Name: f.Name, Data: f.Data})
		}
	}
	return out
}

func instance4(c *v2.Chart) (*instance, error) {
	accessor, err := chart.NewAccessor(c)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", c.Name(), err)
	}
	metadata := accessor.MetadataAsMap()
	metadata["IsRoot"] = c.IsRoot()
	out := &instance{
		name: c.Name(), path: c.ChartFullPath(), root: c.IsRoot(), library: accessor.IsLibraryChart(), metadata: metadata, schema: c.Schema,
	}
	for _, f := range c.Templates {
		out.templates = append(out.templates, file{f.Name, f.Data})
	}
	for _, f := range c.Files {
		out.files = append(out.files, file{f.Name, f.Data})
	}
	for _, d := range c.Dependencies() {
		sub, err := instance4(d)
		if err != nil {
			return nil, err
		}
		out.subcharts = append(out.subcharts, sub)
	}
	return out, nil
}

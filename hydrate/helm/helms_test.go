package helm

import (
	"slices"
	"testing"

	v3chart "helm.sh/helm/v3/pkg/chart"
	v3util "helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	v4util "helm.sh/helm/v4/pkg/chart/v2/util"

	"github.com/lockage/lockage/hydrate"
)

// values3 returns a chart and its values as `helm template` of Helm 3 renders them.
func values3(t *testing.T, p *Package, request hydrate.Request) (*v3chart.Chart, v3util.Values) {
	t.Helper()
	c := clone(p.chart, &untouched{})
	capabilities := v3util.DefaultCapabilities.Copy()
	version, err := v3util.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		t.Fatal(err)
	}
	capabilities.KubeVersion = *version
	capabilities.APIVersions = slices.Concat(capabilities.APIVersions, request.APIVersions)
	user := map[string]any{}
	if err := v3util.ProcessDependenciesWithMerge(c, user); err != nil {
		t.Fatal(err)
	}
	options := v3util.ReleaseOptions{Name: request.ReleaseName, Namespace: request.Namespace, Revision: 1, IsInstall: true}
	values, err := v3util.ToRenderValues(c, user, options, capabilities)
	if err != nil {
		t.Fatal(err)
	}
	return c, values
}

// values4 returns a chart and its values as `helm template` of Helm 4 renders them.
func values4(t *testing.T, p *Package, request hydrate.Request) (*v2.Chart, common.Values) {
	t.Helper()
	c, err := p.chart4(p.chart, &untouched{})
	if err != nil {
		t.Fatal(err)
	}
	capabilities := common.DefaultCapabilities.Copy()
	version, err := common.ParseKubeVersion(request.KubeVersion)
	if err != nil {
		t.Fatal(err)
	}
	capabilities.KubeVersion = *version
	capabilities.APIVersions = slices.Concat(capabilities.APIVersions, request.APIVersions)
	user := map[string]any{}
	if err := v4util.ProcessDependencies(c, user); err != nil {
		t.Fatal(err)
	}
	options := common.ReleaseOptions{Name: request.ReleaseName, Namespace: request.Namespace, Revision: 1, IsInstall: true}
	values, err := util.ToRenderValues(c, user, options, capabilities)
	if err != nil {
		t.Fatal(err)
	}
	return c, values
}

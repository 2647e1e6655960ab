package scaffold_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/lockage/lockage/hydrate/pipeline/scaffold"
)

// repository makes a file system of kustomizations and charts, by their folders.
func repository(folders ...string) fs.FS {
	files := fstest.MapFS{}
	for _, dir := range folders {
		name, uses, _ := strings.Cut(dir, " ")
		content := "resources: [" + uses + "]\n"
		if strings.HasSuffix(name, "Chart.yaml") {
			content = "name: " + uses + "\n"
		} else if !strings.HasSuffix(name, ".yaml") {
			name += "/kustomization.yaml"
		}
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return files
}

func TestFind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		folders []string
		want    string // NAME PATH: STAGES, and so on
	}{
		"overlays":                     {[]string{"base", "overlays/dev ../../base", "overlays/eu-1 ../../base"}, "repo .: dev eu-1"},
		"one without environments":     {[]string{"deploy/kustomize"}, "repo deploy/kustomize: staging production"},
		"environments of a monorepo":   {[]string{"apps/cart/staging", "apps/cart/prod", "apps/web/overlays/prod"}, "cart apps/cart: staging prod; web apps/web: prod"},
		"clusters of environments":     {[]string{"components/cart/staging/base", "components/cart/staging/lightwell-dev ../base", "components/cart/production/eu"}, "cart components/cart: staging-lightwell-dev production-eu"},
		"an application of that name":  {[]string{"components/integration/staging", "components/integration/production"}, "integration components/integration: staging production"},
		"applications of environments": {[]string{"environments/staging/cart", "environments/prod/cart"}, "cart .: staging prod"},
		"a remote base":                {[]string{"cart/production", "cart/production/broken"}, "cart cart: production production-broken"},
		"a chart":                      {[]string{"chart/Chart.yaml shop", "chart/values-dev.yaml", "chart/prod.values.yaml", "chart/charts/sub/Chart.yaml sub", "chart/ci/test-values.yaml"}, "shop chart: dev prod"},
		"charts of environments":       {[]string{"teams/web/dev/Chart.yaml web-dev", "teams/web/dev/values.yaml", "teams/web/prod/Chart.yaml web-prod"}, "web-dev teams/web/dev: dev; web-prod teams/web/prod: prod"},
		"a chart of one environment":   {[]string{"Chart.yaml shop", "values-prod.yaml"}, "shop .: staging prod"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := repository(c.folders...)
			drafts, err := scaffold.Find(files, files, scaffold.Options{Repository: "repo", Stages: []string{"staging", "production"}, SameSource: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range drafts {
				var stages []string
				for _, s := range d.Stages {
					stages = append(stages, s.Name)
				}
				got = append(got, d.Name+" "+d.SourcePath+": "+strings.Join(stages, " "))
			}
			if got := strings.Join(got, "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestFindNamed names a package that no Application of the repository deploys.
func TestFindNamed(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"cart/Chart.yaml":                {Data: []byte("name: cart\n")},
		"shop/Chart.yaml":                {Data: []byte("name: shop\n")},
		"web/staging/kustomization.yaml": {Data: []byte("resources: []\n")},
		"apps.yaml":                      {Data: []byte("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: shop-dev}\nspec:\n  source: {path: shop}\n")},
	}
	for named, want := range map[string]string{"": "shop", "cart": "cart", "web": "web", "*": "cart shop web"} {
		o := scaffold.Options{Repository: "repo", SameSource: true}
		if named != "" {
			o.SourcePaths = []string{named}
		}
		drafts, err := scaffold.Find(files, files, o)
		var got []string
		for _, d := range drafts {
			got = append(got, d.SourcePath)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("--source-path %q: got %v, want %s: %v", named, got, want, err)
		}
	}
}

// TestFindBounds names what is not looked at, unless a package is named.
func TestFindBounds(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("a/", 14) + "deep"
	files := repository("top", deep)
	for path, want := range map[string][2]string{"": {"top", "such as a/a/a/a/a/a/a/a/a/a/a/a/a"}, deep: {"deep", ""}} {
		var warning string
		o := scaffold.Options{SameSource: true, Stages: []string{"production"}, Warn: func(message string) { warning = message }}
		if path != "" {
			o.SourcePaths = []string{path}
		}
		drafts, err := scaffold.Find(files, files, o)
		if err != nil || len(drafts) != 1 || drafts[0].Name != want[0] || !strings.Contains(warning, want[1]) || (warning == "") != (want[1] == "") {
			t.Errorf("%q: %v, %v, %q", path, drafts, err, warning)
		}
	}
}

// TestFileLoads checks that a file with names that YAML reads in other ways loads as it is meant.
func TestFileQuotes(t *testing.T) {
	t.Parallel()
	d := scaffold.Draft{Name: "shop", Locks: "locks/yes", Stages: []scaffold.Stage{{Name: "on"}, {Name: "1"}, {Name: "old", Off: "a reason\nof two lines"}}}
	d.Order()
	file := string(d.File(scaffold.Shared{Artifacts: "127.0.0.1:5000/a/{pipeline}"}, "", false))
	for _, want := range []string{`artifacts: "127.0.0.1:5000/a/{pipeline}"`, `{name: "on"}`, `{name: "1"}`, "# old is left out: a reason of two lines\n", "  # - {name: old}\n"} {
		if !strings.Contains(file, want) {
			t.Errorf("%s is not in\n%s", want, file)
		}
	}
	if lines := strings.Split(file, "\n"); !slices.Contains(lines, "lock: locks/yes # the folder of releases: lockage lock write or lockage lock discover adds to it") {
		t.Error(file)
	}
}

// TestApplicationThatIsNoName lets an Application of the repository write into the pipeline file.
func TestApplicationThatIsNoName(t *testing.T) {
	t.Parallel()
	application := func(name, namespace string) string {
		return fmt.Sprintf("apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: %s}\nspec:\n  source: {path: chart, helm: {releaseName: %q}}\n  destination: {namespace: %q}\n---\n", name, namespace, namespace)
	}
	for _, namespace := range []string{"a://b\nartifacts:\tevil.example.com/x", "a://b\rname:\tx", "x}, gates: [], notify: {url: y", "no"} {
		files := fstest.MapFS{
			"chart/Chart.yaml": {Data: []byte("name: shop\n")},
			"apps.yaml":        {Data: []byte(application("shop-dev", namespace) + application("shop-prod", namespace))},
		}
		drafts, err := scaffold.Find(files, files, scaffold.Options{Repository: "repo", SameSource: true})
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Artifacts string
			Render    map[string]any
			Stages    []map[string]any
		}
		file := drafts[0].File(scaffold.Shared{Artifacts: "ghcr.io/acme/x"}, "", false)
		if err := yaml.Unmarshal(file, &read); err != nil || read.Artifacts != "ghcr.io/acme/x" || read.Render["namespace"] != namespace || read.Render["releaseName"] != namespace || len(read.Stages) != 2 {
			t.Errorf("%q: %+v, %v\n%s", namespace, read, err, file)
			continue
		}
		if render, ok := read.Stages[0]["render"].(map[string]any); !ok || render["namespace"] != namespace || len(render) != 1 {
			t.Errorf("%q: %v", namespace, read.Stages[0])
		}
	}
}

package helm

import (
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/lockage/lockage/hydrate"
)

// TestAliasesOfCharts: what Helm's loader would expand to gigabytes is refused before it is loaded.
func TestAliasesOfCharts(t *testing.T) {
	t.Parallel()
	const metadata = "apiVersion: v2\nname: c\nversion: 0.1.0\n"
	bomb := "a: &a " + strings.Repeat("x", 64<<10) + "\nb: [" + strings.Repeat("*a,", 300) + "]\n"
	large := "a: " + strings.Repeat("x", 2<<20)
	nested := string(pack(t, []txtar.File{{Name: "e/Chart.yaml", Data: []byte(metadata)}, {Name: "e/values.yaml", Data: []byte(bomb)}}))
	archive := string(pack(t, []txtar.File{{Name: "d/Chart.yaml", Data: []byte(metadata)}, {Name: "d/charts/e.tgz", Data: []byte(nested)}}))
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"values":            {[]string{"values.yaml", bomb}, "load chart: values.yaml: default values and metadata "},
		"metadata":          {[]string{"Chart.yaml", metadata + bomb}, "load chart: Chart.yaml: default values and metadata "},
		"subchart":          {[]string{"charts/d/Chart.yaml", metadata, "charts/d/charts/e/values.yaml", bomb}, "load chart: charts/d/charts/e/values.yaml: "},
		"archive":           {[]string{"charts/d.tgz", archive}, "load chart: charts/d.tgz: charts/e.tgz: values.yaml: default values and metadata "},
		"another file":      {[]string{"files/values.yaml", bomb}, ""},
		"few":               {[]string{"values.yaml", "a: &a x\nb: [*a, *a]"}, ""},
		"not read by Helm":  {[]string{"charts/_d/values.yaml", "a: 1"}, ""},
		"more than allowed": {[]string{"values.yaml", large, "charts/d/values.yaml", large, "charts/e/values.yaml", large, "charts/f/values.yaml", large, "charts/g/values.yaml", large}, "load chart: charts/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Renderer{}.Open(t.Context(), folder(chartFS(c.files...)))
			if got := ""; err != nil {
				got = err.Error()
				if c.want == "" || !strings.HasPrefix(got, c.want) || !strings.HasSuffix(got, "more than 4194304 bytes, aliases expanded") {
					t.Errorf("%.300q, not %q", got, c.want)
				}
			} else if c.want != "" {
				t.Errorf("it was loaded")
			}
		})
	}
}

// TestArchivesOfCharts: archives count as what they unpack to.
func TestArchivesOfCharts(t *testing.T) {
	t.Parallel()
	archive := pack(t, []txtar.File{{Name: "d/Chart.yaml"}, {Name: "d/zeros", Data: make([]byte, 1<<20)}})
	files := []*loader.BufferedFile{{Name: "charts/d.tgz", Data: archive}}
	w := &weight{}
	if err := w.add(files, 0); err != nil || w.files.Load() != int64(len(archive))+1<<20 {
		t.Errorf("%d, %v", w.files.Load(), err)
	}
	w.files.Store(maxChartBytes - 1<<20)
	if err := w.add(files, 0); err == nil || !strings.HasPrefix(err.Error(), "charts/d.tgz: zeros: the chart and its dependencies have more than 268435456 bytes") {
		t.Error(err)
	}
}

// TestProgressBeforeTemplates: what is parsed or compiled without end before any template is executed is named, too.
func TestProgressBeforeTemplates(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"templates/a.yaml": "{{ if }}", "values.schema.json": "{"} {
		chart, err := Renderer{}.Open(t.Context(), folder(chartFS(name, content, "templates/b.yaml", "b: c")))
		if err != nil {
			t.Fatal(err)
		}
		at := ""
		if _, err := chart.Render(hydrate.WithProgress(t.Context(), func(name string) { at = name }), request); err == nil || at != "c/"+name {
			t.Errorf("at %q: %v", at, err)
		}
	}
}

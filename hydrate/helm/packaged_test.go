package helm

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
)

// archived is a repository of one archive.
type archived []byte

func (a archived) Pinned(context.Context, string, string, string, string) ([]byte, error) {
	return a, nil
}

// archive packs files as they are, names and contents in turn.
func archive(t *testing.T, files ...string) archived {
	t.Helper()
	var all []txtar.File
	for i := 0; i < len(files); i += 2 {
		all = append(all, txtar.File{Name: files[i], Data: []byte(files[i+1])})
	}
	return pack(t, all)
}

func names(c *chart.Chart) (all []string) {
	for _, files := range [][]*chart.File{c.Templates, c.Files} {
		for _, f := range files {
			all = append(all, c.ChartFullPath()+"/"+f.Name+": "+string(f.Data))
		}
	}
	for _, sub := range c.Dependencies() {
		all = append(all, names(sub)...)
	}
	slices.Sort(all)
	return all
}

// What Helm loads of an archive is what is rendered, also where .helmignore names files of a subchart.
func TestPackagedChart(t *testing.T) {
	t.Parallel()
	a := archive(t, "c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n", "c/.helmignore", "secret.yaml\ntemplates/hidden\n", "c/README.md", "\xEF\xBB\xBFread",
		"c/templates/a.yaml", "kind: A\n", "c/templates/.b.yaml", "kind: B\n", "c/charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0\n",
		"c/charts/d/templates/secret.yaml", "kind: S\n", "c/charts/e.tgz", string(archive(t, "e/Chart.yaml", "apiVersion: v2\nname: e\nversion: 1.0.0\n", "e/templates/e.yaml", "kind: E\n")))
	want, err := loader.LoadArchive(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Charts{a}.Open(t.Context(), lock.Chart{Digest: "sha256:x"})
	if err != nil {
		t.Fatal(err)
	}
	got, inputs, err := readChart(t.Context(), hydrate.Source{Files: files, Packaged: true}, ".", &weight{})
	if err != nil {
		t.Fatal(err)
	}
	if g, w := names(got), names(want); !slices.Equal(g, w) || len(w) != 6 {
		t.Errorf("read\n%q, Helm\n%q", g, w)
	}
	if len(inputs) != 8 {
		t.Errorf("%d inputs", len(inputs))
	}
	if left, _, err := readChart(t.Context(), hydrate.Source{Files: files}, ".", &weight{}); err != nil || slices.Equal(names(left), names(want)) {
		t.Errorf("a folder with this .helmignore is read as the archive: %v", err)
	}
}

func TestPackagedChartRefused(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: v2\nname: c\nversion: 1.0.0\n"
	for want, a := range map[string]archived{
		"two files a":         archive(t, "c/Chart.yaml", meta, "c/a", "1", "c/a", "2"),
		"both a file and":     archive(t, "c/Chart.yaml", meta, "c/a", "1", "c/a/b", "2"),
		"parent directory":    archive(t, "c/Chart.yaml", meta, "c/../../a", "1"),
		"unpack chart: gzip:": archived("no archive at all"),
	} {
		if _, err := (Charts{a}).Open(t.Context(), lock.Chart{Digest: "sha256:x"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

package lock

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
)

const chartLock = `schemaVersion: v1
releaseId: chart-1.10.0_up3-111111111111
chart:
  repo: oci://ghcr.io/acme/charts
  name: redis
  version: 1.10.0+up3
  digest: ` + chartDigest + `
packaging:
  kind: chart
createdAt: '2026-03-22T12:34:56Z'
`

const chartDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

func packaged(repo, version, digit string) Lock {
	c := Chart{Repo: repo, Name: "redis", Version: version, Digest: digest.Digest("sha256:" + strings.Repeat(digit, 64))}
	return Lock{SchemaVersion: SchemaVersion, ReleaseID: c.ReleaseID(), Chart: c, Packaging: Packaging{Kind: Packaged}, CreatedAt: "2026-03-22T12:34:56Z"}
}

func TestChart(t *testing.T) {
	t.Parallel()
	l, err := Parse("f", []byte(chartLock))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(chartLock, string(Format(l))); diff != "" {
		t.Error(diff)
	}
	if l.Revision() != chartDigest || l.Tagged() != chartDigest || l.SourceURL() != "oci://ghcr.io/acme/charts/redis" || len(l.Images()) > 0 {
		t.Errorf("%s %s %s %v", l.Revision(), l.Tagged(), l.SourceURL(), l.Images())
	}
	if l.From("https://github.com/acme/app.git").Meaning() != l.Meaning() {
		t.Error("the pipeline's source repository changes what it means")
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"commit":        {"chart:", "gitCommit: " + commit + "\nchart:", "f:3:12: gitCommit excludes packaging.kind: chart"},
		"image":         {"chart:", "image: {ref: x:1, digest: " + chartDigest + "}\nchart:", "f:3:8: image excludes"},
		"images":        {"chart:", "images: [{name: a, ref: x:1, digest: " + chartDigest + "}]\nchart:", "f:3:9: images excludes"},
		"source":        {"kind: chart", "kind: chart\n  sourceRepo: https://x/y\n  sourcePath: .", "f:10:15: sourceRepo excludes packaging.kind: chart: an upstream chart has neither source repository nor images; take it out\nf:11:15: sourcePath excludes"},
		"another kind":  {"kind: chart", "kind: helm", "f:4:3: chart is for packaging.kind: chart alone"},
		"no chart":      {chartLock[strings.Index(chartLock, "chart:\n"):strings.Index(chartLock, "packaging:")], "", "f:4:9: chart is missing, which packaging.kind: chart needs"},
		"empty":         {chartLock[strings.Index(chartLock, "chart:\n"):strings.Index(chartLock, "packaging:")], "chart:\n", "f:3:7: chart is empty: write repo, name, version and digest"},
		"plain HTTP":    {"oci://ghcr.io", "http://ghcr.io", "f:4:9: chart.repo has another scheme than oci:// and https://"},
		"credentials":   {"oci://ghcr.io", "https://ada:hunter2@ghcr.io", "f:4:9: chart.repo carries credentials"},
		"query":         {"acme/charts", "acme/charts?x=y", "f:4:9: chart.repo is not the URL of a chart repository"},
		"name":          {"name: redis", "name: ../redis", `f:5:9: chart name "../redis" is not letters`},
		"range":         {"1.10.0+up3", "^1", `f:6:12: chart.version "^1" is not an exact version`},
		"digest":        {"digest: sha256:1", "digest: sha256:", "f:7:11: chart.digest"},
		"other digest":  {"digest: sha256:1", "digest: sha256:2", "f:2:12: releaseId \"chart-1.10.0_up3-111111111111\" belongs to another chart: this one is chart-1.10.0_up3-211111111111"},
		"other version": {"version: 1.10.0", "version: 1.10.1", "this one is chart-1.10.1_up3-111111111111"},
		"id of another": {"releaseId: chart-1.10.0_up3-111111111111", "releaseId: git-" + commit, `f:2:12: releaseId "git-` + commit + `" is not "chart-"`},
		"version twice": {"version: 1.10.0+up3", "version:", "f:6:11: chart.version"},
	} {
		in := strings.Replace(chartLock, test.old, test.new, 1)
		if _, err := Parse("f", []byte(in)); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
	long := packaged("oci://x/y", "1.0.0-"+strings.Repeat("a", 60), "1")
	if want := "chart-1.0.0-" + strings.Repeat("a", 34) + "-111111111111"; long.ReleaseID != want || CheckID(want) != nil {
		t.Errorf("%s is the id of a long version", long.ReleaseID)
	}
}

func TestParseChart(t *testing.T) {
	t.Parallel()
	for place, want := range map[string]Chart{
		"oci://ghcr.io/acme/charts/redis":        {Repo: "oci://ghcr.io/acme/charts", Name: "redis"},
		"https://charts.example.com/redis":       {Repo: "https://charts.example.com", Name: "redis"},
		"http://127.0.0.1:5000/a//redis":         {Repo: "http://127.0.0.1:5000/a", Name: "redis"},
		"redis":                                  {},
		"oci://ghcr.io":                          {},
		"https://charts.example.com/":            {},
		"https://u:p@charts.example.com/redis":   {},
		"ftp://charts.example.com/redis":         {},
		"https://charts.example.com/redis?x=y/z": {},
	} {
		got, err := ParseChart(place)
		if got != want || (err == nil) != (want != Chart{}) {
			t.Errorf("%s: %+v, %v", place, got, err)
		}
	}
}

func TestChartIDs(t *testing.T) {
	t.Parallel()
	const id = "chart-1.10.0_up3-111111111111"
	for short, want := range map[string]bool{id: true, "chart-1.10": true, "1.10.0": true, "1.2": false, "git-1": false, "chart-2": false} {
		if Abbreviates(short, id) != want {
			t.Errorf("%s abbreviates %s: %t", short, id, !want)
		}
	}
	if commitOf(id) != "" {
		t.Errorf("the commit of a chart is %s", commitOf(id))
	}
	files := fstest.MapFS{"d/" + id + ".yaml": {Data: []byte(chartLock)}, "d/current.yaml": {Data: []byte(chartLock)}}
	if ids, err := Releases(files, "d"); err != nil || len(ids) != 1 || ids[0] != id {
		t.Error(ids, err)
	}
	if _, err := Release(files, "d", "chart-9-111111111111"); err == nil || !strings.Contains(err.Error(), "write it with `lockage lock write --chart`") {
		t.Error(err)
	}
}

// Charts are ordered by version, and what was recorded before does not come back where nothing orders it.
func TestWriteCharts(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	const charts, mirror = "oci://ghcr.io/acme/charts", "https://charts.example.com"
	for i, step := range []struct {
		lock             Lock
		history, current Action
	}{
		{fullLock(), Created, Created},
		{packaged(charts, "1.2.0", "1"), Created, Updated},
		{packaged(charts, "1.10.0", "2"), Created, Updated},
		{packaged(charts, "1.10.0", "2"), Unchanged, Unchanged},
		{packaged(charts, "1.9.0", "3"), Created, Newer},
		{packaged(charts, "1.2.0", "1"), Unchanged, Newer},
		{packaged(charts, "1.10.0", "4"), Created, Updated}, // the archive was replaced
		{packaged(charts, "1.10.0", "2"), Unchanged, Newer},
		{fullLock(), Unchanged, Newer},
		{packaged(mirror, "0.1.0", "5"), Created, Updated},
	} {
		written, err := Write(t.Context(), root, "d", step.lock, line{})
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if written.History.Action != step.history || written.Current.Action != step.current {
			t.Errorf("step %d: %s, %s", i, written.History.Action, written.Current.Action)
		}
	}
	if _, err := Write(t.Context(), root, "d", packaged(mirror, "1.10.0", "4"), line{}); err == nil || !strings.Contains(err.Error(), "is recorded already, as "+charts+"/redis:1.10.0: one archive is one release") {
		t.Error(err)
	}
}

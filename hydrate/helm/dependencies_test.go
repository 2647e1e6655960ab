package helm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

const repository = "https://charts.example.com/stable"

// shelf holds packaged charts by "repository name version", and notes who asks for what.
type shelf struct {
	archives map[string][]byte

	mu    sync.Mutex
	asked []string
}

func (s *shelf) Archive(_ context.Context, repository, name, version string) ([]byte, error) {
	key := repository + " " + name + " " + version
	s.mu.Lock()
	s.asked = append(s.asked, key)
	s.mu.Unlock()
	if data := s.archives[key]; data != nil {
		return data, nil
	}
	return nil, fmt.Errorf("no %s on the shelf", key)
}

// library is a packaged chart with one object.
func library(t *testing.T, name, version, text string) []byte {
	t.Helper()
	return pack(t, []txtar.File{
		{Name: name + "/Chart.yaml", Data: []byte("apiVersion: v2\nname: " + name + "\nversion: " + version)},
		{Name: name + "/templates/a.yaml", Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {text: " + text + ", name: {{ .Chart.Name }}}")},
	})
}

// locked adds to a chart a lock file that is in sync, made from the dependencies and the versions that are given.
func locked(t *testing.T, fsys fstest.MapFS, dir string, versions ...string) fstest.MapFS {
	t.Helper()
	files, _, err := readFiles(t.Context(), must(fs.Sub(fsys, dir)), false)
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(files, &weight{})
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]string
	for i, d := range c.Metadata.Dependencies {
		list = append(list, map[string]string{"name": d.Name, "repository": d.Repository, "version": versions[i]})
	}
	lock := map[string]any{"dependencies": list, "digest": "none", "generated": "2026-03-22T12:34:56Z"}
	name := path.Join(dir, "Chart.lock")
	fsys = maps.Clone(fsys)
	fsys[name] = &fstest.MapFile{Data: must(yaml.Marshal(lock))}
	if files, _, err = readFiles(t.Context(), must(fs.Sub(fsys, dir)), false); err != nil {
		t.Fatal(err)
	}
	if c, err = load(files, &weight{}); err != nil {
		t.Fatal(err)
	}
	lock["digest"] = digestOf([]any{c.Metadata.Dependencies, c.Lock.Dependencies})
	fsys[name] = &fstest.MapFile{Data: must(yaml.Marshal(lock))}
	return fsys
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func chartWith(dependencies ...string) fstest.MapFS {
	return chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies:\n- "+strings.Join(dependencies, "\n- "))
}

// TestHelmsOwnLock is of a lock that `helm dependency update` wrote.
func TestHelmsOwnLock(t *testing.T) {
	t.Parallel()
	const helmsDigest = "sha256:70aafee70442ee0bbdabee461364b55ffe3f2f08fc0d0113772bf014846a5090"
	fsys := chartFS("Chart.yaml", "apiVersion: v2\nname: a\nversion: 0.1.0\ndependencies:\n- name: lib\n  version: \"~0.2\"\n  repository: \"file://../lib\"\n  tags: [x]\n  alias: other\n  import-values: [a, {child: b, parent: c}]\n", "Chart.lock", "")
	for lock, want := range map[string]string{helmsDigest: "lib", strings.Replace(helmsDigest, "7", "8", 1): "Chart.lock is out of date"} {
		fsys["Chart.lock"].Data = []byte("dependencies:\n- name: lib\n  repository: file://../lib\n  version: 0.2.0\ndigest: " + lock + "\ngenerated: \"2026-03-22T12:34:56Z\"\n")
		tree := fstest.MapFS{"lib/Chart.yaml": {Data: []byte("apiVersion: v2\nname: lib\nversion: 0.2.0")}}
		for name, file := range fsys {
			tree["a/"+name] = file
		}
		pkg, err := Renderer{}.Open(t.Context(), hydrate.Source{Files: tree, Path: "a"})
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Error(err)
			}
			continue
		}
		if p, ok := pkg.(*Package); !ok || p.chart.Dependencies()[0].Name() != want {
			t.Errorf("want %s", want)
		}
	}
}

func TestFetchesWhatIsLocked(t *testing.T) {
	t.Parallel()
	s := &shelf{archives: map[string][]byte{
		repository + " d 1.2.3":                           library(t, "d", "1.2.3", "one"),
		"oci://registry.example.com/charts e v2.0.0+b":    library(t, "e", "2.0.0+b", "two"),
		"https://x.example.com/r?token=hunter2 f 0.0.1-a": library(t, "f", "0.0.1-a", "three"),
	}}
	dependencies := []string{
		"{name: d, version: ^1.0.0, repository: " + repository + "}",
		"{name: d, version: ^1.0.0, repository: " + repository + ", alias: again}",
		"{name: here, version: '*'}",
		"{name: e, version: v2.0.0+b, repository: 'oci://registry.example.com/charts'}",
		"{name: f, version: 0.0.1-a, repository: 'https://x.example.com/r?token=hunter2'}",
	}
	fsys := chartWith(dependencies...)
	fsys["charts/here/Chart.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: here\nversion: 0.1.0")}
	fsys = locked(t, fsys, ".", "1.2.3", "1.2.3", "*", "v2.0.0+b", "0.0.1-a")
	pkg, err := Renderer{Charts: s}.Open(t.Context(), folder(fsys))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.asked) != 3 {
		t.Errorf("asked for %q", s.asked)
	}
	want := map[string][32]byte{
		"pkg:helm/d@1.2.3?repository_url=" + repository:                          sha256.Sum256(s.archives[repository+" d 1.2.3"]),
		"pkg:helm/e@v2.0.0%2Bb?repository_url=oci://registry.example.com/charts": sha256.Sum256(s.archives["oci://registry.example.com/charts e v2.0.0+b"]),
		"pkg:helm/f@0.0.1-a?repository_url=https://x.example.com/r":              sha256.Sum256(s.archives["https://x.example.com/r?token=hunter2 f 0.0.1-a"]),
	}
	got := map[string][32]byte{}
	for _, in := range pkg.Inputs() {
		if in.Kind == hydrate.InputDependency {
			got[in.Path] = in.SHA256
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !slices.IsSortedFunc(pkg.Inputs(), func(a, b hydrate.Input) int { return strings.Compare(a.Path, b.Path) }) {
		t.Error("inputs are not sorted")
	}
	rendered, err := pkg.Render(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range rendered.Manifests {
		all = append(all, string(m.Data))
	}
	if text := strings.Join(all, "\n"); len(all) != 4 || !strings.Contains(text, "text: one, name: again") || !strings.Contains(text, "text: two") {
		t.Errorf("%d manifests: %s", len(all), text)
	}
}

func TestReadsBesideTheChart(t *testing.T) {
	t.Parallel()
	lib := func(version string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("apiVersion: v2\nname: lib\nversion: " + version)}
	}
	fsys := fstest.MapFS{
		"k8s/app/Chart.yaml":    {Data: []byte("apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: lib, version: ^1.0.0, repository: 'file://../../shared/lib/'}]")},
		"shared/lib/Chart.yaml": lib("1.5.0"), "shared/lib/templates/a.yaml": {Data: []byte("a: b")}, "shared/other": {},
	}
	open := func(fsys fs.FS) (inputs []string, prefetched []string, err error) {
		pkg, err := Renderer{}.Open(t.Context(), hydrate.Source{Files: fsys, Path: "k8s/app", Prefetch: func(_ context.Context, paths ...string) error {
			prefetched = append(prefetched, paths...)
			return nil
		}})
		if err != nil {
			return nil, nil, err
		}
		for _, in := range pkg.Inputs() {
			inputs = append(inputs, in.Path)
		}
		return inputs, prefetched, nil
	}
	// Without a lock the commit says what it is.
	inputs, prefetched, err := open(fsys)
	if want := []string{"../../shared/lib/Chart.yaml", "../../shared/lib/templates/a.yaml", "Chart.yaml"}; err != nil || !slices.Equal(inputs, want) || !slices.Equal(prefetched, []string{"shared/lib"}) {
		t.Errorf("read %q, prefetched %q; %v", inputs, prefetched, err)
	}
	if _, _, err := open(locked(t, fsys, "k8s/app", "1.5.0")); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func() fs.FS{
		"shared/lib holds version 1.5.0, and 1.4.0 is locked; run `helm dependency update k8s/app`": func() fs.FS { return locked(t, fsys, "k8s/app", "1.4.0") },
		"shared/lib holds version 2.0.0, and ^1.0.0 is locked": func() fs.FS {
			other := maps.Clone(fsys)
			other["shared/lib/Chart.yaml"] = lib("2.0.0")
			return other
		},
		"read shared/lib of the source repository: no Chart.yaml": func() fs.FS {
			other := maps.Clone(fsys)
			delete(other, "shared/lib/Chart.yaml")
			return other
		},
	} {
		if _, _, err := open(change()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	for _, away := range []string{"../../../lib", "/lib", "../../..", "../../shared/../../x"} {
		other := maps.Clone(fsys)
		other["k8s/app/Chart.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: lib, version: ^1.0.0, repository: 'file://" + away + "'}]")}
		if _, _, err := open(other); err == nil || !strings.Contains(err.Error(), "leads out of the source repository") {
			t.Errorf("%s: %v", away, err)
		}
	}
}

func TestDependencyRefusals(t *testing.T) {
	t.Parallel()
	s := &shelf{archives: map[string][]byte{
		repository + " d 1.0.0": library(t, "d", "1.0.0", "x"),
		repository + " d 1.1.0": library(t, "d", "1.0.0", "x"),
		repository + " d 1.2.0": []byte("<html>"),
	}}
	d := "{name: d, version: ^1.0.0, repository: " + repository + "}"
	with := func(fsys fstest.MapFS, files ...string) fstest.MapFS {
		for i := 0; i < len(files); i += 2 {
			fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
		}
		return fsys
	}
	vendored := func(version string) string { return "apiVersion: v2\nname: d\nversion: " + version }
	for name, c := range map[string]struct {
		chart fs.FS
		want  string
	}{
		"whole":        {locked(t, chartWith(d), ".", "1.0.0"), ""},
		"no lock":      {chartWith(d), "has no Chart.lock to say which versions to fetch: d ^1.0.0; run `helm dependency update .` and commit Chart.lock"},
		"exact":        {chartWith("{name: d, version: 1.0.0, repository: " + repository + "}"), ""},
		"exact, v":     {chartWith("{name: d, version: v1.0.0, repository: " + repository + "}"), "no " + repository + " d v1.0.0 on the shelf"},
		"exact, =":     {chartWith("{name: d, version: '= 1.0.0', repository: " + repository + "}"), ""},
		"not exact":    {chartWith("{name: d, version: 1.0.0, repository: "+repository+"}", "{name: e, version: '1.0', repository: "+repository+"}", "{name: f, version: '>1.0.0', repository: "+repository+"}"), "which versions to fetch: e 1.0, f >1.0.0; run"},
		"exact, lock":  {with(locked(t, chartWith("{name: d, version: 1.0.0, repository: "+repository+"}"), ".", "1.0.0"), "Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1.0.1, repository: '"+repository+"'}]"), "Chart.lock is out of date"},
		"no lock, v1":  {chartFS("Chart.yaml", "apiVersion: v1\nname: c\nversion: 0.1.0", "requirements.yaml", "dependencies: ["+d+"]"), "commit requirements.lock"},
		"no digest":    {with(chartWith(d), "Chart.lock", "dependencies: [{name: d, version: 1.0.0, repository: '"+repository+"'}]"), "Chart.lock is out of date: its digest is not that of the dependencies in Chart.yaml; run `helm dependency update .`"},
		"changed":      {with(locked(t, chartWith(d), ".", "1.0.0"), "Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: ^1.0.1, repository: '"+repository+"'}]"), "Chart.lock is out of date"},
		"out of range": {locked(t, chartWith(d), ".", "2.0.0"), "Chart.lock pins no version of d ^1.0.0"},
		"absent":       {locked(t, chartWith(d), ".", "1.0.1"), "dependency d ^1.0.0: no " + repository + " d 1.0.1 on the shelf"},
		"other":        {locked(t, chartWith(d), ".", "1.1.0"), "https://charts.example.com/stable holds d 1.0.0"},
		"no archive":   {locked(t, chartWith(d), ".", "1.2.0"), "dependency d ^1.0.0: load chart: "},
		"alias":        {locked(t, chartWith("{name: d, version: ^1.0.0, repository: '@stable'}"), ".", "1.0.0"), "names its repository by @stable, which only the configuration of somebody's machine explains"},
		"alias:":       {chartWith("{name: d, version: ^1.0.0, repository: 'alias:stable'}"), "by alias:stable"},
		"nowhere":      {chartWith("{name: d, version: ^1.0.0}"), "dependency d has no repository, and charts/ does not hold d ^1.0.0"},
		"no range":     {locked(t, chartWith("{name: d, version: what, repository: '"+repository+"'}"), ".", "1.0.0"), "pins no version of d what"},
		"vendored":     {with(chartWith(d), "charts/d/Chart.yaml", vendored("1.9.9")), ""},
		"stray": {with(chartWith("{name: d, version: ^1.0.0, repository: '"+repository+"', condition: d.enabled}"), "charts/d/Chart.yaml", vendored("2.0.0")),
			"charts/ of chart c holds d 2.0.0, and Chart.yaml asks for ^1.0.0"},
		"stray beside a good one":         {with(chartWith(d), "charts/d/Chart.yaml", vendored("1.0.0"), "charts/old.tgz", string(library(t, "d", "0.9.0", "x"))), "holds d 0.9.0"},
		"prerelease":                      {with(chartWith(d), "charts/d/Chart.yaml", vendored("1.1.0-rc.1")), "holds d 1.1.0-rc.1, and Chart.yaml asks for ^1.0.0: run `helm dependency update` and commit charts/, or change the range: only a range with a pre-release takes pre-releases, such as \"^1.0.0-0\""},
		"two ranges":                      {with(chartWith("{name: d, version: ^1.0.0}", "{name: d, version: ~2.1.0, alias: e}"), "charts/d/Chart.yaml", vendored("2.2.0")), "asks for ^1.0.0 or ~2.1.0"},
		"undeclared":                      {with(chartWith("{name: d, version: ^1.0.0}"), "charts/d/Chart.yaml", vendored("1.0.0"), "charts/x/Chart.yaml", strings.Replace(vendored("7.0.0"), "name: d", "name: x", 1)), ""},
		"no version declared":             {with(chartWith("{name: d}"), "charts/d/Chart.yaml", vendored("1.0.0")), ""},
		"vendored alias, another fetched": {with(locked(t, chartWith(d, "{name: x, version: 7.0.0, repository: '@stable'}"), ".", "1.0.0", "7.0.0"), "charts/x/Chart.yaml", strings.Replace(vendored("7.0.0"), "name: d", "name: x", 1)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Renderer{Charts: s}.Open(t.Context(), folder(c.chart))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	if _, err := (Renderer{}).Open(t.Context(), folder(locked(t, chartWith(d), ".", "1.0.0"))); err == nil || !strings.Contains(err.Error(), "nothing is fetched here") {
		t.Error(err)
	}
}

// TestSubchartsOfSubcharts are as those who packed them left them: Helm takes them, and so do we, but say it.
func TestSubchartsOfSubcharts(t *testing.T) {
	t.Parallel()
	fsys := chartWith("{name: d, version: 1.0.0}")
	fsys["charts/d/Chart.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: d\nversion: 1.0.0\ndependencies: [{name: e, version: 1.0.0}, {name: gone, version: 3.x, repository: '" + repository + "'}]")}
	fsys["charts/d/charts/e/Chart.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: e\nversion: 2.0.0")}
	rendered, err := renderFS(t, fsys, request)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"subchart c/charts/d declares gone 3.x, which is not in its charts/ folder and is left out, as in helm template",
		"subchart c/charts/d holds e 2.0.0, and declares 1.0.0",
	}
	if diff := cmp.Diff(want, rendered.Warnings); diff != "" {
		t.Error(diff)
	}
}

// FuzzLock: no lock file makes a panic, and none that was changed passes.
func FuzzLock(f *testing.F) {
	f.Add([]byte("dependencies: [{name: d, version: 1.0.0, repository: x}]\ndigest: sha256:abc"), []byte("dependencies: [{name: d, version: 1.0.0, repository: 'https://x'}]"))
	f.Add([]byte("dependencies: [null]\ndigest: ''"), []byte("dependencies: [{name: d, import-values: [{1: 2}], version: '*'}]"))
	f.Fuzz(func(t *testing.T, lock, dependencies []byte) {
		fsys := chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\n"+string(dependencies), "Chart.lock", string(lock))
		_, err := Renderer{Charts: noCharts{}}.Open(t.Context(), folder(fsys))
		if errors.Is(err, errFetched) && !strings.Contains(string(lock), "sha256:") {
			t.Errorf("fetched by the lock %q", lock)
		}
	})
}

var errFetched = errors.New("fetched")

type noCharts struct{}

func (noCharts) Archive(context.Context, string, string, string) ([]byte, error) {
	return nil, errFetched
}

package helm

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/internal/testworld"
)

// TestDependenciesOfOthers judges all charts below the folders that LOCKAGE_CHARTS names as `helm dependency list` and
// `helm dependency build` do: which vendored dependencies are in range, and which locks are out of date.
func TestDependenciesOfOthers(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_CHARTS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_CHARTS names no folders of charts")
	}
	helm := testworld.Upstream(t, "helm")
	vendored, strayed, locks, staleLocks := 0, 0, 0, 0
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.Name() != "Chart.yaml" {
				return err
			}
			dir := filepath.Dir(name)
			files, _, err := readFiles(t.Context(), os.DirFS(dir), false)
			if err != nil {
				return nil
			}
			c, err := load(files, &weight{})
			if err != nil || len(c.Metadata.Dependencies) == 0 {
				return nil
			}
			if len(c.Dependencies()) > 0 {
				vendored++
			}
			if judgeRanges(t, helm, dir, c) {
				strayed++
			}
			if c.Lock != nil {
				locks++
				out := run(t, helm, "dependency", "build", "--skip-refresh", copyOf(t, dir))
				// Helm looks for file:// dependencies first, which did not come along.
				if stale := strings.Contains(out, "out of sync"); stale == inSync(c) && !strings.Contains(out, "not found") {
					t.Errorf("%s: in sync %t, helm says: %s", dir, inSync(c), out)
				} else if stale {
					staleLocks++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d charts with vendored dependencies, %d with a stray one; %d locks, %d out of date", vendored, strayed, locks, staleLocks)
}

// judgeRanges compares with `helm dependency list`, and reports whether the chart has faults.
func judgeRanges(t *testing.T, helm, dir string, c *chart.Chart) bool {
	t.Helper()
	_, err := lacking(c)
	out := run(t, helm, "dependency", "list", dir)
	wrong := strings.Contains(out, "wrong version") || strings.Contains(out, "invalid version")
	if wrong != (err != nil) && !strings.Contains(out, "too many matches") {
		t.Errorf("%s: %v; helm says:\n%s", dir, err, out)
	}
	if err != nil {
		t.Logf("%s: %v", dir, err)
	}
	return err != nil
}

// copyOf copies a chart without its templates; file:// dependencies do not come along.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "chart")
	for _, name := range []string{"Chart.yaml", "Chart.lock", "requirements.yaml", "requirements.lock"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			writeFile(t, filepath.Join(to, name), data)
		}
	}
	return to
}

// run runs upstream's helm far from anybody's configuration, and returns all that it says.
func run(t *testing.T, helm string, args ...string) string {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), helm, args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "HELM_") || strings.HasPrefix(v, "XDG_") }),
		"HOME="+home, "KUBECONFIG=/dev/null", "HTTPS_PROXY=http://127.0.0.1:1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(&out, "\n%v", err)
	}
	return out.String()
}

// TestFetchedEqualsDependencyBuild: what Helm makes of a chart after `helm dependency build`, we make of the chart alone.
func TestFetchedEqualsDependencyBuild(t *testing.T) {
	t.Parallel()
	helm := testworld.Upstream(t, "helm")
	dir := chartDir(t, "dependencies")
	served := t.TempDir()
	site := httptest.NewServer(http.FileServer(http.Dir(served)))
	t.Cleanup(site.Close)
	for _, name := range []string{"cache-1.0.0", "cache-1.1.0", "cache-2.0.0", "queue"} {
		if out := run(t, helm, "package", filepath.Join(dir, "published", name), "-d", filepath.Join(served, "stable")); !strings.Contains(out, "Success") {
			t.Fatal(out)
		}
	}
	if out := run(t, helm, "repo", "index", filepath.Join(served, "stable")); out != "" {
		t.Fatal(out)
	}
	metadata := filepath.Join(dir, "source", "app", "Chart.yaml")
	data, err := os.ReadFile(metadata)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, metadata, bytes.ReplaceAll(data, []byte("http://repository"), []byte(site.URL+"/stable")))

	built := t.TempDir()
	if err := os.CopyFS(built, os.DirFS(filepath.Join(dir, "source"))); err != nil {
		t.Fatal(err)
	}
	if out := run(t, helm, "dependency", "update", filepath.Join(built, "app")); !strings.Contains(out, "Saving 5 charts") {
		t.Fatal(out)
	}
	lock, err := os.ReadFile(filepath.Join(built, "app", "Chart.lock"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "source", "app", "Chart.lock"), lock)
	// Newer versions come, which the lock does not mean.
	if out := run(t, helm, "package", filepath.Join(dir, "published", "cache-1.0.0"), "--version", "1.2.0", "-d", filepath.Join(served, "stable")); !strings.Contains(out, "Success") {
		t.Fatal(out)
	}
	run(t, helm, "repo", "index", filepath.Join(served, "stable"))

	renderer := Renderer{Charts: chartrepo.New(chartrepo.Options{CacheDir: t.TempDir()})}
	pkg, err := renderer.Open(t.Context(), hydrate.Source{Files: os.DirFS(filepath.Join(dir, "source")), Path: "app"})
	if err != nil {
		t.Fatal(err)
	}
	base := hydrate.Request{ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksAll, IncludeCRDs: true}
	for name, values := range map[string]string{
		"defaults":   "",
		"conditions": "first: {enabled: false}\nqueue: {inner: {enabled: true}}",
		"tags":       "tags: {optional: false}\nlocal: {text: other}",
		"all on":     "first: {enabled: true}\ntags: {optional: true}\nqueue: {inner: {enabled: true}}\nglobal: {team: x}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := base
			request.Values = []hydrate.File{{Path: "v", Data: []byte(values)}}
			want, err := judge(helm).Objects(t, template(t, filepath.Join(built, "app"), request)...)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := pkg.Render(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			var all bytes.Buffer
			for _, m := range rendered.Manifests {
				fmt.Fprintf(&all, "---\n%s\n", m.Data)
			}
			if diff := cmp.Diff(want, testworld.Objects(t, &all)); diff != "" || len(want) < 3 {
				t.Errorf("%d objects differ (-helm +lockage):\n%s", len(want), diff)
			}
			t.Logf("%d objects", len(want))
		})
	}
}

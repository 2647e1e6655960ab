package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/testworld"
)

// chartDir writes a chart from testdata to a folder; the archive's comment describes how names are read.
func chartDir(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	archives := map[string][]txtar.File{}
	for _, f := range archive.Files {
		if i := strings.Index(f.Name, ".tgz/"); i >= 0 {
			tgz := f.Name[:i+len(".tgz")]
			archives[tgz] = append(archives[tgz], txtar.File{Name: f.Name[i+len(".tgz/"):], Data: f.Data})
			continue
		}
		if plain, ok := strings.CutSuffix(f.Name, ".crlf"); ok {
			f.Name, f.Data = plain, bytes.ReplaceAll(f.Data, []byte("\n"), []byte("\r\n"))
		}
		if plain, ok := strings.CutSuffix(f.Name, ".bom"); ok {
			f.Name, f.Data = plain, append(slices.Clone(utf8BOM), f.Data...)
		}
		writeFile(t, filepath.Join(dir, f.Name), f.Data)
	}
	for tgz, files := range archives {
		writeFile(t, filepath.Join(dir, tgz), pack(t, files))
	}
	return dir
}

func writeFile(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func pack(t *testing.T, files []txtar.File) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	for _, f := range files {
		if err := tw.WriteHeader(&tar.Header{Name: f.Name, Mode: 0o644, Size: int64(len(f.Data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// template runs `helm template` and decodes its output with apimachinery, which knows nothing of our decoder.
func template(t *testing.T, helm, dir string, request hydrate.Request) (map[string]any, error) {
	t.Helper()
	args := []string{"template", request.ReleaseName, dir, "--namespace", request.Namespace, "--kube-version", request.KubeVersion}
	for _, v := range request.APIVersions {
		args = append(args, "--api-versions", v)
	}
	for i, f := range request.Values {
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
		writeFile(t, name, f.Data)
		args = append(args, "-f", name)
	}
	for _, s := range request.Set {
		args = append(args, "--set-literal", s.Key+"="+s.Value)
	}
	if request.IncludeCRDs {
		args = append(args, "--include-crds")
	}
	cmd := exec.CommandContext(t.Context(), helm, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG=/dev/null")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("helm: %s", stderr.String())
	}
	return testworld.Objects(t, bytes.NewReader(out)), nil
}

// compare renders with upstream and with us, through decoder, layout and tree, and reports what differs.
func compare(t *testing.T, helm, dir string, request hydrate.Request) (objects int) {
	t.Helper()
	want, wantErr := template(t, helm, dir, request)
	got, gotErr := render(t, dir, request)
	if wantErr != nil || gotErr != nil {
		if wantErr == nil || gotErr == nil {
			t.Errorf("helm says: %v\nwe say: %v", wantErr, gotErr)
		} else {
			t.Logf("both fail:\n%v\n%v", wantErr, gotErr)
		}
		return 0
	}
	var all bytes.Buffer
	files := 0
	for name, data := range got.Files() {
		files++
		fmt.Fprintf(&all, "---\n# %s\n%s", name, data)
	}
	ours := testworld.Objects(t, &all)
	if len(want) != len(ours) || len(ours) != files {
		t.Errorf("%d objects in %d files, helm has %d", len(ours), files, len(want))
	}
	again, err := template(t, helm, dir, request)
	if err != nil {
		t.Fatal(err)
	}
	dropRandom(t, want, again, ours)
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Errorf("objects differ (-helm +lockage):\n%.4000s", diff)
	}
	return len(want)
}

// dropRandom leaves out what cannot be compared, since upstream itself renders it differently in two runs: objects with
// random content, and as many objects with random names as upstream has of their kind.
func dropRandom(t *testing.T, want, again, ours map[string]any) {
	t.Helper()
	kind := func(key string) string { return key[:strings.LastIndex(key, "/")] }
	renamed := map[string]int{}
	for key := range want {
		other, there := again[key]
		if there && cmp.Equal(want[key], other) {
			continue
		}
		t.Logf("random: %s", key)
		if !there {
			renamed[kind(key)]++
		}
		delete(want, key)
		if there {
			delete(ours, key)
		}
	}
	for key := range ours {
		if _, there := want[key]; !there && renamed[kind(key)] > 0 {
			renamed[kind(key)]--
			delete(ours, key)
		}
	}
}

func render(t *testing.T, dir string, request hydrate.Request) (*hydrate.Tree, error) {
	t.Helper()
	chart, err := Renderer{}.Open(t.Context(), folder(os.DirFS(dir)))
	if err != nil {
		return nil, err
	}
	rendered, err := chart.Render(t.Context(), request)
	if err != nil {
		return nil, err
	}
	objects, err := hydrate.Objects(rendered.Manifests)
	if err != nil {
		return nil, err
	}
	return hydrate.Layout(objects, hydrate.PerObject)
}

func values(t *testing.T, dir string, names ...string) (files []hydrate.File) {
	t.Helper()
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, hydrate.File{Path: name, Data: data})
	}
	return files
}

func TestObjectsEqualHelmTemplate(t *testing.T) {
	t.Parallel()
	helm := testworld.Upstream(t, "helm")
	dir := chartDir(t, "kitchen-sink")
	base := hydrate.Request{ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksAll, IncludeCRDs: true}
	for name, change := range map[string]func(*hydrate.Request){
		"defaults": func(*hydrate.Request) {},
		"no crds":  func(r *hydrate.Request) { r.IncludeCRDs = false },
		"values": func(r *hydrate.Request) {
			r.Values = values(t, dir, "stage/plain.yaml", "stage/other.yaml", "stage/more.yaml")
		},
		"one file":   func(r *hydrate.Request) { r.Values = values(t, dir, "stage/other.yaml") },
		"apis":       func(r *hydrate.Request) { r.APIVersions = []string{"monitoring.coreos.com/v1", "x/v1"} },
		"version":    func(r *hydrate.Request) { r.KubeVersion = "v1.31.7" },
		"too old":    func(r *hydrate.Request) { r.KubeVersion = "1.29.3" },
		"no version": func(r *hydrate.Request) { r.KubeVersion = "new" },
		"bad name":   func(r *hydrate.Request) { r.ReleaseName = "Web_1" },
		"schema":     func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "v", Data: []byte("replicas: many")}} },
		"sub schema": func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "v", Data: []byte("cache: {port: x}")}} },
		"not a map":  func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "v", Data: []byte("- a")}} },
		"sub scalar": func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "v", Data: []byte("cache: 1")}} },
		"set": func(r *hydrate.Request) {
			r.Set = []hydrate.SetValue{
				{Key: "image", Value: "a@sha256:b,c=d{e}[f] \n'g'"}, {Key: "nested.deep.x", Value: "true"},
				{Key: "list[1]", Value: ""}, {Key: "global.labels.team", Value: "1"},
			}
		},
		"set through scalar": func(r *hydrate.Request) {
			r.Set = []hydrate.SetValue{{Key: "image.tag.x", Value: "y"}, {Key: "image.tag", Value: "x"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			request := base
			change(&request)
			t.Logf("%d objects", compare(t, helm, dir, request))
		})
	}
}

// TestChartsOfOthers compares with upstream over folders of charts that LOCKAGE_CHARTS names, separated by colons.
func TestChartsOfOthers(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_CHARTS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_CHARTS names no folders of charts")
	}
	helm := testworld.Upstream(t, "helm")
	for _, folder := range folders {
		charts, err := filepath.Glob(filepath.Join(folder, "*", "Chart.yaml"))
		if err != nil || len(charts) == 0 {
			t.Fatalf("no charts in %s: %v", folder, err)
		}
		for _, chart := range charts {
			dir := filepath.Dir(chart)
			t.Run(filepath.Base(folder)+"/"+filepath.Base(dir), func(t *testing.T) {
				t.Parallel()
				request := hydrate.Request{ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksAll, IncludeCRDs: true}
				t.Logf("%d objects", compare(t, helm, dir, request))
			})
		}
	}
}

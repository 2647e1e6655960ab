package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// judge is upstream's helm, far from anybody's configuration.
func judge(program string) testworld.Judge {
	return testworld.Judge{Program: program, Env: []string{"KUBECONFIG=/dev/null", "TZ=UTC"}}
}

// template returns the arguments by which helm renders a request.
func template(t *testing.T, dir string, request hydrate.Request) []string {
	t.Helper()
	args := []string{"template", request.ReleaseName, dir, "--namespace", request.Namespace, "--kube-version", request.KubeVersion}
	for _, v := range request.APIVersions {
		args = append(args, "--api-versions", v)
	}
	for i, f := range slices.Concat(request.Values, typedValues(request.Set)) {
		name := filepath.Join(t.TempDir(), fmt.Sprintf("%d.yaml", i))
		writeFile(t, name, f.Data)
		args = append(args, "-f", name)
	}
	for _, s := range request.Set {
		switch {
		case s.Value[0] == '"':
			var text string
			if err := json.Unmarshal(s.Value, &text); err != nil {
				t.Fatal(err)
			}
			args = append(args, "--set-literal", s.Key+"="+text)
		case strings.Contains(s.Key, "["): // no file has the like
			args = append(args, "--set-json", s.Key+"="+string(s.Value))
		}
	}
	if request.IncludeCRDs {
		args = append(args, "--include-crds")
	}
	return args
}

// typedValues returns values files that say the same as set, its strings and items aside.
func typedValues(set []hydrate.SetValue) (files []hydrate.File) {
	for _, s := range set {
		if s.Value[0] == '"' || strings.Contains(s.Key, "[") {
			continue
		}
		text := string(s.Value)
		for _, name := range slices.Backward(strings.Split(s.Key, ".")) {
			text = fmt.Sprintf("{%q: %s}", name, text)
		}
		files = append(files, hydrate.File{Path: s.Key, Data: []byte(text)})
	}
	return files
}

// judges are the programs of upstream by the version of Helm.
var judges = map[int]string{3: "helm", 4: "helm4"}

// compare renders with upstream and with us, through decoder, layout and tree, and reports what differs.
func compare(t *testing.T, dir string, request hydrate.Request) {
	t.Helper()
	helm := testworld.Upstream(t, judges[request.Helm])
	objects := judge(helm).Compare(t, func() (iter.Seq2[string, []byte], error) {
		tree, err := render(t, dir, request)
		if err != nil {
			return nil, err
		}
		return tree.Files(), nil
	}, template(t, dir, request)...)
	t.Logf("%d objects", objects)
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
	return hydrate.Layout(objects, hydrate.PerObject, "")
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
				literal("image", "a@sha256:b,c=d{e}[f] \n'g'"), literal("nested.deep.x", "true"),
				literal("list[1]", ""), literal("global.labels.team", "1"),
			}
		},
		"typed set": func(r *hydrate.Request) {
			r.Values = values(t, dir, "stage/other.yaml")
			for key, value := range map[string]string{
				"replicas": "5", "float": "0.1", "number": "1234567", "large": "9007199254740992", "flag": "true", "nested.drop": "null",
				"nested.deep": `{"y": [1.5, null, {"a": "b"}], "x": null}`, "list": `[1, "a", null, [false]]`, "global.labels": `{"more": 1}`,
				"cache.replicas": "2", "second": `{"enabled": false}`, "empty": "{}", "imageless": `""`,
			} {
				r.Set = append(r.Set, hydrate.SetValue{Key: key, Value: json.RawMessage(value)})
			}
		},
		"typed items": func(r *hydrate.Request) {
			r.Set = []hydrate.SetValue{{Key: "list[4]", Value: json.RawMessage("4")}, {Key: "list[0].a", Value: json.RawMessage("null")}}
		},
		"typed wrong": func(r *hydrate.Request) { r.Set = []hydrate.SetValue{{Key: "replicas", Value: json.RawMessage(`"5"`)}} },
		"set through scalar": func(r *hydrate.Request) {
			r.Set = []hydrate.SetValue{literal("image.tag.x", "y"), literal("image.tag", "x")}
		},
	} {
		for version := range judges {
			t.Run(fmt.Sprintf("%s/helm %d", name, version), func(t *testing.T) {
				t.Parallel()
				request := base
				request.Helm = version
				change(&request)
				compare(t, dir, request)
			})
		}
	}
}

// TestFunctionsEqualHelmTemplate compares the result of every function.
func TestFunctionsEqualHelmTemplate(t *testing.T) {
	t.Parallel()
	for version := range judges {
		t.Run(fmt.Sprintf("helm %d", version), func(t *testing.T) {
			t.Parallel()
			dir := chartDir(t, "functions")
			if version == 4 {
				addTemplates4(t, dir)
			}
			compare(t, dir, hydrate.Request{Helm: version, ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksAll})
		})
	}
}

// TestRealCharts compares with upstream over folders of charts that LOCKAGE_CHARTS names, separated by colons: each chart with
// its own values, and with those of each ci/*-values.yaml in it.
func TestRealCharts(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_CHARTS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_CHARTS names no folders of charts")
	}
	for _, folder := range folders {
		charts, err := filepath.Glob(filepath.Join(folder, "*", "Chart.yaml"))
		if err != nil || len(charts) == 0 {
			t.Fatalf("no charts in %s: %v", folder, err)
		}
		for _, chart := range charts {
			dir := filepath.Dir(chart)
			ci, err := filepath.Glob(filepath.Join(dir, "ci", "*-values.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range append([]string{""}, ci...) {
				request := hydrate.Request{ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksAll, IncludeCRDs: true, Generate: true}
				if file != "" {
					request.Values = values(t, "", file)
				}
				for version := range judges {
					request := request
					request.Helm = version
					t.Run(fmt.Sprintf("%s/%s/helm %d", filepath.Base(dir), filepath.Base(file), version), func(t *testing.T) {
						t.Parallel()
						compare(t, dir, request)
					})
				}
			}
		}
	}
}

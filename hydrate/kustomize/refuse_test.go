package kustomize

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
)

const (
	commit     = "0123456789abcdef0123456789abcdef01234567"
	sourceRepo = "https://github.com/acme/app.git"
	configMap  = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n"
)

// tripwire notices requests and programs.
type tripwire struct {
	requests atomic.Int32
	ran      string // exists after a program ran
	scratch  string // must stay empty
}

func (w *tripwire) RoundTrip(*http.Request) (*http.Response, error) {
	w.requests.Add(1)
	return nil, errors.New("the network was asked")
}

// tripped returns what was noticed since.
func (w *tripwire) tripped(t *testing.T) (found []string) {
	t.Helper()
	if w.requests.Swap(0) > 0 {
		found = append(found, "the network was asked")
	}
	if err := os.Remove(w.ran); err == nil {
		found = append(found, "a program was run")
	}
	if entries, err := os.ReadDir(w.scratch); err != nil || len(entries) > 0 {
		found = append(found, "the disk was written to")
	}
	return found
}

// setTripwire replaces every program that kustomize knows, the network, and the folders it could write to.
func setTripwire(t *testing.T) *tripwire {
	t.Helper()
	dir := t.TempDir()
	w := &tripwire{ran: filepath.Join(dir, "ran"), scratch: filepath.Join(dir, "scratch")}
	if err := os.MkdirAll(w.scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"git", "helm", "helmV3", "docker"} {
		script := "#!/bin/sh\necho \"$0\" >" + w.ran + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	for _, name := range []string{"HOME", "TMPDIR", "XDG_CONFIG_HOME", "KUSTOMIZE_PLUGIN_HOME"} {
		t.Setenv(name, w.scratch)
	}
	t.Cleanup(replaceTransport(w))
	return w
}

func replaceTransport(w http.RoundTripper) (restore func()) {
	transport := http.DefaultTransport
	http.DefaultTransport = w
	return func() { http.DefaultTransport = transport }
}

// TestTripwire shows that kustomize alone does what the next test looks for.
func TestTripwire(t *testing.T) {
	w := setTripwire(t)
	files := filesys.MakeFsInMemory()
	if err := files.WriteFile("/kustomization.yaml", []byte("resources: [https://github.com/acme/other//k8s]")); err != nil {
		t.Fatal(err)
	}
	if _, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/"); err == nil {
		t.Error("no error")
	}
	if got := strings.Join(w.tripped(t), ", "); !strings.Contains(got, "network") || !strings.Contains(got, "program") {
		t.Errorf("the tripwire noticed only %q", got)
	}
}

func TestRefuses(t *testing.T) {
	w := setTripwire(t)
	const file = "stages/s/kustomization.yaml"
	for name, test := range map[string]struct {
		kustomization string
		want          string
	}{
		"remote base":         {"resources:\n- a.yaml\n- github.com/acme/other//k8s?ref=v1\n", file + ":3: resources: remote base github.com/acme/other//k8s is not of the source repository github.com/acme/app"},
		"secret in URL":       {"resources:\n- https://me:hunter2@git.example.com/acme/other.git//k8s\n", file + ":2: resources: remote base git.example.com/acme/other//k8s"},
		"file behind URL":     {"resources: [\"https://example.com/all.yaml\"]", file + ":1: resources: a remote base that names no repository"},
		"release of source":   {"resources: [\"https://github.com/acme/app/releases/download/v1/all.yaml\"]", file + ":1: resources: releases/download/v1/all.yaml is not a folder of the source at 0123456789ab"},
		"opaque URL":          {"resources: [\"HTTP:example.com/all.yaml\"]", file + ":1"},
		"ssh":                 {"resources: [\"ssh://git@github.com/acme/other\"]", file + ":1"},
		"forced git":          {"resources: [\"GIT::git@github.com:acme/other\"]", file + ":1"},
		"bases":               {"namePrefix: x\nbases:\n- https://github.com/acme/other//k8s\n", file + ":3"},
		"components":          {"components:\n- git@github.com:acme/other//k8s\n", file + ":2: components"},
		"key in upper case":   {"Resources:\n- github.com/acme/other//k8s\n", file + ":2"},
		"key in long s":       {"re\u017fources:\n- github.com/acme/other//k8s\n", file + ":2"},
		"key given twice":     {"resources: [a.yaml]\nresources:\n- github.com/acme/other//k8s\n", file + ":3"},
		"alias":               {"namePrefix: &x github.com/acme/other//k8s\nresources: [*x]\n", file + ":2"},
		"JSON":                {"{\"resources\":\n[\"github.com/acme/other//k8s\"]}", file + ":2"},
		"folder that is URL":  {"resources: [github.com/acme/local]", file + ":1"},
		"nested":              {"resources: [../../nested]", "nested/kustomization.yaml:2: resources: remote base github.com/acme/other//x"},
		"in the source":       {"resources: [github.com/acme/app//bad]", "bad/kustomization.yaml:1 (source at 0123456789ab): resources: remote base github.com/acme/other"},
		"source not there":    {"resources: [github.com/acme/app//absent]", file + ":1: resources: absent is not a folder of the source at 0123456789ab"},
		"source leaves":       {"resources: [github.com/acme/app//a/../../b]", file + ":1"},
		"patch":               {"patches: [{path: \"https://example.com/p.yaml\", target: {kind: ConfigMap}}]\nresources: [a.yaml]", file + ":1: patches would be fetched"},
		"strategic patch":     {"resources: [a.yaml]\npatchesStrategicMerge: [\"https://example.com/p.yaml\"]", file + ":2: patchesStrategicMerge would be fetched"},
		"JSON patch":          {"resources: [a.yaml]\npatchesJson6902: [{path: \"http://example.com/p.yaml\", target: {kind: ConfigMap, name: a, version: v1}}]", file + ":2: patchesJson6902 would be fetched"},
		"crds":                {"crds: [\"https://example.com/crd.json\"]\nresources: [a.yaml]", file + ":1: crds would be fetched"},
		"configurations":      {"configurations: [\"https://example.com/c.yaml\"]\nresources: [a.yaml]", file + ":1: configurations would be fetched"},
		"openapi":             {"openapi: {path: \"https://example.com/o.json\"}\nresources: [a.yaml]", file + ":1: openapi would be fetched"},
		"replacement":         {"replacements: [{path: \"https://example.com/r.yaml\"}]\nresources: [a.yaml]", file + ":1: replacements would be fetched"},
		"config map file":     {"configMapGenerator: [{name: c, files: [\"https://example.com/f\"]}]", file + ":1: configMapGenerator would be fetched"},
		"named file":          {"configMapGenerator: [{name: c, files: [\"f=https://example.com/f\"]}]", file + ":1: configMapGenerator would be fetched"},
		"env":                 {"configMapGenerator: [{name: c, env: \"https://example.com/f\"}]", file + ":1: configMapGenerator would be fetched"},
		"secret env":          {"secretGenerator: [{name: c, envs: [\"https://example.com/f\"]}]", file + ":1: secretGenerator would be fetched"},
		"helm chart":          {"resources: [a.yaml]\nhelmCharts:\n- {name: nginx, repo: \"https://example.com\"}\n", file + ":3: helmCharts would run helm"},
		"old helm chart":      {"helmChartInflationGenerator:\n- {chartName: nginx, chartRepoUrl: \"https://example.com\"}\n", file + ":2: helmCharts would run helm"},
		"exec plugin":         {"generators: [exec.yaml]", file + ":1: generators: KsopsGenerator of viaduct.ai/v1 would run a program"},
		"inline plugin":       {"resources: [a.yaml]\ntransformers:\n- |-\n  apiVersion: example.com/v1\n  kind: Fn\n  metadata: {name: f, annotations: {config.kubernetes.io/function: '{container: {image: x}}'}}\n", file + ":3: transformers: Fn of example.com/v1 would run a program"},
		"plugin in a list":    {"validators: [list.yaml]\nresources: [a.yaml]", file + ":1: validators: Fn of example.com/v1 would run a program"},
		"plugins in a folder": {"transformers: [../../nested]\nresources: [a.yaml]", file + ":1: transformers: ../../nested lies outside"},
		"plugin folder":       {"transformers: [plugins]\nresources: [a.yaml]", file + ":1: transformers: plugins is a folder"},
		"remote plugin":       {"generators: [\"https://example.com/g.yaml\"]", file + ":1: generators would be fetched"},
		"chart by plugin":     {"generators:\n- |-\n  {apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: n}, name: nginx}\n", file + ":2: generators: HelmChartInflationGenerator of builtin would run a program"},
		"plugin with URL":     {"generators:\n- |-\n  {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: n}, name: n, Files: [\"k=https://example.com/f\"]}\n", file + ":2: generators: Files would be fetched"},
		"plugin patch":        {"resources: [a.yaml]\ntransformers:\n- |-\n  {apiVersion: builtin, kind: PatchTransformer, metadata: {name: n}, PATH: \"https://example.com/f\"}\n", file + ":3: transformers: PATH would be fetched"},
		"absolute base":       {"resources: [/gitops/nested]", file + ":1: resources: /gitops/nested is an absolute path"},
		"absolute file":       {"configMapGenerator: [{name: c, files: [/etc/passwd]}]", file + ":1: configMapGenerator: /etc/passwd is an absolute path"},
		"outside":             {"resources: [../../../etc]", file + ":1: resources: ../../../etc leads out of the repository"},
		"the other root":      {"resources: [../../../source/k8s]", file + ":1: resources: ../../../source/k8s leads out of the repository"},
		"file outside":        {"resources: [../../outside.yaml]", file + ":1: resources: ../../outside.yaml lies outside of the kustomization's folder"},
		"generator outside":   {"configMapGenerator: [{name: c, files: [../../outside.yaml]}]", file + ":1: configMapGenerator: ../../outside.yaml lies outside"},
		"absent":              {"resources:\n- a.yaml\n- absent.yaml\n", file + ":3: resources: absent.yaml: file does not exist"},
		"component is a file": {"components: [a.yaml]", file + ":1: components: a.yaml is a file"},
		"link out":            {"resources: [linked.yaml]", file + ":1: resources: linked.yaml"},
		"link file out":       {"configMapGenerator: [{name: c, files: [up.yaml]}]", "is not in or below"},
		"unknown field":       {"resource: [a.yaml]", file + ": invalid Kustomization"},
		"bad YAML":            {"resources: [", file + ": invalid Kustomization"},
		"cycle":               {"resources: [../../cycle]", "cycle detected"},
		"two files":           {"resources: [two]", "Found multiple kustomization files"},
		"link to other name":  {"resources: [disguise]", "disguise/kustomization.yaml is a symbolic link to a file of another name"},
		"no kustomization":    {"resources: [empty]", "unable to find one of"},
		"bad schema":          {"resources: [a.yaml]\nopenapi: {path: bad.json}\npatches: [{path: a.yaml}]", "kustomize build stages/s: "},
	} {
		t.Run(name, func(t *testing.T) {
			gitops := fstest.MapFS{
				file:                                   {Data: []byte(test.kustomization)},
				"stages/s/a.yaml":                      {Data: []byte(configMap)},
				"stages/s/bad.json":                    {Data: []byte("[]")},
				"stages/s/exec.yaml":                   {Data: []byte("{apiVersion: viaduct.ai/v1, kind: KsopsGenerator, metadata: {name: x}}")},
				"stages/s/list.yaml":                   {Data: []byte("{apiVersion: v1, kind: List, items: [{apiVersion: example.com/v1, kind: Fn, metadata: {name: x}}]}")},
				"stages/s/plugins/p.yaml":              {Data: []byte("{apiVersion: builtin, kind: PrefixTransformer, metadata: {name: x}}")},
				"stages/s/github.com/acme/local/a":     {Data: []byte("a")},
				"stages/s/linked.yaml":                 {Data: []byte("../../../etc/passwd"), Mode: os.ModeSymlink},
				"stages/s/up.yaml":                     {Data: []byte("../../outside.yaml"), Mode: os.ModeSymlink},
				"stages/s/empty/a.yaml":                {Data: []byte(configMap)},
				"stages/s/two/kustomization.yaml":      {Data: []byte("resources: []")},
				"stages/s/two/Kustomization":           {Data: []byte("resources: []")},
				"stages/s/disguise/kustomization.yaml": {Data: []byte("plain.yaml"), Mode: os.ModeSymlink},
				"stages/s/disguise/plain.yaml":         {Data: []byte("resources: [github.com/acme/other//x]")},
				"outside.yaml":                         {Data: []byte(configMap)},
				"nested/kustomization.yaml":            {Data: []byte("resources:\n- github.com/acme/other//x\n")},
				"cycle/kustomization.yaml":             {Data: []byte("resources: [../stages/s]")},
			}
			source := fstest.MapFS{
				"bad/kustomization.yaml": {Data: []byte("resources: [github.com/acme/other]")},
				"k8s/kustomization.yaml": {Data: []byte("namePrefix: x")},
			}
			_, err := Renderer{}.Open(t.Context(), hydrate.Source{Files: source, Repository: sourceRepo, Commit: commit, Overlay: &hydrate.Overlay{GitOps: gitops, Options: hydrate.Options{Overlay: "stages/s"},
				Images: []lock.NamedImage{{Image: lock.Image{Ref: "ghcr.io/acme/app:v1", Digest: digest}}}}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v\nwant %s", err, test.want)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error has a password: %v", err)
			}
			if found := w.tripped(t); len(found) > 0 {
				t.Errorf("%v", found)
			}
		})
	}
}

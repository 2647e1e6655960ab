package helm

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/releaseutil"

	"github.com/lockage/lockage/hydrate"
)

// folder is a source whose root is the chart.
func folder(files fs.FS) hydrate.Source { return hydrate.Source{Files: files, Path: "."} }

var request = hydrate.Request{ReleaseName: "web", Namespace: "shop", KubeVersion: "1.34", Hooks: hydrate.HooksDeploy, IncludeCRDs: true}

// chartFS makes a chart "c" of files given as name, content, ….
func chartFS(files ...string) fstest.MapFS {
	fsys := fstest.MapFS{"Chart.yaml": {Data: []byte("apiVersion: v2\nname: c\nversion: 0.1.0\n")}}
	for i := 0; i < len(files); i += 2 {
		fsys[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fsys
}

func renderFS(t *testing.T, fsys fstest.MapFS, request hydrate.Request) (hydrate.Rendered, error) {
	t.Helper()
	chart, err := Renderer{}.Open(t.Context(), folder(fsys))
	if err != nil {
		return hydrate.Rendered{}, err
	}
	return chart.Render(t.Context(), request)
}

func sources(rendered hydrate.Rendered) (names []string) {
	for _, m := range rendered.Manifests {
		names = append(names, fmt.Sprintf("%s#%d", m.Source, m.Document))
	}
	return names
}

// literal sets a string.
func literal(key, value string) hydrate.SetValue {
	return hydrate.SetValue{Key: key, Value: json.RawMessage(strconv.Quote(value))}
}

func TestHooks(t *testing.T) {
	t.Parallel()
	hook := func(event string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {helm.sh/hook: \"" + event + "\"}}\n"
	}
	fsys := chartFS("templates/plain.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a: b}}", "templates/install.yaml", hook("pre-install,pre-upgrade"),
		"templates/both.yaml", hook(" Post-Delete , post-install"), "templates/delete.yaml", hook("pre-delete"), "templates/test.yaml", hook("test"),
		"templates/rollback.yaml", hook("pre-rollback,test-success"), "templates/unknown.yaml", hook("post-install,crd-install"))
	for hooks, want := range map[hydrate.Hooks][]string{
		hydrate.HooksDeploy: {"c/templates/both.yaml#1", "c/templates/install.yaml#1", "c/templates/plain.yaml#1"},
		hydrate.HooksNone:   {"c/templates/plain.yaml#1"},
		hydrate.HooksAll: {"c/templates/both.yaml#1", "c/templates/delete.yaml#1", "c/templates/install.yaml#1", "c/templates/plain.yaml#1",
			"c/templates/rollback.yaml#1", "c/templates/test.yaml#1"},
	} {
		r := request
		r.Hooks = hooks
		rendered, err := renderFS(t, fsys, r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sources(rendered)); diff != "" {
			t.Errorf("%s: %s", hooks, diff)
		}
		if want := []string{`c/templates/unknown.yaml: document 1: Pod a is left out, as by Helm: it is a hook on the unknown event "crd-install"`}; !cmp.Equal(want, rendered.Warnings) {
			t.Errorf("warnings %q", rendered.Warnings)
		}
	}
}

func TestDefinitionsComeOnce(t *testing.T) {
	t.Parallel()
	const crd = "# kept as it is: {{ .Values }}\na: |+\n  x\n\n--- # next\nb: c"
	fsys := chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1.0.0, alias: one}, {name: d, version: 1.0.0, alias: two}]",
		"charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/crds/a.yaml", crd)
	rendered, err := renderFS(t, fsys, request)
	if err != nil {
		t.Fatal(err)
	}
	want := []hydrate.Manifest{
		{Source: "c/charts/one/crds/a.yaml", Document: 1, Data: []byte("# kept as it is: {{ .Values }}\na: |+\n  x\n\n"), Fixed: true},
		{Source: "c/charts/one/crds/a.yaml", Document: 2, Data: []byte("--- # next\nb: c\n"), Fixed: true},
	}
	if diff := cmp.Diff(want, rendered.Manifests); diff != "" {
		t.Error(diff)
	}
}

func TestInputs(t *testing.T) {
	t.Parallel()
	fsys := chartFS(".helmignore", "*.md\n/tmp/\n.helmignore\n", "README.md", "x", "docs/a.md", "x", "tmp/a", "x", "sub/tmp/a", "kept",
		"templates/.swp", "x", "values.yaml", "\xef\xbb\xbfa: b", "charts/d/README.md", "x")
	chart, err := Renderer{}.Open(t.Context(), folder(fsys))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, in := range chart.Inputs() {
		names = append(names, in.Path)
		if in.SHA256 != sha256.Sum256(fsys[in.Path].Data) {
			t.Errorf("%s: not the digest of the file", in.Path)
		}
	}
	if diff := cmp.Diff([]string{".helmignore", "Chart.yaml", "sub/tmp/a", "values.yaml"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestSymbolicLinks(t *testing.T) {
	t.Parallel()
	dir := chartDir(t, "kitchen-sink")
	outside := t.TempDir()
	writeFile(t, outside+"/secret", []byte("host"))
	for link, target := range map[string]string{"linked.yaml": "values.yaml", "linked": "files"} {
		if err := os.Symlink(target, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	chart, err := Renderer{}.Open(t.Context(), folder(root.FS()))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"linked.yaml", "linked/one.conf"} {
		if !slices.ContainsFunc(chart.Inputs(), func(in hydrate.Input) bool { return in.Path == name }) {
			t.Errorf("%s is not read", name)
		}
	}
	for link, target := range map[string]string{"up": ".", "out": outside + "/secret"} {
		if err := os.Symlink(target, dir+"/"+link); err != nil {
			t.Fatal(err)
		}
		if _, err := (Renderer{}).Open(t.Context(), folder(root.FS())); err == nil {
			t.Errorf("the link %s to %s is followed", link, target)
		}
		if err := os.Remove(dir + "/" + link); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNumbersOfSet compares numbers of set with those of a values file, which Helm reads as float64: what one holds exactly
// comes out alike, and what it does not comes out as it is written.
func TestNumbersOfSet(t *testing.T) {
	t.Parallel()
	const text = `{{ .Values.x }} {{ .Values.x | toJson }} {{ .Values.x | int64 }} {{ kindOf .Values.x }}`
	fsys := chartFS("templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: \""+text+"\"}")
	for number, want := range map[string]string{
		"1":                    "",
		"1234567":              "",
		"0.1":                  "",
		"1.5e300":              "",
		"-9007199254740992":    "",
		"9007199254740993":     "9007199254740993 9007199254740993 9007199254740993 int64",
		"-9223372036854775808": "-9223372036854775808 -9223372036854775808 -9223372036854775808 int64",
		"18446744073709551615": "18446744073709551615 18446744073709551615 -1 uint64",
	} {
		data := func(change func(*hydrate.Request)) string {
			r := request
			change(&r)
			rendered, err := renderFS(t, fsys, r)
			if err != nil {
				t.Fatal(err)
			}
			return string(rendered.Manifests[0].Data)
		}
		got := data(func(r *hydrate.Request) { r.Set = []hydrate.SetValue{{Key: "x", Value: json.RawMessage(number)}} })
		file := data(func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "v", Data: []byte("x: " + number)}} })
		if want == "" && got != file || !strings.Contains(got, want) {
			t.Errorf("%s gives %s, want %q; of a file it gives %s", number, got, want, file)
		}
	}
}

// TestUnreadable is of files that are not what they seem: pointers to Git LFS, and what SOPS encrypted.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
	const sops = "password: ENC[AES256_GCM,data:YWJj,iv:YWJj,tag:YWJj,type:str]\nsops: {age: [], lastmodified: \"2026-01-01T00:00:00Z\", mac: 'ENC[x]', version: 3.9.0}\n"
	reads := func(expression string) fstest.MapFS {
		return chartFS("files/a.json", pointer, "templates/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ "+expression+" }}}")
	}
	values := func(text string) func(*hydrate.Request) {
		return func(r *hydrate.Request) { r.Values = []hydrate.File{{Path: "values/a.yaml", Data: []byte(text)}} }
	}
	const content = "c/templates/a.yaml: document 1 holds the content of c/files/a.json, which is a pointer to a file in Git LFS"
	const warning = "c/files/a.json is a pointer to a file in Git LFS, whose content is not to be had: push or pull it with git lfs, or commit the file itself, or list it in .helmignore"
	for name, c := range map[string]struct {
		chart   fstest.MapFS
		change  func(*hydrate.Request)
		want    string // part of the error
		warning string
	}{
		"values":              {chartFS(), values(pointer), "values file values/a.yaml is a pointer to a file in Git LFS, whose content is not to be had: push or pull it with git lfs, or commit the file itself", ""},
		"encrypted":           {chartFS(), values(sops), "values file values/a.yaml is encrypted by SOPS, and lockage decrypts nothing", ""},
		"a key sops":          {chartFS(), values("sops: {enabled: true, version: 1}"), "", ""},
		"chart's values":      {chartFS("values.yaml", pointer), nil, "values.yaml is a pointer to", ""},
		"chart's, encrypted":  {chartFS("values.yaml", sops), nil, "values.yaml of chart c is encrypted by SOPS", ""},
		"subchart, encrypted": {chartFS("charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/values.yaml", sops), nil, "values.yaml of chart c/charts/d is encrypted by SOPS", ""},
		"template":            {chartFS("templates/_a.tpl", pointer), nil, "templates/_a.tpl is a pointer to", ""},
		"definition":          {chartFS("crds/a.yaml", pointer), nil, "crds/a.yaml is a pointer to", ""},
		"subchart":            {chartFS("charts/d-1.0.0.tgz", pointer), nil, "charts/d-1.0.0.tgz is a pointer to", ""},
		"subchart's template": {chartFS("charts/d/templates/a.yaml", pointer), nil, "charts/d/templates/a.yaml is a pointer to", ""},
		"not read":            {reads(`"b"`), nil, "", warning},
		"checksum":            {reads(`.Files.Get "files/a.json" | sha256sum`), nil, "", warning},
		"as text":             {reads(`.Files.Get "files/a.json" | quote`), nil, content, ""},
		"in base64":           {reads(`.Files.Get "files/a.json" | b64enc`), nil, content, ""},
		"as lines":            {reads(`.Files.Lines "files/a.json" | toJson`), nil, content, ""},
		"ignored":             {chartFS("files/a.json", pointer, ".helmignore", "files/"), nil, "", ""},
		"text about pointers": {chartFS("README.md", "It begins with `"+pointer+"`"), nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request
			if c.change != nil {
				c.change(&r)
			}
			rendered, err := renderFS(t, c.chart, r)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
			if err == nil && strings.Join(rendered.Warnings, "\n") != c.warning {
				t.Errorf("warnings are %q, want %q", rendered.Warnings, c.warning)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	template := func(text string) fstest.MapFS { return chartFS("templates/a.yaml", text) }
	set := func(key, value string) func(*hydrate.Request) {
		return func(r *hydrate.Request) { r.Set = []hydrate.SetValue{literal(key, value)} }
	}
	for name, c := range map[string]struct {
		chart  fstest.MapFS
		change func(*hydrate.Request)
		want   string // part of the error
	}{
		"no chart":        {fstest.MapFS{"README.md": {}}, nil, "no Chart.yaml: this folder is not a Helm chart; check the lock's packaging.sourcePath"},
		"no version":      {chartFS("Chart.yaml", "name: c"), nil, "load chart: validation: chart.metadata.version is required"},
		"library":         {chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ntype: library"), nil, "chart c is a library chart"},
		"not vendored":    {chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1, repository: 'https://x'}, {name: e, version: 1, repository: 'oci://x/y'}]"), nil, "which versions to fetch: d 1, e 1; run `helm dependency update .` and commit Chart.lock"},
		"bad .helmignore": {chartFS(".helmignore", "a/**"), nil, ".helmignore: double-star"},
		"huge file":       {chartFS("big", strings.Repeat("x", 5<<20+1)), nil, "big: larger than the limit of 5242880 bytes for a file of a chart"},
		"keys that meet":  {chartFS("values.yaml", "a: {1: x, '1': y}"), nil, `values.yaml of chart c: key "1" is given twice, once quoted and once not`},
		"in a file": {chartFS(), func(r *hydrate.Request) {
			r.Values = []hydrate.File{{Path: "v", Data: []byte("a: {true: x, 'true': y}")}}
		}, `values file v: key "true" is given twice`},
		"other Helm":   {chartFS(), func(r *hydrate.Request) { r.Helm = 2 }, "no version 2 of Helm: render.helm is 3 or 4"},
		"bad archive":  {chartFS("charts/d-1.0.0.tgz", "x"), nil, "error unpacking subchart d-1.0.0.tgz in c"},
		"kube version": {chartFS(), func(r *hydrate.Request) { r.KubeVersion = "" }, "set render.kubeVersion"},
		"old kube":     {chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\nkubeVersion: '>=1.35'"), nil, "chart c asks for Kubernetes >=1.35; render.kubeVersion is v1.34"},
		"release name": {chartFS(), func(r *hydrate.Request) { r.ReleaseName = "A" }, `release name "A": `},
		"hooks":        {chartFS(), func(r *hydrate.Request) { r.Hooks = "some" }, `hooks "some" is none of`},
		"values": {chartFS(), func(r *hydrate.Request) {
			r.Values = []hydrate.File{{Path: "envs/a.yaml", Data: []byte("a: b\n c: d")}}
		}, "values file envs/a.yaml: line 2: mapping values"},
		"set key":    {chartFS(), set("a=b", "c"), `set "a=b": a name is empty, or holds =; a key is a path`},
		"set no key": {chartFS(), set("", "c"), `set "": a name is empty`},
		"set path":   {chartFS("values.yaml", "a: b"), func(r *hydrate.Request) { r.Set = []hydrate.SetValue{literal("a", "b"), literal("a.b", "c")} }, `set "a.b": the path asks for "b" of what is not a map`},
		"set index":  {chartFS(), set("a[70000]", "b"), `set "a[70000]": "70000" is not an index from 0 to 65536`},
		"set item":   {chartFS(), set("a[0]b", "b"), `set "a[0]b": "b" comes after an index`},
		"set list":   {chartFS(), func(r *hydrate.Request) { r.Set = []hydrate.SetValue{literal("a", "b"), literal("a[0]", "c")} }, `set "a[0]": the path asks for an item of what is not a list`},
		"parse":      {template("a: b\n{{ if }}"), nil, "c/templates/a.yaml:2: missing value for if"},
		"nil":        {template("a: b\nc: {{ .Values.x.y }}"), nil, "c/templates/a.yaml:2:13: <.Values.x.y>: nil pointer evaluating interface {}.y"},
		"fail":       {template("{{ fail \"no: way\" }}"), nil, "c/templates/a.yaml:1:3: no: way"},
		"required":   {template("\n{{ required \"give x\" .Values.x }}"), nil, "c/templates/a.yaml:2:3: give x"},
		"include": {chartFS("templates/a.yaml", "{{ include \"x\" . }}", "templates/_h.tpl", "{{ define \"x\" }}\n{{ .Values.a.b }}{{ end }}"), nil,
			`c/templates/a.yaml:1:3: <include "x" .>: c/templates/_h.tpl:2:10: in "x": <.Values.a.b>: nil pointer evaluating interface {}.b`},
		"hook no YAML": {template("a: b\n---\nhelm.sh/hook: x\n d: e"), nil, "c/templates/a.yaml: document 2: line 2: mapping values"},
		"panic":        {template(`{{ "a" | repeat -1 }}`), nil, "c/templates/a.yaml:1:"},
		"schema":       {chartFS("values.yaml", "a: b", "values.schema.json", `{"properties": {"a": {"type": "integer"}}}`), nil, "values do not match the chart's values.schema.json:\nc:\n- at '/a': got string, want integer"},
		"no schema":    {chartFS("values.schema.json", `{`), nil, "values.schema.json: "},
		"file schema":  {chartFS("values.schema.json", `{"$ref": "file:///etc/passwd"}`), nil, "the schema refers to the file /etc/passwd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request
			if c.change != nil {
				c.change(&r)
			}
			_, err := renderFS(t, c.chart, r)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error:\n%v\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestSchemaIsNotFetched(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("fetched") }))
	defer server.Close()
	fsys := chartFS("values.yaml", "a: b\nn: x", "values.schema.json", `{"properties": {"a": {"$ref": "`+server.URL+`/a.json"}, "n": {"type": "string"}}}`)
	rendered, err := renderFS(t, fsys, request)
	if err != nil || len(rendered.Warnings) != 1 || !strings.Contains(rendered.Warnings[0], server.URL+"/a.json, which is not fetched") {
		t.Errorf("%v, warnings %q", err, rendered.Warnings)
	}
}

// TestStagesAtOnce renders stages that enable different dependencies at once, and each again alone.
func TestStagesAtOnce(t *testing.T) {
	t.Parallel()
	dir := chartDir(t, "kitchen-sink")
	shared, err := Renderer{}.Open(t.Context(), folder(os.DirFS(dir)))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			r := request
			r.ReleaseName = fmt.Sprintf("web-%d", i)
			r.APIVersions = []string{fmt.Sprintf("x.io/v%d", i)}
			r.Helm = 3 + i%3/2
			if i%2 == 0 {
				r.Values = values(t, dir, "stage/other.yaml")
			}
			alone, err := Renderer{}.Open(t.Context(), folder(os.DirFS(dir)))
			if err != nil {
				t.Error(err)
				return
			}
			want, wantErr := alone.Render(t.Context(), r)
			got, gotErr := shared.Render(t.Context(), r)
			if diff := cmp.Diff(want, got); diff != "" || wantErr != nil || gotErr != nil {
				t.Errorf("%v, %v\n%s", wantErr, gotErr, diff)
			}
		})
	}
	wg.Wait()
}

// TestChangedValuesLeaveNoTrace: templates may change the values that later ones see, of this render alone.
func TestChangedValuesLeaveNoTrace(t *testing.T) {
	t.Parallel()
	const change = "{{- $_ := set .Values.m .Release.Name 1 }}{{ $_ := set .Values.global .Release.Name 1 }}\na: {{ toJson .Values }}"
	chart, err := Renderer{}.Open(t.Context(), folder(chartFS("values.yaml", "m: {}\nglobal: {g: {}}\nd: {m: {x: {}}}", "templates/a.yaml", change, "templates/b.yaml", change,
		"charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/values.yaml", "m: {}", "charts/d/templates/a.yaml", change)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		r := request
		r.ReleaseName, r.Helm = fmt.Sprintf("web-%d", i), 3+i%2
		rendered, err := chart.Render(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rendered.Manifests {
			if got := string(m.Data); strings.Count(got, "web-") != strings.Count(got, r.ReleaseName) || !strings.Contains(got, r.ReleaseName) {
				t.Errorf("%s: %s", r.ReleaseName, got)
			}
		}
	}
}

// TestSortedMetadataLeavesNoTrace: sortAlpha sorts a list of texts where it is, for this render alone.
func TestSortedMetadataLeavesNoTrace(t *testing.T) {
	t.Parallel()
	const metadata = "apiVersion: v2\nname: d\nversion: 1.0.0\nkeywords: [b, a]\nsources: [b, a]\n"
	const change = "a: {{ print .Chart.Keywords .Chart.Sources }}{{ range .Chart.Dependencies }}{{ print .Tags }}{{ end }}\n" +
		"b: {{ print (sortAlpha .Chart.Keywords) (sortAlpha .Chart.Sources) }}{{ range .Chart.Dependencies }}{{ print (sortAlpha .Tags) }}{{ end }}"
	chart, err := Renderer{}.Open(t.Context(), folder(chartFS("Chart.yaml", metadata+"dependencies: [{name: d, version: 1.0.0, tags: [b, a]}]", "templates/a.yaml", change,
		"charts/d/Chart.yaml", metadata, "charts/d/templates/a.yaml", change)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		r := request
		r.Helm = 3 + i%2
		rendered, err := chart.Render(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rendered.Manifests {
			if got := string(m.Data); !strings.HasPrefix(got, "a: [b a] [b a]") || !strings.Contains(got, "b: [a b] [a b]") || strings.Count(got, "[b a]") != strings.Count(got, "[a b]") {
				t.Errorf("render %d of %s: %s", i, m.Source, got)
			}
		}
	}
}

// TestSubchartsInAnyOrder: Helm's loader leaves subcharts in the order of a Go map.
func TestSubchartsInAnyOrder(t *testing.T) {
	t.Parallel()
	fsys := chartFS()
	for i := range 8 { // the same subchart, name and version, eight times
		fsys[fmt.Sprintf("charts/%d/Chart.yaml", i)] = &fstest.MapFile{Data: []byte("apiVersion: v2\nname: d\nversion: 1.0.0")}
		fsys[fmt.Sprintf("charts/%d/templates/a.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "a: %d", i)}
	}
	var first hydrate.Rendered
	for i := range 20 {
		rendered, err := renderFS(t, fsys, request)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = rendered
		}
		if diff := cmp.Diff(first, rendered); diff != "" {
			t.Fatal(diff)
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	chart, err := Renderer{}.Open(ctx, folder(chartFS()))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := chart.Render(ctx, request); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := (Renderer{}).Open(ctx, folder(chartFS())); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func FuzzSplitDocuments(f *testing.F) {
	for _, seed := range []string{"a\n---\nb", "---\n---\na", "--- # x\na\r\n---\r\n\r\n---a\n\n", " \n---", "a\u0085\n---\n\u2003b", "a---\n--", "\n\n---\n \n--- ---\n---"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		var want []string
		byKey := releaseutil.SplitManifests(file)
		for i := range len(byKey) {
			want = append(want, byKey[fmt.Sprintf("manifest-%d", i)]+"\n")
		}
		var got []string
		for _, document := range splitDocuments(file) {
			got = append(got, string(document))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1, import-values: [a, {child: b, parent: c}]}]"), []byte("a: b"), []byte("*.md\n!/x/"), []byte("{{ toYaml .Values }}"), []byte("{}"))
	f.Fuzz(func(t *testing.T, chart, values, ignored, template, schema []byte) {
		if strings.Contains(string(template), "tpl") || strings.Contains(string(template), "define") {
			return // templates are programs and may run for ever
		}
		fsys := chartFS("Chart.yaml", string(chart), "values.yaml", string(values), ".helmignore", string(ignored), "templates/a.yaml", string(template),
			"values.schema.json", string(schema), "charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0")
		_, _ = renderFS(t, fsys, request) // must not panic
	})
}

// A backslash alone, frequent in dashboards, does not make a document be parsed twice.
func TestEscapedHooksAreHooks(t *testing.T) {
	t.Parallel()
	for _, key := range []string{`"helm\x2esh/hook"`, `"\u0068elm.sh/hook"`, `"\U00000068elm.sh/hook"`, "? \"helm.\\\n      sh/hook\"\n    "} {
		document := "metadata:\n  annotations:\n    " + key + ": test\ndata: 'a\\d'\n"
		if keep, _, err := wanted([]byte(document), hydrate.HooksDeploy); keep || err != nil {
			t.Errorf("kept %q, %v", document, err)
		}
	}
	if escapesLetters([]byte(`{"expr": "a\"b\n\d\\."}`)) {
		t.Error("no letter is escaped there")
	}
}

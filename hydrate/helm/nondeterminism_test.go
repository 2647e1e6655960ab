package helm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
)

// accused returns what a stage is accused of when it is rendered, "" if of nothing that changes between renders.
func accused(ctx context.Context, pkg hydrate.Package, request hydrate.Request) (string, error) {
	_, err := hydrate.Stage{Package: pkg, Options: hydrate.Options{Request: request, Layout: hydrate.PerObject}}.Render(ctx)
	if err == nil {
		return "", nil
	}
	_, list, found := strings.Cut(err.Error(), "would not give the same output again, since templates use the clock or randomness:\n")
	if !found {
		return "", err
	}
	list, _, _ = strings.Cut(list, "\nset these in the values")
	return list, nil
}

// configMap is a template of a ConfigMap "a" whose key a has the value of an expression.
func configMap(expression string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: {{ " + expression + " | toString | quote }}}\n"
}

func TestNondeterminism(t *testing.T) {
	t.Parallel()
	template := func(expression string) fstest.MapFS { return chartFS("templates/a.yaml", configMap(expression)) }
	const dataA = "  c/templates/a.yaml: ConfigMap a: data.a"
	for name, c := range map[string]struct {
		chart fstest.MapFS
		again bool   // whether it is rendered again
		want  string // what it is accused of
	}{
		"plain":            {template(`"a"`), false, ""},
		"name in text":     {chartFS("templates/a.yaml", "# now {{/* now */}}\n"+configMap(`.Values.now | default "now"`)), false, ""},
		"not included":     {chartFS("templates/a.yaml", configMap(`"a"`), "templates/_h.tpl", `{{ define "x" }}{{ now }}{{ end }}`), false, ""},
		"value is given":   {chartFS("templates/a.yaml", configMap(`.Values.a | default (randAlphaNum 8)`), "values.yaml", "a: b"), true, ""},
		"value is not":     {template(`.Values.a | default (randAlphaNum 8)`), true, dataA},
		"second":           {template(`now | unixEpoch`), true, dataA},
		"day":              {template(`now | date "Jan 2006"`), true, dataA},
		"argument":         {template(`date "2006" now`), true, dataA},
		"method":           {template(`now.Year`), true, dataA},
		"parentheses":      {template(`(now).Weekday`), true, dataA},
		"variable":         {chartFS("templates/a.yaml", "{{- $t := now -}}\n"+configMap(`$t.Hour`)), true, dataA},
		"condition":        {template(`eq (now | date "2006") (now | date "2006")`), true, ""},
		"ago":              {template(`ago (toDate "2006" "2020")`), true, dataA},
		"few numbers":      {template(`randInt 0 2`), true, dataA},
		"one letter":       {template(`randAlpha 1`), true, dataA},
		"one digit":        {template(`randNumeric 1`), true, dataA},
		"shuffle":          {template(`shuffle "ab"`), true, dataA},
		"uuid":             {template(`uuidv4`), true, dataA},
		"htpasswd":         {template(`htpasswd "a" "b"`), true, dataA},
		"bcrypt":           {template(`bcrypt "a"`), true, dataA},
		"encrypted":        {template(`encryptAES "a" "b"`), true, dataA},
		"key":              {template(`genPrivateKey "ecdsa"`), true, dataA},
		"derived password": {template(`derivePassword 1 "long" "a" "b" "c"`), false, ""},
		"include":          {chartFS("templates/a.yaml", configMap(`include "x" .`), "templates/_h.tpl", `{{ define "x" }}{{ template "y" }}{{ end }}{{ define "y" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"include by value": {chartFS("templates/a.yaml", configMap(`include .Values.t .`), "values.yaml", "t: x", "templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"checksum of a file": {chartFS("templates/b.yaml", strings.ReplaceAll(configMap(`include (print $.Template.BasePath "/a.yaml") . | sha256sum`), "name: a", "name: b"), "templates/a.yaml", configMap(`randAlpha 8`)), true,
			dataA + "\n  c/templates/b.yaml: ConfigMap b: data.a"},
		"subchart": {chartFS("templates/a.yaml", configMap(`include "x" .`), "charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"subchart that is off": {chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1.0.0, condition: d.enabled}]", "values.yaml", "d: {enabled: false}",
			"templates/a.yaml", configMap(`"a"`), "charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/templates/a.yaml", configMap(`now`)), false, ""},
		"tpl of a value":       {chartFS("templates/a.yaml", configMap(`tpl .Values.a.b .`), "values.yaml", `a: {b: '{{ now | date "2006" }}'}`), true, dataA},
		"tpl of a list":        {chartFS("templates/a.yaml", configMap(`tpl (index .Values.a 0) .`), "values.yaml", `a: ['{{ randAlpha 8 }}']`), true, dataA},
		"tpl of a file":        {chartFS("templates/a.yaml", configMap(`tpl (.Files.Get "f") .`), "f", `{{ now | date "2006" }}`), true, dataA},
		"tpl of a text":        {template("tpl `{{ now | date \"2006\" }}` ."), true, dataA},
		"tpl of an include":    {chartFS("templates/a.yaml", configMap(`tpl .Values.a .`), "values.yaml", `a: '{{ include "x" . }}'`, "templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"tpl of parts":         {chartFS("templates/a.yaml", configMap(`tpl (printf "{{ %s }}" .Values.a) .`), "values.yaml", `a: randAlpha 8`), true, dataA},
		"value shown as it is": {chartFS("templates/a.yaml", configMap(`print .Values.a (tpl "a" .)`), "values.yaml", `a: '{{ now | date "2006" }}'`), true, ""},
		"text shown as it is":  {template("print `{{ now }}` (now | date `2006` | trunc 1)"), true, ""},
		"name":                 {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a-{{ randAlpha 1 | lower }}}"), true, "is not there, or not by this name, in another render"},
		"number of objects":    {chartFS("templates/a.yaml", "{{ range until (randInt 1 3) }}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a-{{ . }}}\n{{ end }}"), true, "  c/templates/a.yaml: Pod: another render has one more"},
		"fields": {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a.b/c: {{ randAlpha 4 }}, {{ randAlpha 1 }}x: b}}\nspec: {l: [{a: {{ randInt 0 2 }}}], n: [1{{ if gt (randInt 0 2) 1 }}, 2{{ end }}]}"), true,
			"  c/templates/a.yaml: Pod a: metadata.annotations[\"a.b/c\"]\n"},
		"failure":    {template(`index (list "a" "b") (randInt 0 2)`), true, "  at another time and with other luck the render fails: c/templates/a.yaml:4:"},
		"no objects": {chartFS("templates/a.yaml", "apiVersion: v1\nkind: {{ if lt (randInt 0 2) 2 }}Pod{{ end }}\nmetadata: {name: a}"), true, "  at another time and with other luck the render gives no objects: c/templates/a.yaml: document 1: "},
		"Secret":     {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: hunter2-{{ randAlpha 8 }}}"), true, "  c/templates/a.yaml: Secret a: stringData.p"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pkg, err := Renderer{}.Open(t.Context(), folder(c.chart))
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := pkg.Render(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			if again := rendered.Again != nil; again != c.again {
				t.Errorf("rendered again: %t", again)
			}
			got, err := accused(t.Context(), pkg, request)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
				t.Errorf("accused of:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// TestAgainLeavesNoTrace: the values that a chart brings are shared by all renders.
func TestAgainLeavesNoTrace(t *testing.T) {
	t.Parallel()
	const values = "a: '{{ now }}'\nl: ['{{ now }}', {b: '{{ now }}'}]\nglobal: {g: '{{ now }}'}\n"
	fsys := chartFS("values.yaml", values+"d: {e: '{{ now }}'}", "f", "{{ now }}", "templates/a.yaml", "{{ .Values | toYaml }}\n{{ .Files.Get `f` }}\n{{ tpl `a` . }}{{ print `{{ now }}` }}",
		"charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/values.yaml", values, "charts/d/templates/a.yaml", "{{ .Values | toYaml }}")
	pkg, err := Renderer{}.Open(t.Context(), folder(fsys))
	if err != nil {
		t.Fatal(err)
	}
	first, err := pkg.Render(t.Context(), request)
	if err != nil || first.Again == nil {
		t.Fatal(err)
	}
	for name, render := range map[string]func() (hydrate.Rendered, error){
		"again": func() (hydrate.Rendered, error) { return first.Again(t.Context()) },
		"next":  func() (hydrate.Rendered, error) { return pkg.Render(t.Context(), request) },
	} {
		for range 2 {
			other, err := render()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first.Manifests, other.Manifests); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
			if p, ok := pkg.(*Package); !ok || strings.Contains(fmt.Sprint(p.chart.Values, p.chart.Dependencies()[0].Values), "dateModify") {
				t.Errorf("%s: the chart's own values are changed", name)
			}
		}
	}
}

func TestKeysAreSorted(t *testing.T) {
	t.Parallel()
	values := "m: {a: 1, b: 2, c: 3, d: 4}\n"
	for expression, want := range map[string]string{
		`keys .Values.m | join ","`:                              "a,b,c,d",
		`.Values.m | keys | join "|"`:                            "a|b|c|d",
		`join ")" (keys .Values.m (dict "}}" 1 "b" 2) )`:         "a)b)b)c)d)}}",
		"join `|` (keys (dict \"`|\" 1 `\"` 2))":                 "\"|`|",
		`keys (dict (keys .Values.m | first) 1 "\"(" 2) | first`: "\"(",
		`keys .Values.m | reverse | first -`:                     "",
	} {
		fsys := chartFS("values.yaml", values, "templates/a.yaml", "a: '{{ "+expression+" -}}   '")
		for range 8 {
			rendered, err := renderFS(t, fsys, request)
			if want == "" {
				if err == nil {
					t.Errorf("%s: no error", expression)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(rendered.Manifests[0].Data); got != fmt.Sprintf("a: '%s'\n", want) || rendered.Again != nil {
				t.Fatalf("%s: %s", expression, got)
			}
		}
	}
}

func TestLookupIsReported(t *testing.T) {
	t.Parallel()
	const call = "{{ lookup \"v1\" \"Secret\" \"\" \"\" }}"
	fsys := chartFS("templates/_h.tpl", "{{ define \"x\" }}"+call+"{{ end }}{{ define \"y\" }}"+call+"{{ end }}")
	for i := range 5 {
		fsys[fmt.Sprintf("templates/%d.yaml", i)] = &fstest.MapFile{Data: []byte("# {{ include \"x\" . }}" + call)}
	}
	rendered, err := renderFS(t, fsys, request)
	if err != nil {
		t.Fatal(err)
	}
	want := "c/templates/0.yaml, c/templates/1.yaml, c/templates/2.yaml and 3 more can call lookup, which finds nothing here, as in helm template"
	if len(rendered.Warnings) != 1 || rendered.Warnings[0] != want || rendered.Again != nil {
		t.Errorf("%q", rendered.Warnings)
	}
}

// FuzzTemplates makes templates ones with sorted keys and ones to render again, which must parse as they did.
func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{
		"{{ now }}{{- now.Year -}}{{ date `x` now | f (now) }}{{/* now */}}", "{{ keys .a | f }}{{ f (keys .a \")\") -}}",
		"{{ define \"a\" }}{{ keys '\\'' }}{{ end }}{{ template \"a\" randInt 1 2 }}", "{{ if keys . }}{{ else if now }}{{ end }}", "{{ \"{{ now }}\" }}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parseText(text)
		if p == nil {
			return
		}
		if sorted := sortKeys(text); parseText(sorted) == nil {
			t.Errorf("keys sorted: %q", sorted)
		}
		if later := p.apply(); parseText(later) == nil {
			t.Errorf("later: %q", later)
		}
		if later := laterText(text); parseText(later) == nil {
			t.Errorf("later text: %q", later)
		}
	})
}

// TestNondeterminismOfOthers looks at folders of charts that LOCKAGE_CHARTS names: what comes out differently in three
// plain renders must be accused, object for object.
func TestNondeterminismOfOthers(t *testing.T) {
	t.Parallel()
	folders := filepath.SplitList(os.Getenv("LOCKAGE_CHARTS"))
	if len(folders) == 0 {
		t.Skip("LOCKAGE_CHARTS names no folders of charts")
	}
	for _, set := range folders {
		charts, err := filepath.Glob(filepath.Join(set, "*", "Chart.yaml"))
		if err != nil || len(charts) == 0 {
			t.Fatalf("no charts in %s: %v", set, err)
		}
		for _, chart := range charts {
			dir := filepath.Dir(chart)
			t.Run(filepath.Base(set)+"/"+filepath.Base(dir), func(t *testing.T) {
				t.Parallel()
				pkg, err := Renderer{}.Open(t.Context(), folder(os.DirFS(dir)))
				if err != nil {
					t.Skip(err)
				}
				first, err := pkg.Render(t.Context(), request)
				if err != nil {
					t.Skip(err)
				}
				list, err := accused(t.Context(), pkg, request)
				if err != nil && !strings.Contains(err.Error(), "Secrets in the clear") {
					t.Log(err)
				}
				if first.Again == nil && list != "" {
					t.Errorf("reaches nothing, but is accused:\n%s", list)
				}
				differs := false
				for range 2 {
					again, err := pkg.Render(t.Context(), request)
					if err != nil || len(again.Manifests) != len(first.Manifests) {
						t.Fatal(err)
					}
					for i, m := range again.Manifests {
						if string(m.Data) == string(first.Manifests[i].Data) {
							continue
						}
						differs = true
						if !strings.Contains(list, m.Source) {
							t.Errorf("%s document %d differs, but is not accused", m.Source, m.Document)
						}
					}
				}
				t.Logf("VERDICT reaches=%t accused=%t differs=%t lookups=%t\n%s", first.Again != nil, list != "", differs,
					slices.ContainsFunc(first.Warnings, func(w string) bool { return strings.Contains(w, "lookup") }), list)
			})
		}
	}
}

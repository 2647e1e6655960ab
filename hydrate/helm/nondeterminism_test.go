package helm

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
)

// accused returns the fields that a stage is accused of drawing at random.
func accused(ctx context.Context, pkg hydrate.Package, request hydrate.Request) (string, error) {
	_, err := hydrate.Stage{Package: pkg, Options: hydrate.Options{Request: request, Layout: hydrate.PerObject, AssertImage: hydrate.AssertNothing}}.Render(ctx)
	if err == nil {
		return "", nil
	}
	_, list, found := strings.Cut(err.Error(), "can compute, secrets among them:\n")
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
		chart  fstest.MapFS
		random bool   // whether it draws random numbers
		want   string // what it is accused of
	}{
		"plain":            {template(`"a"`), false, ""},
		"name in text":     {chartFS("templates/a.yaml", "# now {{/* now */}}\n"+configMap(`.Values.now | default "now"`)), false, ""},
		"not included":     {chartFS("templates/a.yaml", configMap(`"a"`), "templates/_h.tpl", `{{ define "x" }}{{ now }}{{ end }}`), false, ""},
		"value is given":   {chartFS("templates/a.yaml", configMap(`.Values.a | default (randAlphaNum 8)`), "values.yaml", "a: b"), true, ""},
		"value is not":     {template(`.Values.a | default (randAlphaNum 8)`), true, dataA},
		"second":           {template(`now | unixEpoch`), false, ""},
		"day":              {template(`now | date "Jan 2006"`), false, ""},
		"argument":         {template(`date "2006" now`), false, ""},
		"method":           {template(`now.Year`), false, ""},
		"parentheses":      {template(`(now).Weekday`), false, ""},
		"variable":         {chartFS("templates/a.yaml", "{{- $t := now -}}\n"+configMap(`$t.Hour`)), false, ""},
		"condition":        {template(`eq (now | date "2006") (now | date "2006")`), false, ""},
		"ago":              {template(`ago (toDate "2006" "2020")`), false, ""},
		"few numbers":      {template(`randInt 0 2`), true, dataA},
		"one letter":       {template(`randAlpha 1`), true, dataA},
		"one digit":        {template(`randNumeric 1`), true, dataA},
		"shuffle":          {template(`shuffle "ab"`), true, dataA},
		"uuid":             {template(`uuidv4`), true, dataA},
		"htpasswd":         {template(`htpasswd "a" "b"`), true, dataA},
		"bcrypt":           {template(`bcrypt "a"`), true, dataA},
		"encrypted":        {template(`encryptAES "a" "b"`), true, dataA},
		"no draw":          {template(`print (randAlpha 0) (shuffle "a")`), false, ""},
		"derived password": {template(`derivePassword 1 "long" "a" "b" "c"`), false, ""},
		"include":          {chartFS("templates/a.yaml", configMap(`include "x" .`), "templates/_h.tpl", `{{ define "x" }}{{ template "y" }}{{ end }}{{ define "y" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"include by value": {chartFS("templates/a.yaml", configMap(`include .Values.t .`), "values.yaml", "t: x", "templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"checksum of a file": {chartFS("templates/b.yaml", strings.ReplaceAll(configMap(`include (print $.Template.BasePath "/a.yaml") . | sha256sum`), "name: a", "name: b"), "templates/a.yaml", configMap(`randAlpha 8`)), true,
			dataA + "\n  c/templates/b.yaml: ConfigMap b: data.a"},
		"subchart": {chartFS("templates/a.yaml", configMap(`include "x" .`), "charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"subchart that is off": {chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\ndependencies: [{name: d, version: 1.0.0, condition: d.enabled}]", "values.yaml", "d: {enabled: false}",
			"templates/a.yaml", configMap(`"a"`), "charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0", "charts/d/templates/a.yaml", configMap(`now`)), false, ""},
		"tpl of a value":       {chartFS("templates/a.yaml", configMap(`tpl .Values.a.b .`), "values.yaml", `a: {b: '{{ now | date "2006" }}'}`), false, ""},
		"tpl of a list":        {chartFS("templates/a.yaml", configMap(`tpl (index .Values.a 0) .`), "values.yaml", `a: ['{{ randAlpha 8 }}']`), true, dataA},
		"tpl of a file":        {chartFS("templates/a.yaml", configMap(`tpl (.Files.Get "f") .`), "f", `{{ now | date "2006" }}`), false, ""},
		"tpl of a text":        {template("tpl `{{ now | date \"2006\" }}` ."), false, ""},
		"tpl of an include":    {chartFS("templates/a.yaml", configMap(`tpl .Values.a .`), "values.yaml", `a: '{{ include "x" . }}'`, "templates/_h.tpl", `{{ define "x" }}{{ randAlpha 8 }}{{ end }}`), true, dataA},
		"tpl of parts":         {chartFS("templates/a.yaml", configMap(`tpl (printf "{{ %s }}" .Values.a) .`), "values.yaml", `a: randAlpha 8`), true, dataA},
		"value shown as it is": {chartFS("templates/a.yaml", configMap(`print .Values.a (tpl "a" .)`), "values.yaml", `a: '{{ now | date "2006" }}'`), false, ""},
		"text shown as it is":  {template("print `{{ now }}` (now | date `2006` | trunc 1)"), false, ""},
		"name":                 {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a-{{ randAlpha 1 | lower }}}"), true, "is not there, or not by this name, in another render"},
		"number of objects":    {chartFS("templates/a.yaml", "{{ range until (randInt 1 3) }}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a-{{ . }}}\n{{ end }}"), true, "  c/templates/a.yaml: Pod"},
		"fields": {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {a.b/c: {{ randAlpha 4 }}, {{ randAlpha 1 }}x: b}}\nspec: {l: [{a: {{ randInt 0 2 }}}], n: [1{{ if gt (randInt 0 2) 1 }}, 2{{ end }}]}"), true,
			"  c/templates/a.yaml: Pod a: metadata.annotations[\"a.b/c\"]\n"},
		"Secret": {chartFS("templates/a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {p: hunter2-{{ randAlpha 8 }}}"), true, "  c/templates/a.yaml: Secret a: stringData.p"},
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
			if rendered.Random != c.random {
				t.Errorf("draws random numbers: %t", rendered.Random)
			}
			again, err := pkg.Render(t.Context(), request)
			if diff := cmp.Diff(rendered, again); err != nil || diff != "" {
				t.Errorf("another render: %v\n%s", err, diff)
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

func TestKeysAreSorted(t *testing.T) {
	t.Parallel()
	values := "m: {a: 1, b: 2, c: 3, d: 4}\n"
	for expression, want := range map[string]string{
		`keys .Values.m | join ","`:                              "a,b,c,d",
		`.Values.m | keys | join "|"`:                            "a|b|c|d",
		`join ")" (keys .Values.m (dict "}}" 1 "b" 2) )`:         "a)b)c)d)b)}}",
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
			if got := string(rendered.Manifests[0].Data); got != fmt.Sprintf("a: '%s'\n", want) {
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
	want := "c/templates/0.yaml, c/templates/1.yaml, c/templates/2.yaml and 2 more: lookup finds nothing here, as in helm template"
	if len(rendered.Warnings) != 1 || rendered.Warnings[0] != want {
		t.Errorf("%q", rendered.Warnings)
	}
}

// TestEverythingIsPrinted: nothing that templates see is printed as an address in memory.
func TestEverythingIsPrinted(t *testing.T) {
	t.Parallel()
	fsys := chartFS("Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\nmaintainers: [{name: Ada}]\ndependencies: [{name: d, version: 1.0.0}]\nannotations: {a: b}",
		"charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0\nmaintainers: [{name: Bob}]", "charts/d/templates/a.yaml", "", "f", "x",
		"templates/a.yaml", "{{ . | toString | quote }}\n{{ print (list . .Capabilities .Chart.Maintainers) | quote }}\n{{ . }}")
	address := regexp.MustCompile(`0x[0-9a-f]{5,}`)
	for _, version := range []int{3, 4} {
		request := request
		request.Helm = version
		rendered, err := renderFS(t, fsys, request)
		if err != nil {
			t.Fatal(err)
		}
		text := string(rendered.Manifests[0].Data)
		if found := address.FindString(text); found != "" || !strings.Contains(text, "Ada") || !strings.Contains(text, "v1.34") || strings.Contains(text, "go1.") {
			t.Errorf("helm %d: %s in\n%s", version, found, text)
		}
	}
}

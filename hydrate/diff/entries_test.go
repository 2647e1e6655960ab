package diff

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dashboard is a ConfigMap with a dashboard of four panels.
func dashboard(name, version string) string {
	var panels []string
	for i := range 4 {
		panels = append(panels, fmt.Sprintf(`{"id":%d,"title":"p","pluginVersion":%q}`, i, version))
	}
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata:\n  %s.json: '{\"panels\":[%s]}'\n---\n", name, name, strings.Join(panels, ","))
}

func textOf(t *testing.T, before, after string, options Options) string {
	t.Helper()
	return outputs(t, compare(t, objects(t, before), objects(t, after), options))["text"]
}

func TestAlikeIsShownOnce(t *testing.T) {
	t.Parallel()
	before := dashboard("a", "v1") + dashboard("b", "v1") + dashboard("c", "v1")
	after := dashboard("a", "v2") + dashboard("b", "v2") + dashboard("c", "v3")
	want := `3 changed

~ ConfigMap a  objects.yaml
  and 1 more that changed alike: b
    ~ data[*] » panels[*].pluginVersion: v1 → v2
        in 4 places: id=0, id=1, id=2, id=3

~ ConfigMap c  objects.yaml
    ~ data["c.json"] » panels[*].pluginVersion: v1 → v3
        in 4 places: id=0, id=1, id=2, id=3
`
	if d := cmp.Diff(want, textOf(t, before, after, Options{})); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	all := textOf(t, before, after, Options{All: true})
	if n := strings.Count(all, "pluginVersion: v1 → v"); n != 12 {
		t.Errorf("with All, %d of 12 fields are shown by themselves:\n%s", n, all)
	}
}

// TestPlacesAreNamed checks that many equal changes are shown with all their places: one of them matters.
func TestPlacesAreNamed(t *testing.T) {
	t.Parallel()
	pod := func(value string) string {
		var env []string
		for _, name := range []string{"A", "LD_PRELOAD"} {
			env = append(env, "{name: "+name+", value: "+value+"}")
		}
		for i := range 20 {
			env = append(env, fmt.Sprintf("{name: B%d, value: %s}", i, value))
		}
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, env: [" + strings.Join(env, ", ") + "]}]}\n"
	}
	for name, text := range outputs(t, compare(t, objects(t, pod("x")), objects(t, pod("y")), Options{})) {
		if !strings.Contains(text, "LD_PRELOAD") {
			t.Errorf("%s does not name it:\n%s", name, text)
		}
	}
}

func TestImagesOfOneVersion(t *testing.T) {
	t.Parallel()
	pod := func(name, images string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [" + images + "]}\n---\n"
	}
	before := pod("a", "{name: c, image: 'r/a:v1'}") + pod("b", "{name: c, image: 'r/b:v1'}") + pod("c", "{name: c, image: 'r/c:v1'}")
	after := pod("a", "{name: c, image: 'r/a:v2'}") + pod("b", "{name: c, image: 'r/b:v2'}") + pod("c", "{name: c, image: 'evil/c:v2'}")
	got := textOf(t, before, after, Options{})
	for _, want := range []string{
		"  r/a: v1 → v2 (1 object)\n  r/b: v1 → v2 (1 object)\n",
		"~ Pod a  objects.yaml\n  and 1 more that changed alike: b\n",
		"    ~ spec.containers[*].image: v1 → v2\n",
		"~ Pod c  objects.yaml\n",
		"    ~ spec.containers[name=c].image: r/c:v1 → evil/c:v2\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestDifferentIsNotPutTogether lists pairs of objects that must be shown each by itself.
func TestDifferentIsNotPutTogether(t *testing.T) {
	t.Parallel()
	object := func(name, spec string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: " + spec + "\n---\n"
	}
	for _, test := range []struct{ name, before, after string }{
		{"other fields", object("a", "{x: 1, y: 1}") + object("b", "{x: 1, y: 1}"), object("a", "{x: 2, y: 1}") + object("b", "{x: 1, y: 2}")},
		{"other values", object("a", "{x: 1}") + object("b", "{x: 1}"), object("a", "{x: 2}") + object("b", "{x: 3}")},
		{"text and number", object("a", "{x: 1}") + object("b", "{x: 1}"), object("a", "{x: 2}") + object("b", "{x: '2'}")},
		{"a risk", object("a", "{replicas: 1}") + object("b", "{replicas: 0}"), object("a", "{replicas: 0}") + object("b", "{replicas: 1}")},
		{"one field more", object("a", "{x: 1, y: 1}") + object("b", "{x: 1, y: 1}"), object("a", "{x: 2, y: 1}") + object("b", "{x: 2, y: 2}")},
		{"new", "", object("a", "{x: 1}") + object("b", "{x: 1}")},
		{"other items", object("a", "{env: [{name: A, value: 1}]}") + object("b", "{env: [{name: LD_PRELOAD, value: 1}]}"),
			object("a", "{env: [{name: A, value: 2}]}") + object("b", "{env: [{name: LD_PRELOAD, value: 2}]}")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := textOf(t, test.before, test.after, Options{}); strings.Contains(got, "alike") {
				t.Errorf("two changes are shown as one:\n%s", got)
			}
		})
	}
}

func TestSchemaInOutline(t *testing.T) {
	t.Parallel()
	definition := func(spec string) string {
		return `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"d"},"spec":{"versions":[{"name":"v1",` +
			`"schema":{"openAPIV3Schema":{"properties":{"spec":{"properties":` + spec + `}}}}}]}}`
	}
	before := definition(`{"a":{"type":"integer"},"b":{"type":"integer"},"c":{"items":{"properties":{"x":{"type":"integer"}}}},"d":{"description":"old"},"gone":{"type":"string"}}`)
	after := definition(`{"a":{"type":"integer","minimum":0},"b":{"type":"integer","minimum":0},"c":{"items":{"properties":{"x":{"type":"integer","minimum":0}}}},` +
		`"d":{"description":"new"},"description":{"type":"string","enum":["On","Off"]},"list":{"type":"array","items":{"type":"object","properties":{"k":{},"v":{"default":"x","description":"a v"}}}}}`)
	got := textOf(t, before, after, Options{})
	for _, want := range []string{
		"    + v1: minimum: 0\n        in 3 places: spec.a, spec.b, spec.c[].x\n",
		"    + v1: spec.description\n        + enum:\n        +   - \"On\"\n        +   - \"Off\"\n        + type: string\n",
		"    + v1: spec.list\n        + items:\n        +   properties:\n        +     k: {}\n        +     v:\n        +       default: x\n        +   type: object\n        + type: array\n",
		"    - v1: spec.gone: string\n",
		"    … 2 descriptions in the schema\n",
		"fields removed from the schema: they are pruned from stored objects: v1: spec.gone\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if all := textOf(t, before, after, Options{All: true}); !strings.Contains(all, "description: old → new") {
		t.Errorf("with All, the description is not shown:\n%s", all)
	}
}

func TestNoiseInNewObjects(t *testing.T) {
	t.Parallel()
	object := "apiVersion: v1\nkind: Service\nmetadata: {name: s, labels: {helm.sh/chart: c-1, app: s}}\nspec: {selector: {app.kubernetes.io/version: v1}}\n"
	changes := compare(t, nil, objects(t, object), Options{})
	got := outputs(t, changes)["text"]
	if strings.Contains(got, "c-1") || !strings.Contains(got, "app: s") || !strings.Contains(got, "app.kubernetes.io/version: v1") || changes.Noise.Fields != 1 || changes.Noise.Objects != 0 {
		t.Errorf("noise of a new object: %+v\n%s", changes.Noise, got)
	}
	if all := textOf(t, "", object, Options{All: true}); !strings.Contains(all, "c-1") {
		t.Errorf("with All, noise is left out:\n%s", all)
	}
}

func TestJSONTexts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before, after string
		want                string // path and inside of each change
	}{
		{"one field", `{"a":1,"b":[2]}`, `{"a":1,"b":[3]}`, "data.x » b[0]"},
		{"of several lines", "{\n \"a\": 1\n}\n", "{\n \"a\": 2\n}\n", "data.x » a"},
		{"blanks and order beside a change", `{"a":1,"b":2}`, `{ "b":3, "a":1 }`, "data.x » b"},
		{"blanks only", `{"a":1}`, `{ "a":1}`, "data.x"},
		{"numbers as written", `{"a":1.0}`, `{"a":1.00}`, "data.x » a"},
		{"a big number", `{"a":12345678901234567890}`, `{"a":12345678901234567891}`, "data.x » a"},
		{"JSON within JSON", `{"a":"{\"b\":1}"}`, `{"a":"{\"b\":2}"}`, "data.x » a"},
		{"a list instead of a map", `{"a":1}`, `[1]`, "data.x"},
		{"a list in another order", `[{"name":"a","v":1},{"name":"b"}]`, `[{"name":"b"},{"name":"a","v":2}]`, "data.x"},
		{"a key that is there twice", `{"a":1,"a":2,"b":1}`, `{"a":3,"a":2,"b":2}`, "data.x"},
		{"two documents", `{"a":1} {"b":1}`, `{"a":1} {"b":2}`, "data.x"},
		{"nested too deep", strings.Repeat("[", 100) + "1" + strings.Repeat("]", 100), strings.Repeat("[", 100) + "2" + strings.Repeat("]", 100), "data.x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			object := func(s string) string {
				quoted, _ := json.Marshal(s)
				return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: " + string(quoted) + "}\n"
			}
			changes := compare(t, objects(t, object(test.before)), objects(t, object(test.after)), Options{})
			var got []string
			for _, f := range changes.Objects[0].Fields {
				got = append(got, f.heading())
			}
			if d := cmp.Diff(test.want, strings.Join(got, "|")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

// FuzzJSON checks that only JSON is taken for it, and that decoding loses nothing that encoding/json sees.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,null,true,"x"]}`, `{"a":1,"a":2}`, `[1] [2]`, `[1e400]`, `{"a":-0}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := decodeJSON(s)
		if !ok {
			return
		}
		var want any
		decoder := json.NewDecoder(strings.NewReader(s))
		decoder.UseNumber()
		if err := decoder.Decode(&want); err != nil {
			t.Fatalf("%q is not JSON: %v", s, err)
		}
		a, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var x, y any
		if json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && !cmp.Equal(x, y) {
			t.Errorf("%q was read as %s", s, a)
		}
	})
}

package diff

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

// objects decodes YAML documents.
func objects(t testing.TB, text string) []hydrate.Object {
	t.Helper()
	out, err := Read(fstest.MapFS{"objects.yaml": {Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// paths writes what changed as "+ path" lines.
func paths(c Changes) []string {
	var out []string
	for _, o := range c.Objects {
		for _, f := range o.Fields {
			out = append(out, f.Change.mark()+" "+f.Path.String())
		}
	}
	return out
}

func TestFields(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n"
	for _, test := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", "spec: {a: 1}", "spec: {a: 1}", nil},
		{"a scalar", "spec: {a: 1}", "spec: {a: 2}", []string{"~ spec.a"}},
		{"a type", `spec: {a: "1"}`, "spec: {a: 1}", []string{"~ spec.a"}},
		{"null is not absent", "spec: {a: null}", "spec: {}", []string{"- spec.a"}},
		{"a key with dots", "data: {a.b/c: x}", "data: {a.b/c: y}", []string{`~ data["a.b/c"]`}},
		{"a whole map", "x: 1", "x: 1\nspec: {a: 1, b: 2}", []string{"+ spec"}},
		{"labels one by one", "x: 1", "x: 1\nspec: {labels: {a: b, c: d}}", []string{"+ spec"}},
		{"annotations one by one", "spec: {}", "spec: {annotations: {a: b, c: d}}", []string{"+ spec.annotations.a", "+ spec.annotations.c"}},
		{"by name", "containers: [{name: a, image: x}, {name: b}]", "containers: [{name: a, image: y}, {name: c}]",
			[]string{"~ containers[name=a].image", "- containers[name=b]", "+ containers[name=c]"}},
		{"a name of digits", `env: [{name: "1", value: x}]`, `env: [{name: "1", value: y}]`, []string{`~ env[name="1"].value`}},
		{"ports without names", "ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53, protocol: TCP}]",
			"ports: [{containerPort: 53, protocol: UDP, hostPort: 1}, {containerPort: 53, protocol: TCP}]",
			[]string{"+ ports[containerPort=53,protocol=UDP].hostPort"}},
		{"mounts", "volumeMounts: [{name: a, mountPath: /x}, {name: a, mountPath: /y}]", "volumeMounts: [{name: b, mountPath: /x}, {name: a, mountPath: /y}]",
			[]string{"~ volumeMounts[mountPath=/x].name"}},
		{"claims", "volumeClaimTemplates: [{metadata: {name: a}, spec: 1}]", "volumeClaimTemplates: [{metadata: {name: a}, spec: 2}]",
			[]string{"~ volumeClaimTemplates[metadata.name=a].spec"}},
		{"order of names", "initContainers: [{name: a}, {name: b}]", "initContainers: [{name: b}, {name: a}]", []string{"~ initContainers"}},
		{"a name given twice", "env: [{name: a, value: x}, {name: a, value: y}]", "env: [{name: a, value: x}, {name: a, value: z}]", []string{"~ env[1].value"}},
		{"order of scalars", "args: [a, b, c]", "args: [c, a, b]", []string{"~ args"}},
		{"an argument", "args: [a, --x=1, b]", "args: [--x=2, b]", []string{"- args[0]", "~ args[0]"}},
		{"an inserted item", "args: [a, b]", "args: [a, x, b]", []string{"+ args[1]"}},
		{"like items", "rules: [{g: [x], r: [y], v: [get]}, {g: [p], r: [q], v: [list]}]", "rules: [{g: [n], r: [n], v: [n]}, {g: [x], r: [y], v: [get, put]}, {g: [p], r: [q], v: [list]}]",
			[]string{"+ rules[1].v[1]", "+ rules[0]"}},
		{"a list becomes a map", "spec: [a]", "spec: {a: 1}", []string{"~ spec"}},
		{"an empty list", "spec: []", "spec: [a]", []string{"+ spec[0]"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := paths(compare(t, objects(t, head+test.before), objects(t, head+test.after), Options{}))
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	const data = "\ndata: {a: b}\n---\n"
	for _, test := range []struct {
		name, before, after string
		want                []string
	}{
		{"a new version", "apiVersion: policy/v1beta1\nkind: P\nmetadata: {name: a}", "apiVersion: policy/v1\nkind: P\nmetadata: {name: a}", []string{"changed P.policy a"}},
		{"a move out of extensions", "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: a}", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}",
			[]string{"changed Ingress.networking.k8s.io a"}},
		{"another group", "apiVersion: v1\nkind: Service\nmetadata: {name: a}", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}",
			[]string{"removed Service a", "added Service.serving.knative.dev a"}},
		{"another namespace", "apiVersion: v1\nkind: S\nmetadata: {name: a, namespace: ns1}", "apiVersion: v1\nkind: S\nmetadata: {name: a, namespace: ns2}",
			[]string{"removed S ns1/a", "added S ns2/a"}},
		{"a new hash", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-2456789bcd}" + data, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-fghkmt2456}" + data,
			[]string{"renamed ConfigMap a-fghkmt2456 from a-2456789bcd"}},
		{"no hash", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-2456789bce}" + data, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a-fghkmt2456}" + data,
			[]string{"removed ConfigMap a-2456789bce", "added ConfigMap a-fghkmt2456"}},
		{"generated names", "apiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\nx: 1\n---\napiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\nx: 2",
			"apiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\nx: 2\n---\napiVersion: v1\nkind: Job\nmetadata: {generateName: a-}\nx: 3", []string{"changed Job a-*"}},
		{"the file does not matter", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A, metadata: {name: b}}]", "apiVersion: v1\nkind: A\nmetadata: {name: b}", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, o := range compare(t, objects(t, test.before), objects(t, test.after), Options{}).Objects {
				s := string(o.Change) + " " + o.String()
				if o.BeforeName != "" {
					s += " from " + o.BeforeName
				}
				got = append(got, s)
			}
			slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(b[:3], a[:3]) })
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestCompareRefuses(t *testing.T) {
	t.Parallel()
	twice := objects(t, "apiVersion: v1\nkind: A\nmetadata: {name: b}\n---\napiVersion: v1\nkind: A\nmetadata: {name: b}")
	many := slices.Repeat(twice[:1], maxObjects+1)
	for _, test := range []struct {
		name          string
		before, after []hydrate.Object
		options       Options
		want          string
	}{
		{"an object twice", nil, twice, Options{}, "tree after: A b exists twice"},
		{"too many objects", many, nil, Options{}, "tree before: 20001 objects"},
		{"a pattern", nil, nil, Options{Noise: []string{"a..b"}}, "a key is empty"},
		{"too many patterns", nil, nil, Options{Noise: slices.Repeat([]string{"a"}, maxPatterns+1)}, "201 noise patterns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Compare(test.before, test.after, test.options); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestCompareWithItself(t *testing.T) {
	t.Parallel()
	before, after := release(t)
	for _, tree := range [][]hydrate.Object{before, after, nil} {
		shuffled := slices.Clone(tree)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		changes := compare(t, tree, shuffled, Options{All: true})
		if !changes.Empty() || changes.Counts.Unchanged != len(tree) {
			t.Errorf("of a tree with itself: %+v", changes)
		}
	}
}

func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	before, after := release(t)
	want := outputs(t, compare(t, before, after, Options{}))["JSON"]
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 0))
		for _, tree := range [][]hydrate.Object{before, after} {
			r.Shuffle(len(tree), func(i, j int) { tree[i], tree[j] = tree[j], tree[i] })
		}
		if d := cmp.Diff(want, outputs(t, compare(t, before, after, Options{}))["JSON"]); d != "" {
			t.Fatal(d)
		}
	}
}

// TestEveryMutation changes, drops, adds and moves every value of every object, one at a time.
func TestEveryMutation(t *testing.T) {
	t.Parallel()
	tree, _ := release(t)
	mutations := 0
	for _, o := range tree {
		mutate(nil, o.Content(), func(at Path, what string, content any) {
			if at.is("kind") || at.is("apiVersion") || at.is("metadata") || at.is("metadata", "name") || at.is("metadata", "namespace") {
				return // another object, or none
			}
			mutations++
			data, err := yaml.Marshal(content)
			if err != nil {
				t.Fatal(err)
			}
			changes := compare(t, []hydrate.Object{o}, objects(t, string(data)), Options{All: true})
			if len(changes.Objects) != 1 {
				t.Errorf("%v: %s %v: not seen", o, what, at)
				return
			}
			// Up to the first list, whose items may be named by another key, the path is that of the mutation.
			want, _, _ := strings.Cut(at.String(), "[")
			if !slices.ContainsFunc(paths(changes), func(p string) bool {
				return strings.HasPrefix(p[2:], want) || strings.HasPrefix(want, p[2:])
			}) {
				t.Errorf("%v: %s %v: seen as %v", o, what, at, paths(changes))
			}
		})
	}
	if mutations < 1000 {
		t.Errorf("only %d mutations were tried", mutations)
	}
}

// mutate calls try with each mutation of value, as part of the whole.
func mutate(at Path, value any, try func(at Path, what string, whole any)) {
	inner := func(at Path, v any, set func(any) any) {
		mutate(at, v, func(at Path, what string, mutated any) { try(at, what, set(mutated)) })
	}
	switch value := value.(type) {
	case map[string]any:
		for key, v := range value {
			with := func(v any) any {
				out := maps.Clone(value)
				out[key] = v
				return out
			}
			inner(at.key(key), v, with)
			less := maps.Clone(value)
			delete(less, key)
			try(at.key(key), "drop", less)
		}
		more := maps.Clone(value)
		more["added-by-the-test"] = "x"
		try(at, "add to", more)
	case []any:
		for i, v := range value {
			inner(at.index(i), v, func(v any) any {
				out := slices.Clone(value)
				out[i] = v
				return out
			})
			try(at, "drop from", slices.Delete(slices.Clone(value), i, i+1))
			try(at, "double in", slices.Insert(slices.Clone(value), i, v))
			if i > 0 && !reflect.DeepEqual(value[i-1], v) {
				swapped := slices.Clone(value)
				swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
				try(at, "swap in", swapped)
			}
		}
	case string:
		try(at, "change", value+"x")
		try(at, "change a line of", value+"\nx")
	case bool:
		try(at, "change", !value)
	case int64:
		try(at, "change", value+1)
		try(at, "quote", fmt.Sprint(value))
	}
}

// TestStages compares two stages whose objects have the stage in their names, or in those of their namespaces.
func TestStages(t *testing.T) {
	t.Parallel()
	object := func(name, rest string) string {
		namespace, name, _ := strings.Cut(name, "/")
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + namespace + "}\n" + rest + "\n---\n"
	}
	before := object("a/staging", "data: {a: b}") + object("web-staging/c", "data: {a: b}") + object("a/x-staging-y", "data: {a: b}") + object("a/stagingly", "") + object("a/same", "data: {a: b}")
	after := object("a/qa", "data: {a: c}") + object("web-qa/c", "data: {a: b}") + object("a/x-qa-y", "data: {a: b}") + object("a/qaly", "") + object("a/same", "data: {a: b}")
	want := Counts{Added: 1, Removed: 1, Renamed: 3, Unchanged: 1}
	changes := compare(t, objects(t, before), objects(t, after), Options{Stages: Stages{"staging", "qa"}})
	if changes.Counts != want {
		t.Errorf("%+v, want %+v", changes.Counts, want)
	}
	for _, o := range changes.Objects {
		for _, r := range o.Risks {
			if o.Change == Renamed && r.Level != Info {
				t.Errorf("%v: %s", o, r.Message)
			}
		}
	}
	if got := compare(t, objects(t, before), objects(t, after), Options{}).Counts; got.Renamed != 0 {
		t.Errorf("of no known stages: %+v", got)
	}
	if got := compare(t, objects(t, before), objects(t, after), Options{Stages: Stages{"staging", "staging"}}).Counts; got.Renamed != 0 {
		t.Errorf("of one stage: %+v", got)
	}
}

// TestStagesWithoutAWord compares a stage whose objects have its name in theirs with one whose objects have nothing there.
func TestStagesWithoutAWord(t *testing.T) {
	t.Parallel()
	object := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n---\n"
	}
	for name, test := range map[string]struct {
		before, after []string
		want          Counts
	}{
		"suffix":          {[]string{"web-staging", "db-staging"}, []string{"web", "db"}, Counts{Renamed: 2}},
		"prefix":          {[]string{"web"}, []string{"production-web"}, Counts{Renamed: 1}},
		"in between":      {[]string{"a-staging-b"}, []string{"a-b"}, Counts{Renamed: 1}},
		"ambiguous":       {[]string{"web-staging", "staging-web"}, []string{"web"}, Counts{Added: 1, Removed: 2}},
		"both have it":    {[]string{"web-staging", "web"}, []string{"web-production", "web"}, Counts{Renamed: 1, Unchanged: 1}},
		"one has both":    {[]string{"web-staging", "web"}, []string{"web"}, Counts{Removed: 1, Unchanged: 1}},
		"no whole word":   {[]string{"webstaging"}, []string{"web"}, Counts{Added: 1, Removed: 1}},
		"the whole name":  {[]string{"staging"}, []string{"web"}, Counts{Added: 1, Removed: 1}},
		"another's stage": {[]string{"web-production"}, []string{"web"}, Counts{Added: 1, Removed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var before, after string
			for _, n := range test.before {
				before += object(n)
			}
			for _, n := range test.after {
				after += object(n)
			}
			got := compare(t, objects(t, before), objects(t, after), Options{Stages: Stages{"staging", "production"}}).Counts
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// BenchmarkCompare compares two trees of 300 objects whose chart labels all differ.
func BenchmarkCompare(b *testing.B) {
	var trees [2][]hydrate.Object
	for side, dir := range []string{"before", "after"} {
		base := readDir(b, "testdata/release/"+dir)
		var all bytes.Buffer
		for i := 0; len(trees[side]) < 300; i++ {
			for _, o := range base {
				all.WriteString("---\n")
				all.Write(bytes.ReplaceAll(o.YAML(), []byte("prom"), []byte("prom"+strconv.Itoa(i))))
			}
			trees[side] = objects(b, all.String())
		}
		trees[side] = trees[side][:300]
	}
	for b.Loop() {
		compare(b, trees[0], trees[1], Options{})
	}
}

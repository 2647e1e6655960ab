package strictyaml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type document struct {
	Name   string            `yaml:"name,required"`
	Commit string            `yaml:"commit,scalar"`
	On     bool              `yaml:"on"`
	Count  *int              `yaml:"count"`
	Sub    sub               `yaml:"sub"`
	Subs   []sub             `yaml:"subs"`
	Set    map[string]string `yaml:"set"`
	Hidden string            `yaml:"-"`
}

type sub struct {
	Path   string   `yaml:"path,required"`
	Values []string `yaml:"values"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	root, problems := Parse("f.yaml", []byte(`---
name: a
commit: 0123
on: true
count: 3
sub: &s {path: p, values: ["{stage}", "x/{stage}"]}
subs: [*s]
set: {a.b: "1"}
`))
	if problems != nil {
		t.Fatal(problems)
	}
	var got document
	if problems := Decode(root, &got); problems != nil {
		t.Fatal(problems)
	}
	three := 3
	s := sub{Path: "p", Values: []string{"{stage}", "x/{stage}"}}
	want := document{Name: "a", Commit: "0123", On: true, Count: &three, Sub: s, Subs: []sub{s}, Set: map[string]string{"a.b": "1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", MaxDepth+2) + strings.Repeat("]", MaxDepth+2)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		prev := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+prev+",", 8) + "*" + prev + "]\n"
	}
	tests := map[string]struct{ in, want string }{
		"all in one go": {"nname: a\ncommit: [1]\non: yes\ncount: x\nsub: {path: 1.10, valeus: []}\nsubs: [1, null]\nset: {<<: {}}\n", `
f:1:1: name is missing
f:1:1: unknown key "nname" (did you mean "name"?)
f:2:9: commit: expected a string, found a list
f:3:5: on: expected true or false, found a string
f:4:8: count: expected a decimal number, found a string
f:5:13: sub.path: expected a string, found the number 1.10: write "1.10" with quotes
f:5:19: unknown key "valeus" in sub (did you mean "values"?)
f:6:8: subs[0]: expected a map, found the number 1
f:6:11: subs[1] is empty: give it a value
f:7:7: merge keys (<<) are not read: write the keys out`},
		"placeholder without quotes": {"name: {stage}", `
f:1:7: name: {stage} without quotes is a YAML map: write "{stage}"`},
		"placeholder without quotes before text": {"name: a\nsub:\n  path: {stage}/x", `
f:3:3: is not valid YAML: did not find expected key; quotes may be missing in line 3: a value with {stage} is written "…{stage}…"`},
		"tab": {"name: a\nsub:\n\tpath: x", `
f:3:1: is not valid YAML: found character that cannot start any token; the line is indented by a tab, and YAML takes spaces`},
		"null for a required key": {"name: ~\ncommit: ~\nsub: null\nset: {a: null}", "\nf:1:7: name is empty: give it a value\nf:4:10: set.a is empty: give it a string"},
		"duplicate key":           {"name: a\nsub: {path: x, path: y}\nname: b", "\nf:2:16: key \"path\" is given twice, first in line 2\nf:3:1: key \"name\" is given twice, first in line 1"},
		"key is a map":            {"{a: b}: c", "\nf:1:1: a key is a map or a list: write it in quotes"},
		"empty":                   {"# nothing\n", "\nf:1:1: is empty"},
		"null document":           {"---\n", "\nf:2:1: the document is empty: give it a map"},
		"two documents":           {"name: a\n---\nname: b\n", "\nf:2:1: holds more than one YAML document: write one document a file"},
		"too deep":                {deep, "\nf:1:66: is nested deeper than 64 levels (an alias may contain itself)"},
		"alias of itself":         {"name: &a [*a]", "\nf:1:7: is nested deeper than 64 levels (an alias may contain itself)"},
		"alias bomb":              {bomb, "\nf:1:8: the document has more than 50000 values, aliases counted each time they are used"},
		"too large":               {strings.Repeat(" ", MaxSize+1), "\nf: is larger than 1 MiB: a file of this kind is a few KiB"},
		"unknown custom tag":      {"name: !vault x", "\nf:1:7: name: expected a string, found a value tagged !vault: write \"x\" with quotes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, problems := Parse("f", []byte(test.in))
			if problems == nil {
				problems = Decode(root, &document{})
			}
			err := problems.Err()
			if err == nil {
				t.Fatal("no problem")
			}
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestErr(t *testing.T) {
	t.Parallel()
	var ps Problems
	if err := ps.Err(); err != nil {
		t.Errorf("no problem is an error: %v", err)
	}
	ps.Add(Pos{"b", 1, 1}, "x")
	ps.Add(Pos{"a", 10, 1}, "y")
	ps.Add(Pos{"a", 9, 2}, "z")
	ps.Add(Pos{"a", 9, 2}, "z")
	if got, want := ps.Err().Error(), "a:9:2: z\na:10:1: y\nb:1:1: x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := range 2 * maxShown {
		ps.Add(Pos{"c", i + 1, 1}, "w")
	}
	if got := ps.Err().Error(); !strings.HasSuffix(got, "\nand 53 more problems") {
		t.Errorf("not bounded: %s", got)
	}
}

// parse is for documents that are known to be good.
func parse(t *testing.T, file, text string) *Node {
	t.Helper()
	n, problems := Parse(file, []byte(text))
	if problems != nil {
		t.Fatal(problems)
	}
	return n
}

func TestMerge(t *testing.T) {
	t.Parallel()
	base := parse(t, "base", "{name: a, sub: {path: p, values: [x, y]}, subs: [{name: s, path: 1}, {name: t}], on: true}")
	over := parse(t, "over", "{sub: {values: [z]}, subs: [{name: u}, {name: s, path: 2}], on: null}")
	got := Merge(base, over).With("subs", MergeByName(base.Get("subs"), over.Get("subs")))
	if want := "{name: a, sub: {path: p, values: [z]}, subs: [{name: s, path: 2}, {name: t}, {name: u}], on: null}"; flow(got) != want {
		t.Errorf("got  %s\nwant %s", flow(got), want)
	}
	if pos := got.At("sub", "path").String(); pos != "base:1:23" {
		t.Errorf("a value of base is at %s", pos)
	}
	if pos := got.At("subs", 0, "path").String(); pos != "over:1:56" {
		t.Errorf("a value of over is at %s", pos)
	}
	if flow(base) != "{name: a, sub: {path: p, values: [x, y]}, subs: [{name: s, path: 1}, {name: t}], on: true}" {
		t.Errorf("base was changed: %s", flow(base))
	}
	if Merge(nil, over) != over || Merge(base, nil) != base {
		t.Error("merging with nothing changes something")
	}
}

func TestMapStrings(t *testing.T) {
	t.Parallel()
	in := parse(t, "f", `{a: x, b: [y, {c: z}], d: 1, e: true}`)
	var paths []string
	out := in.MapStrings(func(path []string, s *Node) string {
		paths = append(paths, strings.Join(path, "."))
		return strings.ToUpper(s.Value)
	})
	if want := "{a: X, b: [Y, {c: Z}], d: 1, e: true}"; flow(out) != want {
		t.Errorf("got %s, want %s", flow(out), want)
	}
	if diff := cmp.Diff([]string{"a", "b", "b.c"}, paths); diff != "" {
		t.Error(diff)
	}
	if flow(in) != "{a: x, b: [y, {c: z}], d: 1, e: true}" {
		t.Errorf("the input was changed: %s", flow(in))
	}
}

func TestAtFind(t *testing.T) {
	t.Parallel()
	n := parse(t, "f", "a:\n  - b: c\n")
	if got := n.At("a", 0, "x", "y").String(); got != "f:2:5" {
		t.Errorf("At stops at %s", got)
	}
	if n.Find("a", 0, "b").Value != "c" || n.Find("a", 1) != nil || n.Find("x", 0, "y") != nil || n.Find("a", "b", 0) != nil {
		t.Error("Find finds the wrong thing")
	}
}

// flow writes a tree in one line.
func flow(n *Node) string {
	var parts []string
	switch n.Kind {
	case Map:
		for _, e := range n.Entries {
			parts = append(parts, e.Key+": "+flow(e.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case List:
		for _, item := range n.Items {
			parts = append(parts, flow(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return n.Value
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"name: a", "a: &a [*a]", "{<<: {a: b}}", "? [x]\n: y", "!!binary x", "name: {stage}", "--- a\n--- b", "\x00", "a: !!int x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, problems := Parse("f", data)
		if (n == nil) != (len(problems) > 0) {
			t.Fatalf("node %v with problems %v", n, problems)
		}
		if n == nil {
			return
		}
		_ = Decode(n, &document{}).Err()
		_ = Merge(n, n)
		_ = n.MapStrings(func(_ []string, s *Node) string { return s.Value })
	})
}

func TestDecodeFillsEmbeddedStructs(t *testing.T) {
	t.Parallel()
	type Inner struct {
		B string `yaml:"b,required"`
	}
	var v struct {
		A string `yaml:"a"`
		Inner
	}
	root, _ := Parse("f", []byte("{a: x, b: y}"))
	if problems := Decode(root, &v); problems != nil || v.A != "x" || v.B != "y" {
		t.Errorf("got %v, %v", v, problems)
	}
	root, _ = Parse("f", []byte("{a: x, Inner: {b: y}}"))
	if problems := Decode(root, &v); len(problems) != 2 {
		t.Errorf("an embedded struct is a key, or its own are not required: %v", problems)
	}
}

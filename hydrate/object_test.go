package hydrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"
)

func TestObjects(t *testing.T) {
	t.Parallel()
	const meta = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	for name, c := range map[string]struct {
		document string
		want     []string // String of each object
		err      string   // part of the error
	}{
		"one":                  {meta, []string{"ConfigMap a"}, ""},
		"group and namespace":  {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: b}", []string{"Deployment.apps b/a"}, ""},
		"generated name":       {"apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}", []string{"Pod a-*"}, ""},
		"null namespace":       {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: }", []string{"Pod a"}, ""},
		"comments only":        {"# nothing\n", nil, ""},
		"empty":                {"", nil, ""},
		"null":                 {"null", nil, ""},
		"marker":               {"---\n" + meta, []string{"ConfigMap a"}, ""},
		"first of stream":      {meta + "---\nkind: ignored by clients\n", []string{"ConfigMap a"}, ""},
		"list":                 {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}", []string{"Pod a", "Pod b"}, ""},
		"typed list":           {"apiVersion: apps/v1\nkind: DeploymentList\nitems: [{metadata: {name: a}}]", []string{"Deployment.apps a"}, ""},
		"list of lists":        {"kind: List\nitems: [{kind: List, apiVersion: v1, items: [{apiVersion: v1, kind: Pod, metadata: {name: a}}]}]", []string{"Pod a"}, ""},
		"list by items":        {"apiVersion: x/v1\nkind: Bundle\nmetadata: {name: hides}\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: a}}]", []string{"Secret a"}, ""},
		"empty list":           {"apiVersion: v1\nkind: List", nil, ""},
		"null items":           {"apiVersion: v1\nkind: PodList\nitems: ", nil, ""},
		"a kind called list":   {"apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}", []string{"AllowList.x a"}, ""},
		"items that are a map": {"apiVersion: x/v1\nkind: Bundle\nmetadata: {name: a}\nitems: {b: c}", []string{"Bundle.x a"}, ""},
		"item is a scalar":     {"apiVersion: v1\nkind: List\nitems: [a]", nil, "item 1 of the List is a string, not an object"},
		"item without kind":    {"apiVersion: v1\nkind: List\nitems: [{metadata: {name: a}}]", nil, "item 1 of the List: object: no kind"},
		"lists too deep":       {strings.Repeat("{kind: List, items: [", 10) + strings.Repeat("]}", 10), nil, "lists in lists"},
		"scalar":               {"just text", nil, `a Kubernetes object is a map, this is a string that begins "just text"`},
		"sequence":             {"- a\n- b", nil, "this is a list"},
		"no name":              {"apiVersion: v1\nkind: Pod", nil, "Pod: no metadata.name"},
		"nothing":              {"{}", nil, "object: no apiVersion, no kind, no metadata.name"},
		"name a number":        {"apiVersion: v1\nkind: Pod\nmetadata: {name: 12}", nil, "metadata.name is the number 12, not a string"},
		"name a boolean":       {"apiVersion: v1\nkind: Pod\nmetadata: {name: on}", nil, "metadata.name is the boolean true"},
		"metadata a list":      {"apiVersion: v1\nkind: Pod\nmetadata: [a]", nil, "metadata is a list"},
		"label a list":         {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {b: [c]}}", nil, "Pod a: metadata.labels: b is a list, not a string"},
		"version with slashes": {"apiVersion: a/b/c\nkind: Pod\nmetadata: {name: a}", nil, `apiVersion "a/b/c"`},
		"version of no group":  {"apiVersion: /v1\nkind: Pod\nmetadata: {name: a}", nil, `apiVersion "/v1"`},
		"no YAML":              {"a: b\n c: d\n", nil, "line 2: mapping values are not allowed"},
		"not a number":         {meta + "data: {x: .nan}", nil, "JSON, and so Kubernetes, has no such number"},
		"infinite":             {meta + "data: {x: -.inf}", nil, "no such number"},
		"binary":               {meta + "data: {x: !!binary gIGC}", nil, "base64"},
		"a map as key":         {meta + "data: {{a: b}: c}", nil, "map"},
		"null as key":          {meta + "data: {~: c}", nil, "a key is null"},
		"key twice":            {meta + "data: {1: a, \"1\": b}", nil, `"1" is given twice`},
		"deep":                 {meta + "data: " + strings.Repeat("[", 300) + strings.Repeat("]", 300), nil, "nested more than"},
		"long key":             {meta + "data:\n  ? \"" + strings.Repeat(`\x01`, 300) + "\"\n  : a", nil, "YAML allows"},
		"too many values":      {meta + "data: [" + strings.Repeat("a,", maxMarks) + "]", nil, "more values than can be decoded"},
		"too large":            {meta + "data: " + strings.Repeat("x", maxDocumentBytes), nil, "more than the"},
		"aliases that explode": {meta + "a: &a " + strings.Repeat("x", 1<<20) + "\nb: &b [" + strings.Repeat("*a, ", 20) + "]\nc: [" + strings.Repeat("*b, ", 20) + "]", nil, "aliases expanded"},
		"alias to itself":      {meta + "a: &a [*a]", nil, "contains itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := Objects([]Manifest{{Source: "c/templates/a.yaml", Document: 2, Data: []byte(c.document)}})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.HasPrefix(err.Error(), "c/templates/a.yaml: document 2: ") {
					t.Fatalf("got error %v, want one of c/templates/a.yaml: document 2 with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.String())
				if o.Source != "c/templates/a.yaml" {
					t.Errorf("%v comes from %q", o, o.Source)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestObjectsTellsAllProblems(t *testing.T) {
	t.Parallel()
	var manifests []Manifest
	for i := range maxProblems + 5 {
		manifests = append(manifests, Manifest{Source: fmt.Sprintf("%d.yaml", i), Document: 1, Data: []byte("[]")})
	}
	_, err := Objects(manifests)
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxProblems+1 || !strings.HasPrefix(lines[1], "1.yaml: ") {
		t.Errorf("got %d lines:\n%v", len(lines), err)
	}
}

func TestDecodeAsKubernetes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]any{
		"yes": true, "off": false, "y": true, "~": nil, "": nil, "0o17": int64(15), "017": int64(15), "0x1F": int64(31), "1_000": int64(1000),
		"1:30": "1:30", "2001-01-01": "2001-01-01", "1e3": int64(1000), "1.0": int64(1), "1.5": 1.5, "-0.0": int64(0),
		"9007199254740993": int64(9007199254740993), "9223372036854775807": int64(math.MaxInt64), "-9223372036854775808": int64(math.MinInt64),
		"18446744073709551615": uint64(math.MaxUint64), "99999999999999999999": 1e20, "1e400": "1e400", "!!str 1": "1", "{a: 1, a: 2}": map[string]any{"a": int64(2)},
		"{1: a, 1.5: b, true: c}": map[string]any{"1": "a", "1.5": "b", "true": "c"}, "[&x {a: b}, {<<: *x}]": []any{map[string]any{"a": "b"}, map[string]any{"a": "b"}},
	} {
		got, err := decode([]byte(text))
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("decode(%q) = %#v, %v, want %#v", text, got, err, want)
		}
	}
}

func TestDecoderSharesWhatIsMetAgain(t *testing.T) {
	t.Parallel()
	var d Decoder
	manifest := []Manifest{{Source: "a", Data: []byte("{apiVersion: v1, kind: Pod, metadata: {name: a}}")}}
	var objects []Object
	for range 3 {
		o, err := d.Objects(manifest)
		if err != nil {
			t.Fatal(err)
		}
		manifest[0].Source += "a"
		objects = append(objects, o...)
	}
	if objects[0].document == objects[1].document {
		t.Error("what is met first is kept: every document of every stage would stay in memory")
	}
	if objects[1].document != objects[2].document || objects[2].Source != "aaa" {
		t.Errorf("the third is not the second with its own source: %v %q", objects[2], objects[2].Source)
	}
}

// TestRecentDecoder parses what it met lately once, however many want it at a time, and keeps no more than its limit.
func TestRecentDecoder(t *testing.T) {
	t.Parallel()
	const size = 1000
	d := NewRecentDecoder(16 * size)
	pod := func(i int) []Manifest {
		text := fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: a%d}}", i)
		return []Manifest{{Source: fmt.Sprint(i), Data: []byte(text + strings.Repeat(" ", size-len(text)))}}
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if o, err := d.Objects(pod(0)); err != nil || o[0].Name != "a0" {
				t.Errorf("%v, %v", err, o)
			}
		})
	}
	group.Wait()
	for i := range 100 {
		for _, i := range []int{0, i} {
			if o, err := d.Objects(pod(i)); err != nil || o[0].Source != fmt.Sprint(i) {
				t.Errorf("%v, %v", err, o)
			}
		}
	}
	if got := d.Parses(); got != 100 {
		t.Errorf("%d documents are parsed, of 100", got)
	}
	if _, err := d.Objects(pod(1)); err != nil || d.Parses() != 101 {
		t.Errorf("%v: the first of a hundred is still kept", err)
	}
}

// TestObjectsOfReadsOneByOne has each document decoded before the next one is read, and ends with an error of reading.
func TestObjectsOfReadsOneByOne(t *testing.T) {
	t.Parallel()
	var d Decoder
	broken := errors.New("broken")
	_, err := d.ObjectsOf(func(yield func(Manifest, error) bool) {
		for i := range 3 {
			if d.Parses() != int64(i) {
				t.Errorf("document %d is read after %d were decoded", i, d.Parses())
			}
			if !yield(Manifest{Source: "a", Data: fmt.Appendf(nil, "{apiVersion: v1, kind: Pod, metadata: {name: a%d}}", i)}, nil) {
				return
			}
		}
		if yield(Manifest{}, broken) {
			t.Error("it goes on after an error")
		}
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestDecoderKeepsWhatIsFixed: definitions are decoded once, wherever a child keeps them.
func TestDecoderKeepsWhatIsFixed(t *testing.T) {
	t.Parallel()
	var d Decoder
	data := []byte("{apiVersion: v1, kind: Pod, metadata: {name: a}}")
	var documents []*document
	for _, data := range [][]byte{data, data, slices.Clone(data)} {
		objects, err := d.Objects([]Manifest{{Source: "a", Data: data, Fixed: true}})
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, objects[0].document)
	}
	if documents[0] != documents[1] || documents[0] != documents[2] {
		t.Error("a fixed document is decoded again")
	}
}

// TestEncode fixes how objects look: a change here changes every artifact.
func TestEncode(t *testing.T) {
	t.Parallel()
	const in = `
kind: ConfigMap
apiVersion: v1
metadata: {name: a, labels: {}, finalizers: []}
data:
  script: "#!/bin/sh\necho 'a: b' # c\n"
  unended: "a\nb"
  kept: "a\n\n\n"
  indented: "  a\nb\n"
  tab: "\ta\nb\n"
  lead: "\n\na\n"
  blank: "\n\n"
  trailing: "a  \n  \nb\n"
  crlf: "a\r\nb\r\n"
  control: "a\x01\u2028\ufeff\U0001F600é"
  json: '{"a": "it''s"}'
  regexp: '^\d+$'
  words: [yes, "yes", "null", "~", "1", "1.5", "1e3", "0x1", "1:30", "2001-01-01", "1_0", ".inf", "=", "", " a", "a ", "a: b", "a #b", "a#b", "a:b", "-", "- a", "-a", "--- a", "@a", "*a", "10m", "5Gi", "1.2.3.4", "v1"]
  numbers: [1, -1, 1.5, 1e20, 1.5e-7, 18446744073709551615]
  long: "` + "word word word word word word word word word word word word word word word word word word word word word word word word word" + `"
  nested: [[a, [b]], [{c: d, e: [f]}], [], {}, null, true]
  "a b": c
  "true": d
`
	const want = `apiVersion: v1
data:
  a b: c
  blank: "\n\n"
  control: "a\x01\u2028\ufeff😀é"
  crlf: "a\r\nb\r\n"
  indented: |2
      a
    b
  json: '{"a": "it''s"}'
  kept: |+
    a


  lead: |


    a
  long: word word word word word word word word word word word word word word word word word word word word word word word word word
  nested:
  - - a
    - - b
  - - c: d
      e:
      - f
  - []
  - {}
  - null
  - true
  numbers:
  - 1
  - -1
  - 1.5
  - 1.0e+20
  - 1.5e-07
  - 18446744073709551615
  regexp: ^\d+$
  script: |
    #!/bin/sh
    echo 'a: b' # c
  tab: |2
    	a
    b
  trailing: |
    a  
      
    b
  "true": d
  unended: |-
    a
    b
  words:
  - true
  - "yes"
  - "null"
  - "~"
  - "1"
  - "1.5"
  - "1e3"
  - "0x1"
  - "1:30"
  - "2001-01-01"
  - "1_0"
  - ".inf"
  - "="
  - ""
  - " a"
  - "a "
  - "a: b"
  - "a #b"
  - a#b
  - a:b
  - "-"
  - "- a"
  - -a
  - "--- a"
  - "@a"
  - "*a"
  - 10m
  - 5Gi
  - "1.2.3.4"
  - v1
kind: ConfigMap
metadata:
  finalizers: []
  labels: {}
  name: a
`
	objects, err := Objects([]Manifest{{Data: []byte(in)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(objects[0].YAML())); diff != "" {
		t.Error(diff)
	}
}

// TestSOPS: the MAC of an encrypted object covers the order of its values and how they are spelled.
func TestSOPS(t *testing.T) {
	t.Parallel()
	const in = `# a comment is not covered
kind: Secret
apiVersion: v1
metadata:
    name: a
stringData:
    z: ENC[AES256_GCM,data:Zm9v,iv:YmFy,tag:YmF6,type:str]
    a: 'quoted'
immutable: true
ratio: 1.10
mode: 0644
at: 2026-01-01
empty:
note: |
    two
    lines
list: [b, a]
sops:
    version: 3.9.0
    mac: ENC[x]
`
	const want = `kind: Secret
apiVersion: v1
metadata:
  name: a
stringData:
  z: ENC[AES256_GCM,data:Zm9v,iv:YmFy,tag:YmF6,type:str]
  a: quoted
immutable: true
ratio: 1.10
mode: 0644
at: 2026-01-01
empty: null
note: |
  two
  lines
list:
- b
- a
sops:
  version: 3.9.0
  mac: ENC[x]
`
	objects, err := Objects([]Manifest{{Data: []byte(in)}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(objects[0].YAML())); diff != "" {
		t.Error(diff)
	}
	back, err := decode(objects[0].YAML())
	if err != nil || !cmp.Equal(back, any(objects[0].Content())) {
		t.Errorf("reads back as %v, %v", back, err)
	}
}

// TestSOPSReadAlike is of what readers could take for another object than the one that was judged.
func TestSOPSReadAlike(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nsops: {mac: x}\n"
	for text, want := range map[string]string{
		"a: &x b\nc: *x":                       "line 5: an anchor or alias",
		"a: &x b":                              "line 5: an anchor or alias",
		"a: &x [b]\nc: [d, *x]":                "line 5: an anchor or alias",
		"a: !!int \"3\"":                       "line 5: tag !!int",
		"<<: {kind: Secret}":                   "line 5: a merge key",
		"spec: {a: {b: c, <<: {b: d}}}":        "line 5: a merge key",
		"spec: [{<<: [{a: b}]}]":               "line 5: a merge key",
		"\"<<\": {kind: Secret}":               "",
		"kind: Secret":                         "line 5: ",
		"spec:\n  a: 1\n  a: 2":                "line 7: ",
		"spec: {a: 1, \"a\": 2}":               "line 5: ",
		"Kind: Secret":                         `keys "Kind" and "kind", which some readers take for one`,
		"Sops: {}":                             `keys "Sops" and "sops"`,
		"data: {http_proxy: a, HTTP_PROXY: b}": "",
		"spec: {hostNetwork: yes}":             `line 5: "yes" is one value under YAML 1.1 and another under YAML 1.2; quote it`,
		"spec: {hostNetwork: off}":             "line 5: ",
		"spec: {a: [on]}":                      "line 5: ",
		"spec: {yes: 1}":                       "line 5: ",
		"spec: {1: 1}":                         "line 5: ",
		"spec: {? [a] : 1}":                    "",
		"spec: {a: 1e3}":                       "",
		"spec: {a: 1:30, b: 0x1F, c: 0b1, d: 1_0, e: 0o17}":                                   "",
		"spec: {a: 'yes', b: ~, c: null, d: '', e: 1.0, f: 18446744073709551615, g: -0.5e+3}": "",
	} {
		objects, err := Objects([]Manifest{{Data: []byte(head + text)}})
		if err != nil {
			if want == "" && strings.Contains(err.Error(), "SOPS") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", text, err, want)
			}
			continue
		}
		if want != "" {
			t.Errorf("%s passes", text)
		}
		var modern any
		if err := yaml.Unmarshal(objects[0].YAML(), &modern); err != nil || !cmp.Equal(jsonNumbers(t, modern), jsonNumbers(t, objects[0].Content())) {
			t.Errorf("YAML 1.2 reads something else: %v\n%s", err, objects[0].YAML())
		}
	}
}

// FuzzObjects: whatever decodes is what Kubernetes' own decoder sees, and what is written reads back the same, under
// YAML 1.1 and 1.2.
func FuzzObjects(f *testing.F) {
	for _, seed := range []string{
		"a: b", "a: |\n  b\n c", "data: {x: \"\\ta\\n b\\n\"}", "a: [1, 1.5, yes, ~, 0o7, '1']", "- - a\n  - {b: c}", "a: &a [b]\nc: *a",
		"sops: {a: b}\nz: 1\na: yes", "a: \"\\x85\\u2028\\uFEFF\"", "a: \"\\n\\n  x\"", "? a\n: b", "a: 'x\n\n  y'", "1: 2\n1.5: 3\ntrue: 4", "a: \"   \\n\\t\\nb\"", "a: !!binary aGk=", "8e07: 0",
	} {
		f.Add([]byte(seed))
	}
	head := []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Objects([]Manifest{{Data: data}}) // must not panic
		objects, err := Objects([]Manifest{{Data: append(bytes.Clone(head), data...)}})
		if err != nil || len(objects) != 1 {
			return
		}
		o := objects[0]
		var theirs any
		if err := k8syaml.Unmarshal(append(bytes.Clone(head), data...), &theirs, useNumber); err != nil {
			t.Fatalf("we read what Kubernetes does not: %v", err)
		}
		if ours, want := jsonNumbers(t, o.Content()), jsonNumbers(t, theirs); !cmp.Equal(ours, want) {
			t.Fatalf("we read other values than Kubernetes: %s", cmp.Diff(want, ours))
		}
		back, err := decode(o.YAML())
		if err != nil || !cmp.Equal(back, any(o.Content())) {
			t.Fatalf("does not read back: %v\n%s\n%s", err, o.YAML(), cmp.Diff(any(o.Content()), back))
		}
		var modern any
		if err := yaml.Unmarshal(o.YAML(), &modern); err != nil || !cmp.Equal(jsonNumbers(t, modern), jsonNumbers(t, o.Content())) {
			t.Fatalf("YAML 1.2 reads something else: %v\n%s\n%s", err, o.YAML(), cmp.Diff(jsonNumbers(t, o.Content()), jsonNumbers(t, modern)))
		}
	})
}

func useNumber(d *json.Decoder) *json.Decoder {
	d.UseNumber()
	return d
}

// jsonNumbers brings values to JSON's types, with numbers by value.
func jsonNumbers(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte(":-0,"), []byte(":0,"))
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

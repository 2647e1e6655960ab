package diff

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	t.Parallel()
	object := func(name string) string { return "apiVersion: v1\nkind: A\nmetadata: {name: " + name + "}\n" }
	tree := fstest.MapFS{
		"b.yml":               {Data: []byte("---\r\n" + object("b1") + "--- # two\n" + object("b2") + "---\n# nothing\n")},
		"a/c.json":            {Data: []byte(`{"apiVersion": "v1", "kind": "A", "metadata": {"name": "c"}}`)},
		"README.md":           {Data: []byte("# no object")},
		".git/x.yaml":         {Data: []byte("no: object")},
		".hidden.yaml":        {Data: []byte("no: object")},
		"hydrator.metadata":   {Data: []byte("{}")},
		"nested/deep/d.yaml":  {Data: []byte(object("d"))},
		"list/z.yaml":         {Data: []byte("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: A, metadata: {name: e}}\n")},
		"text/block.yaml":     {Data: []byte(object("f") + "data:\n  x: |\n    ---\n    y\n")},
		"text/no-newline.yml": {Data: []byte(strings.TrimSuffix(object("g"), "\n"))},
	}
	got, err := Read(tree)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range got {
		names = append(names, o.Source+" "+o.Name)
	}
	want := []string{"a/c.json c", "b.yml b1", "b.yml b2", "list/z.yaml e", "nested/deep/d.yaml d", "text/block.yaml f", "text/no-newline.yml g"}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if text := get(got[5].Content(), "data", "x"); text != "---\ny\n" {
		t.Errorf("the block is %q", text)
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]fstest.MapFS{
		"a.yaml: document 2": {"a.yaml": {Data: []byte("---\n---\n# x\n---\nno: object\n")}},
		"more than 50000":    {"a.yaml": {Data: bytes.Repeat([]byte("---\n~\n"), maxDocuments+1)}},
	} {
		if _, err := Read(tree); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want it to say %q", err, name)
		}
	}
}

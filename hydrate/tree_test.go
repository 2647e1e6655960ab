package hydrate

import (
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestTree(t *testing.T) {
	t.Parallel()
	tree, err := Layout([]Object{object(t, "v1 Service b"), object(t, "v1 Service a")}, PerObject, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "service-a.yaml", "service-b.yaml"); err != nil {
		t.Error(err)
	}
	data, err := fs.ReadFile(tree, "service-a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if again, err := fs.ReadFile(tree, "service-a.yaml"); err != nil || again[0] == 0 {
		t.Errorf("a reader can change the tree: %q, %v", again, err)
	}
	info, err := fs.Stat(tree, "service-a.yaml")
	if err != nil || info.Mode() != 0o644 || !info.ModTime().IsZero() {
		t.Errorf("%v %v, %v", info.Mode(), info.ModTime(), err)
	}
}

package memfs_test

import (
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/internal/memfs"
)

func TestTree(t *testing.T) {
	t.Parallel()
	tree, err := memfs.NewTree(map[string][]byte{"a": nil, "b/c": []byte("c"), "b/d/e": []byte("e")})
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tree, "a", "b/c", "b/d/e"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{".", "", "../a", "/a", "a/", "a/b/../c"} {
		if _, err := memfs.NewTree(map[string][]byte{name: nil}); err == nil {
			t.Errorf("%q is taken for a file", name)
		}
	}
	if _, err := memfs.NewTree(map[string][]byte{"a": nil, "a/b": nil}); err == nil {
		t.Error("a file is a folder, too")
	}
}

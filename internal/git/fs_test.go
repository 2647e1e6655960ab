package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

func snapshot(t *testing.T, dir string, head git.Hash) *git.Snapshot {
	t.Helper()
	snap, err := openRepository(t, dir, testworld.GitOptions(t)).Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func symlink(t *testing.T, dir, target, name string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestFSKeepsTheRules(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	symlink(t, dir, "../helm/values.yaml", "k8s/other/values.yaml")
	symlink(t, dir, "k8s/helm", "linked")
	if err := os.WriteFile(filepath.Join(dir, "run.sh"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	snap := snapshot(t, dir, testworld.Commit(t, dir, "links"))
	fsys := snap.FS(t.Context())
	if err := fstest.TestFS(fsys, "README.md", "k8s/helm/values.yaml", "k8s/other/values.yaml", "linked/values.yaml", "run.sh"); err != nil {
		t.Error(err)
	}
	info, err := fsys.Stat("run.sh")
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v %v", info, err)
	}
	for _, name := range []string{"k8s/helm", "README.md", "."} {
		want := testworld.Git(t, dir, "rev-parse", "HEAD:"+strings.TrimPrefix(name, "."))
		if got, err := snap.ID(t.Context(), name); err != nil || string(got) != want {
			t.Errorf("ID(%q) = %s %v, want %s", name, got, err, want)
		}
	}
	var names []string
	err = fs.WalkDir(fsys, "linked", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if want := []string{"linked/Chart.yaml", "linked/templates/a", "linked/values.yaml"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("walked %v %v, want %v", names, err, want)
	}
}

func TestLinksThatLeadAstray(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	symlink(t, dir, "/etc/passwd", "absolute")
	symlink(t, dir, "../../../etc/passwd", "k8s/escape")
	symlink(t, dir, "nowhere", "dangling")
	symlink(t, dir, "b", "a")
	symlink(t, dir, "a", "b")
	symlink(t, dir, "..", "k8s/up")
	symlink(t, dir, "README.md/..", "through-file")
	fsys := snapshot(t, dir, testworld.Commit(t, dir, "links")).FS(t.Context())
	for name, part := range map[string]string{
		"absolute": "out of the commit's tree", "k8s/escape": "out of the commit's tree", "dangling": "not exist",
		"a": "symbolic links", "k8s/up/k8s/up/README.md": "circle",
	} {
		_, err := fsys.ReadFile(name)
		wantError(t, err, name, part)
	}
	for _, name := range []string{"../x", "/etc/passwd", "k8s/../README.md", "k8s//helm", ""} {
		if _, err := fsys.ReadFile(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ReadFile(%q): %v is not fs.ErrInvalid", name, err)
		}
	}
	// A walk ends, and shows broken links as links.
	count := 0
	if err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if d.Name() == "absolute" && d.Type() != fs.ModeSymlink {
			t.Errorf("%s is shown as %v", name, d.Type())
		}
		if count++; count > 100 {
			t.Fatal("the walk does not end")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestSubmodule(t *testing.T) {
	t.Parallel()
	inner, _ := testworld.Checkout(t, chart)
	dir, _ := testworld.Checkout(t, map[string]string{"README.md": "x"})
	testworld.Git(t, dir, "submodule", "--quiet", "add", inner, "charts/inner")
	fsys := snapshot(t, dir, testworld.Commit(t, dir, "sub")).FS(t.Context())
	_, err := fsys.ReadFile("charts/inner/README.md")
	wantError(t, err, "charts/inner is a submodule")
	entries, err := fsys.ReadDir("charts")
	if err != nil || len(entries) != 1 || entries[0].Type() != fs.ModeIrregular {
		t.Errorf("%v %v", entries, err)
	}
}

// TestBadNames writes trees as no checkout would.
func TestBadNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"..", ".", ".git", ".GIT", "\xff\xfe", "a/b"} {
		dir, _ := testworld.Checkout(t, chart)
		blob := testworld.Git(t, dir, "rev-parse", "HEAD:README.md")
		raw, ids := []byte("100644 "+name+"\x00"), []byte{}
		for i := 0; i < len(blob); i += 2 {
			hi, lo := strings.IndexByte("0123456789abcdef", blob[i]), strings.IndexByte("0123456789abcdef", blob[i+1])
			ids = append(ids, byte(hi<<4|lo))
		}
		testworld.Write(t, dir, map[string]string{"raw": string(append(raw, ids...))})
		tree := testworld.Git(t, dir, "hash-object", "--literally", "-t", "tree", "-w", "raw")
		head := git.Hash(testworld.Git(t, dir, "commit-tree", "-m", "bad", tree))
		fsys := snapshot(t, dir, head).FS(t.Context())
		_, err := fsys.ReadDir(".")
		wantError(t, err, "no checkout may contain")
		if _, err := fsys.ReadFile(name); err == nil {
			t.Errorf("%q can be read", name)
		}
	}
}

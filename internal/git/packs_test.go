package git_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestPacks reads each object of two packs, and none that they lack. One has differences, and a table of larger offsets.
func TestPacks(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	text := strings.Repeat("A line that stays.\n", 500)
	for _, change := range []string{"one", "two", "three"} {
		testworld.Write(t, dir, map[string]string{"long.txt": text + change + "\n" + text})
		testworld.Commit(t, dir, change)
	}
	testworld.Git(t, dir, "repack", "-adq")
	packs, err := filepath.Glob(filepath.Join(dir, ".git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("%v, %v", packs, err)
	}
	if deltas := testworld.Git(t, dir, "verify-pack", "-v", packs[0]); !strings.Contains(deltas, "chain length = ") {
		t.Fatalf("no differences: %s", deltas)
	}
	index := strings.TrimSuffix(packs[0], ".pack") + ".idx"
	if err := os.Remove(index); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, dir, "index-pack", "--index-version=2,0x100", packs[0])
	testworld.Write(t, dir, map[string]string{"more.txt": "more\n"})
	testworld.Commit(t, dir, "more")
	testworld.Git(t, dir, "repack", "-dq")

	repo := openRepository(t, dir, testworld.GitOptions(t))
	for _, commit := range strings.Fields(testworld.Git(t, dir, "rev-list", "HEAD")) {
		snap, err := repo.Snapshot(t.Context(), git.Hash(commit))
		if err != nil {
			t.Fatal(err)
		}
		files := snap.FS(t.Context())
		err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := fs.ReadFile(files, name)
			if want := testworld.Git(t, dir, "cat-file", "-p", commit+":"+name); strings.TrimSpace(string(data)) != strings.TrimSpace(want) {
				t.Errorf("%s at %s is %.40q, want %.40q", name, commit, data, want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	absent := git.Hash(strings.Repeat("1", 40))
	_, err = repo.Commit(t.Context(), absent)
	wantError(t, err, string(absent), "no remote")

	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{nil, whole[:len(whole)/2], whole[8:], bytes.Replace(whole, whole[8:12], []byte{9, 9, 9, 9}, 1)} {
		if err := os.WriteFile(index+".new", damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(index+".new", index); err != nil {
			t.Fatal(err)
		}
		_, err := openRepository(t, dir, testworld.GitOptions(t)).Commit(t.Context(), absent)
		wantError(t, err, index, "repack -ad")
	}
}

// TestIndexWithoutPack reads from a repository that has an index whose pack is gone, as what a program that was stopped left, and the same
// objects in another pack.
func TestIndexWithoutPack(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	testworld.Git(t, dir, "repack", "-adq")
	packs, err := filepath.Glob(filepath.Join(dir, ".git", "objects", "pack", "*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatalf("%v, %v", packs, err)
	}
	index, err := os.ReadFile(strings.TrimSuffix(packs[0], ".pack") + ".idx")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(packs[0]), "pack-"+strings.Repeat("0", 40)+".idx"), index, 0o600); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, dir, "fsck", "--full")
	if _, err := openRepository(t, dir, testworld.GitOptions(t)).Commit(t.Context(), head); err != nil {
		t.Error(err)
	}
}

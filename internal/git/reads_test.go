package git_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestRecording looks names up in every way, and finds the same when it looks for them again.
func TestRecording(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, map[string]string{"a": "a", "folder/b": "b", "folder/deep/c": "c"})
	symlink(t, dir, "folder", "link")
	symlink(t, dir, "..", "out/of/tree")
	symlink(t, dir, "../../..", "out/outside")
	fsys := snapshot(t, dir, testworld.Commit(t, dir, "links")).FS(t.Context())
	id := func(rev string) git.Hash { return git.Hash(testworld.Git(t, dir, "rev-parse", "HEAD:"+rev)) }

	var reads git.Reads
	recording := fsys.Recording(&reads)
	_, _ = fs.ReadFile(recording, "a")
	_, _ = recording.Stat("link/b")
	_, _ = recording.Stat("folder")
	_, _ = recording.RealPath("link")
	_, _ = recording.Open("absent")
	_, _ = recording.Stat("a/below")
	_, _ = recording.ReadDir("folder")
	_, _ = recording.Stat("folder") // which does not take back that it was listed
	_, _ = recording.Stat("out/outside")
	_, _ = recording.Stat("../a")
	sub, err := recording.Sub("link/deep")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = sub.Open("c")
	_, _ = fsys.Stat("folder/deep") // by the file system that records nothing
	want := []git.Read{
		{Name: "a", Path: "a", ID: id("a")},
		{Name: "a/below"},
		{Name: "absent"},
		{Name: "folder", Path: "folder", Folder: true, ID: id("folder")},
		{Name: "folder/deep/c", Path: "folder/deep/c", ID: id("folder/deep/c")},
		{Name: "link", Path: "folder", Folder: true},
		{Name: "link/b", Path: "folder/b", ID: id("folder/b")},
		{Name: "link/deep", Path: "folder/deep", Folder: true},
	}
	if diff := cmp.Diff(want, reads.List()); diff != "" {
		t.Errorf("recorded, -want +got:\n%s", diff)
	}
	for _, r := range want {
		if found, err := fsys.Find(r.Name, r.Folder && r.ID != ""); err != nil || found != r {
			t.Errorf("found %+v, %v, want %+v", found, err, r)
		}
	}
	if found, err := fsys.Find("out/outside", false); err == nil {
		t.Errorf("found %+v outside of the tree", found)
	}
}

// What many callers ask for is read once: a commit, a folder, and a small file of a snapshot. It is there when the disk is not.
func TestKeptInMemory(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	remote := openRemote(t, testworld.Bare(t, dir), git.Options{})
	for _, gone := range []bool{false, true} {
		if gone {
			if err := os.RemoveAll(filepath.Join(remote.URL(), "objects")); err != nil {
				t.Fatal(err)
			}
		}
		commit, err := remote.Commit(t.Context(), head)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := remote.PathsIDs(t.Context(), []string{"k8s/helm", "k8s/helm/Chart.yaml", "README.md", "absent"}, commit)
		if err != nil || ids[0][0] == "" || ids[1][0] != git.BlobID([]byte(chart["k8s/helm/Chart.yaml"])) || ids[3][0] != "" {
			t.Fatalf("%v, %v", ids, err)
		}
		if items, ok, err := remote.Entries(t.Context(), ids[0][0]); err != nil || !ok || len(items) != 3 {
			t.Errorf("%v %v, %v", items, ok, err)
		}
	}
}

func TestFilesKeptInMemory(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	bare := testworld.Bare(t, dir)
	snapshot, err := openRemote(t, bare, git.Options{}).Snapshot(t.Context(), head)
	if err != nil {
		t.Fatal(err)
	}
	files := snapshot.FS(t.Context())
	data, err := files.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	data[0] = '-' // which is the caller's
	if err := os.RemoveAll(filepath.Join(bare, "objects")); err != nil {
		t.Fatal(err)
	}
	if data, err = files.ReadFile("README.md"); err != nil || string(data) != chart["README.md"] {
		t.Errorf("%q, %v", data, err)
	}
}

// A damaged object is named, unless a pack has it as well.
func TestDamagedLooseObject(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	damage := func() {
		file := filepath.Join(dir, ".git", "objects", string(head[:2]), string(head[2:]))
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.RemoveAll(file), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	_, err := openRepository(t, dir, git.Options{}).Commit(t.Context(), head)
	wantError(t, err, string(head), "damaged", "git fsck")
	dir, head = testworld.Checkout(t, chart)
	testworld.Git(t, dir, "repack", "-q", "-a", "-d")
	damage()
	if _, err := openRepository(t, dir, git.Options{}).Commit(t.Context(), head); err != nil {
		t.Error(err)
	}
}

package git_test

import (
	"io/fs"
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

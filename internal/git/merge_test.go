package git_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// A commit with a second parent, and what drafts and remotes return for the ids of folders.
func TestMergeAndFolders(t *testing.T) {
	t.Parallel()
	targets(t, map[string]string{"theirs": "theirs\n"}, func(t *testing.T, to target) {
		base := git.Hash(testworld.Git(t, to.bare, "rev-parse", "main"))
		d := draft(t, to.remote, "main")
		reviewed := replace(t, d, "ours", map[string][]byte{"a": []byte("a\n"), "folder/b": []byte("b\n")})
		if err := to.remote.Push(t.Context(), git.Update{Branch: "review", Draft: d}); !errors.Is(err, git.ErrStale) {
			t.Fatalf("a branch that is not where the draft began: %v", err)
		}
		testworld.Git(t, to.bare, "branch", "review", "main")
		if err := to.remote.Push(t.Context(), git.Update{Branch: "review", Draft: d}); err != nil {
			t.Fatal(err)
		}

		d = draft(t, to.remote, "main")
		if id, err := d.ID(t.Context(), "ours"); err != nil || id != "" {
			t.Errorf("what is not there has the id %q, %v", id, err)
		}
		if _, err := d.ID(t.Context(), "theirs"); !errors.Is(err, git.ErrOccupied) {
			t.Errorf("a file: %v", err)
		}
		if err := d.Replace(t.Context(), "ours", blobs(map[string][]byte{"a": []byte("a\n"), "folder/b": []byte("b\n")})); err != nil {
			t.Fatal(err)
		}
		n := newCommit("Merge")
		n.Merged = []git.Hash{reviewed}
		merge, err := d.Commit(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.remote.Push(t.Context(), git.Update{Branch: "main", Draft: d}); err != nil {
			t.Fatal(err)
		}
		if parents := testworld.Git(t, to.bare, "log", "-1", "--format=%P", "main"); parents != string(base)+" "+string(reviewed) {
			t.Errorf("parents %s", parents)
		}
		id, err := d.ID(t.Context(), "ours")
		if err != nil || string(id) != testworld.Git(t, to.bare, "rev-parse", string(merge)+":ours") {
			t.Errorf("id %s, %v", id, err)
		}
		items, ok, err := to.remote.Entries(t.Context(), id)
		if err != nil || !ok || len(items) != 2 || items[0].Path != "a" || items[1].Path != "folder" || items[1].Mode == git.ModeFile {
			t.Fatalf("entries %v, %t, %v", items, ok, err)
		}
		if again, err := git.TreeID(items); err != nil || again != id {
			t.Errorf("the entries have the id %s, the folder %s, %v", again, id, err)
		}
		if data, err := to.remote.File(t.Context(), items[0].ID); err != nil || string(data) != "a\n" {
			t.Errorf("file %q, %v", data, err)
		}
		if _, err := to.remote.File(t.Context(), id); err == nil {
			t.Error("a folder was read as a file")
		}
		if _, ok, err := to.remote.Entries(t.Context(), items[0].ID); ok || err != nil {
			t.Errorf("a file was read as a folder: %t, %v", ok, err)
		}
		testworld.Git(t, to.bare, "fsck", "--strict", "--no-dangling")

		empty, err := to.remote.Draft(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := empty.Replace(t.Context(), "ours", blobs(map[string][]byte{"a": []byte("a\n")})); err != nil {
			t.Fatal(err)
		}
		if _, err := empty.Commit(n); err != nil {
			t.Fatal(err)
		}
		if err := to.remote.Push(t.Context(), git.Update{Branch: "begun", Draft: empty}); err != nil {
			t.Fatal(err)
		}
		if parents := testworld.Git(t, to.bare, "log", "-1", "--format=%P", "begun"); parents != string(reviewed) {
			t.Errorf("a branch that begins with a merged commit has the parents %s", parents)
		}
	})
}

// A history goes along to a remote that does not have it: merges, folders and all.
func TestBring(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, map[string]string{"folder/deep/a": "1\n"})
	testworld.Git(t, dir, "checkout", "-q", "-b", "side")
	testworld.Write(t, dir, map[string]string{"b": "side\n"})
	testworld.Commit(t, dir, "side")
	testworld.Git(t, dir, "checkout", "-q", "-")
	testworld.Write(t, dir, map[string]string{"c": "main\n"})
	testworld.Commit(t, dir, "main")
	testworld.Git(t, dir, "merge", "-q", "--no-edit", "side")
	from := serve(t, dir, full...)
	head := git.Hash(testworld.Git(t, dir, "rev-parse", "HEAD"))
	for name, there := range map[string]*git.Remote{"over http": testworld.Remote(t, from.url()), "on this machine": testworld.Remote(t, dir)} {
		bare := testworld.Bare(t, "")
		to := testworld.Remote(t, testworld.GitServer(t, bare).URL)
		d, err := to.Draft(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Bring(t.Context(), there, head); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		n := newCommit("Carry over")
		n.Merged = []git.Hash{head}
		if err := d.Replace(t.Context(), "ours", blobs(map[string][]byte{"a": []byte("a\n")})); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Commit(n); err != nil {
			t.Fatal(err)
		}
		if err := to.Push(t.Context(), git.Update{Branch: "live", Draft: d}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		testworld.Git(t, bare, "fsck", "--strict", "--full")
		if got := testworld.Git(t, bare, "rev-list", "--count", "live"); got != "5" {
			t.Errorf("%s: %s commits", name, got)
		}
	}
}

// Generations come with all their trees, in one round trip.
func TestFetchTreesOfGenerations(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, map[string]string{"folder/a": "1\n"})
	for _, content := range []string{"2\n", "3\n", "4\n"} {
		testworld.Git(t, dir, "rm", "-q", "-r", "folder")
		testworld.Write(t, dir, map[string]string{"folder/a": content})
		testworld.Git(t, dir, "add", "-A")
		testworld.Git(t, dir, "commit", "-q", "-m", content)
	}
	s := serve(t, dir, full...)
	r := testworld.Remote(t, s.url())
	tip, _, err := r.Tip(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := r.Stats().RoundTrips
	if err := r.FetchTrees(t.Context(), 3, tip); err != nil {
		t.Fatal(err)
	}
	if got := r.Stats().RoundTrips - before; got != 1 {
		t.Errorf("%d round trips", got)
	}
	var commits []git.Commit
	if err := r.Log(t.Context(), tip, func(c git.Commit) (bool, error) {
		commits = append(commits, c)
		return len(commits) < 3, nil
	}); err != nil {
		t.Fatal(err)
	}
	ids, err := r.PathIDs(t.Context(), "folder", commits...)
	if err != nil || len(slices.Compact(ids)) != 3 {
		t.Errorf("ids %v, %v", ids, err)
	}
	if got := r.Stats().RoundTrips - before; got != 1 {
		t.Errorf("%d round trips in all", got)
	}
}

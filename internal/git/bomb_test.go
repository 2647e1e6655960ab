package git_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// Forty folders, each with the next one in it twice, are four objects a level and have a trillion paths, without one file
// among them. Anybody who can push to a branch can put them there.
func TestItemsOfTreeBomb(t *testing.T) {
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		name := filepath.Join(t.TempDir(), "tree")
		tree := func(content string) string {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return testworld.Git(t, to.bare, "hash-object", "-t", "tree", "-w", name)
		}
		id := tree("")
		for range 40 {
			raw := string(unhex(t, id))
			id = tree("40000 a\x00" + raw + "40000 b\x00" + raw)
		}
		testworld.Git(t, to.bare, "update-ref", "refs/heads/bomb", testworld.Git(t, to.bare, "commit-tree", "-m", "bomb", id))
		tips, err := to.remote.Tips(t.Context(), "bomb")
		if err != nil {
			t.Fatal(err)
		}
		d, err := to.remote.Draft(t.Context(), tips["bomb"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Items(t.Context(), "a"); err == nil {
			t.Error("all of it was read")
		}
	})
}

func unhex(t *testing.T, id string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

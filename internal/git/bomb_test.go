package git_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
)

// Forty folders, each with the next one in it twice, are four objects a level and have a trillion paths, without one file
// among them. Anybody who can push to a branch can put them there.
func TestItemsOfTreeBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("a large tree")
	}
	t.Parallel()
	targets(t, chart, func(t *testing.T, to target) {
		dir, files := t.TempDir(), []string{"hash-object", "-t", "tree", "-w"}
		raw, id := "", ""
		for level := range 41 {
			name := filepath.Join(dir, strconv.Itoa(level))
			if err := os.WriteFile(name, []byte(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			files = append(files, name)
			hash := sha1.Sum(fmt.Appendf(nil, "tree %d\x00%s", len(raw), raw))
			id = hex.EncodeToString(hash[:])
			raw = "40000 a\x00" + string(hash[:]) + "40000 b\x00" + string(hash[:])
		}
		testworld.Git(t, to.bare, files...)
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

package git_test

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// Git reads what is packed for it, at each length of the size in an object's header.
func TestPackedSizes(t *testing.T) {
	t.Parallel()
	targets(t, nil, func(t *testing.T, to target) {
		files := map[string][]byte{}
		for _, size := range []int{0, 1, 15, 16, 17, 2047, 2048, 2049, 262143, 262144, 1 << 20} {
			files[strconv.Itoa(size)] = bytes.Repeat([]byte{'x'}, size)
		}
		d, err := to.remote.Draft(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		h := replace(t, d, "a", files)
		if err := to.remote.Push(t.Context(), git.Update{Branch: "sizes", Draft: d}); err != nil {
			t.Fatal(err)
		}
		testworld.Git(t, to.bare, "fsck", "--strict", "--no-dangling")
		for name := range files {
			if got := testworld.Git(t, to.bare, "cat-file", "-s", fmt.Sprintf("%s:a/%s", h, name)); got != name {
				t.Errorf("%s bytes instead of %s", got, name)
			}
		}
	})
}

package git_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// Files that differ are fetched at once, however many there are.
func TestDifferingInOneRequest(t *testing.T) {
	t.Parallel()
	sub := strings.Repeat("a", 40)
	file := func(mode, name, content string) string {
		return fmt.Sprintf("M %s inline %s\ndata %d\n%s\n", mode, name, len(content), content)
	}
	commit := func(n int, changes ...string) string {
		return fmt.Sprintf("commit refs/heads/main\ncommitter C <c@example.com> %d +0000\ndata 1\nc\n%s\n", 1700000000+n, strings.Join(changes, ""))
	}
	var was, is []string
	var want []string
	for i := range 60 {
		name := fmt.Sprintf("many/%02d.yaml", i)
		was, is, want = append(was, file("100644", name, fmt.Sprint(i))), append(is, file("100644", name, fmt.Sprint(-i-1))), append(want, name)
	}
	was = append(was, file("100644", "gone/a.yaml", "a"), file("100644", "gone/a.txt", "a"), file("100644", "same/a.yaml", "a"), file("100755", "link.yaml", "gone"),
		file("120000", "former.yaml", "gone/a.yaml"), file("100644", "\"caf\\351/a.yaml\"", "a"), "M 160000 "+sub+" sub.yaml\n", file("120000", "folder", "many"))
	is = append(is, "D gone\n", "D \"caf\\351\"\n", "D sub.yaml\n", "D former.yaml\n", "D folder\n", file("120000", "link.yaml", "gone"))
	want = append([]string{"gone/a.yaml", "link.yaml"}, want...)

	dir := t.TempDir()
	testworld.Git(t, dir, "init", "-q")
	importStream(t, dir, commit(0, was...)+commit(1, is...))
	r := testworld.Remote(t, serve(t, dir, full...).url())
	var files []*git.FS
	for _, rev := range []string{"main", "main~1"} {
		s, err := r.Snapshot(t.Context(), git.Hash(testworld.Git(t, dir, "rev-parse", rev)))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, s.FS(t.Context()))
		for _, name := range []string{"many", "same"} {
			if _, err := files[len(files)-1].ReadDir(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	yaml := func(name string) bool { return path.Ext(name) == ".yaml" }
	before := r.Stats().RoundTrips
	got, err := files[1].Differing(files[0], yaml)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
	for _, name := range got {
		if _, err := files[1].ReadFile(name); err != nil {
			t.Error(err)
		}
	}
	if trips := r.Stats().RoundTrips - before; trips > 3 { // the folders gone and that of no UTF-8, and the files
		t.Errorf("%d round trips", trips)
	}
}

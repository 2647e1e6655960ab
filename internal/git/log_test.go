package git_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// A long history is fetched in two parts, and folders of many commits a level at a time.
func TestLogAndPathsInFewRequests(t *testing.T) {
	t.Parallel()
	const commits = 900
	var stream strings.Builder
	for i := range commits {
		content := fmt.Sprintf("replicas: %d\n", i/300)
		readme := fmt.Sprintf("%d\n", i)
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter C <c@example.com> %d +0000\ndata 1\nc\n"+
			"M 100644 inline k8s/helm/values.yaml\ndata %d\n%sM 100644 inline README.md\ndata %d\n%s\n", 1700000000+i, len(content), content, len(readme), readme)
	}
	dir := t.TempDir()
	testworld.Git(t, dir, "init", "-q")
	importStream(t, dir, stream.String())
	s := serve(t, dir, full...)
	r := testworld.Remote(t, s.url())
	tip, _, err := r.Tip(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var seen []git.Commit
	if err := r.Log(t.Context(), tip, func(c git.Commit) (bool, error) {
		seen = append(seen, c)
		return true, nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != commits {
		t.Errorf("%d commits seen", len(seen))
	}
	before := r.Stats()
	if before.RoundTrips > 4 { // discovery, references, two packs
		t.Errorf("%d round trips for the log", before.RoundTrips)
	}

	some := []git.Commit{seen[0], seen[299], seen[300], seen[899]}
	for path, want := range map[string][]string{
		"k8s/helm":       {"a", "a", "b", "c"},
		"k8s/helm/":      {"a", "a", "b", "c"},
		"README.md":      {"a", "b", "c", "d"},
		".":              {"a", "b", "c", "d"},
		"README.md/deep": {"", "", "", ""},
		"nowhere":        {"", "", "", ""},
	} {
		ids, err := r.PathIDs(t.Context(), path, some...)
		if err != nil {
			t.Fatal(err)
		}
		names := map[git.Hash]string{"": ""}
		var got []string
		for i, id := range ids {
			if _, known := names[id]; !known {
				names[id] = string(rune('a' + len(names) - 1))
			}
			got = append(got, names[id])
			if id != "" && string(id) != testworld.Git(t, dir, "rev-parse", string(some[i].Hash)+":"+strings.Trim(strings.TrimPrefix(path, "."), "/")) {
				t.Errorf("%s at %s is %s", path, some[i].Hash, id)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if trips := r.Stats().RoundTrips - before.RoundTrips; trips > 3 { // roots, k8s, and the README, which was to be a folder
		t.Errorf("%d round trips for paths", trips)
	}
}

package workspace_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/testworld"
)

func lockFile(n int, created string) string {
	l := testworld.Lock(testworld.CommitID(n))
	l.CreatedAt = created
	return string(lock.Format(l))
}

func releases(t *testing.T, w *workspace.Workspace, atMost int) []int {
	t.Helper()
	p, err := w.Policy(t.Context(), "", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	files, err := p.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for id, err := range p.Releases(t.Context(), files, "locks") {
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(id, "git-%x", &n); err != nil {
			t.Fatal(err)
		}
		if found = append(found, n); len(found) == atMost {
			break
		}
	}
	return found
}

// TestReleasesAreOrderedByWhatWasCurrent: a release that never was current is not among them, one that came back stands where
// it came back, and a broken file in between is passed over.
func TestReleasesAreOrderedByWhatWasCurrent(t *testing.T) {
	t.Parallel()
	created := "2026-03-22T12:34:56Z" // the same for all: it is not asked for
	dir := repository(t, map[string]string{"README.md": "no lock yet"})
	for _, n := range []int{1, 2, 3, 2} {
		testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(n) + ".yaml": lockFile(n, created), "locks/current.yaml": lockFile(n, created)})
		commit(t, dir)
		commit(t, dir) // of other things
	}
	testworld.Write(t, dir, map[string]string{"locks/current.yaml": "broken"})
	commit(t, dir)
	testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(9) + ".yaml": lockFile(9, created), "locks/current.yaml": lockFile(5, created)})
	commit(t, dir)
	for name, args := range map[string][]string{"whole": nil, "shallow": {"--depth", "1"}} {
		w := open(t, testworld.Clone(t, "file://"+testworld.Bare(t, dir), args...))
		if got := releases(t, w, 0); !slices.Equal(got, []int{5, 2, 3, 1}) {
			t.Errorf("%s: releases %v", name, got)
		}
		if got := releases(t, w, 2); !slices.Equal(got, []int{5, 2}) {
			t.Errorf("%s: the newest two are %v", name, got)
		}
	}
}

// TestReleasesWithoutRemote are ordered by what the locks say; one that does not say counts as new.
func TestReleasesWithoutRemote(t *testing.T) {
	t.Parallel()
	files := map[string]string{"locks/current.yaml": lockFile(2, "2026-01-02T00:00:00Z")}
	for n, created := range map[int]string{1: "2026-01-01T00:00:00Z", 2: "2026-01-02T00:00:00Z", 3: "2026-01-03T00:00:00+09:00", 4: ""} {
		files["locks/"+testworld.Release(n)+".yaml"] = lockFile(n, created)
	}
	w := open(t, repository(t, files))
	if got := releases(t, w, 0); !slices.Equal(got, []int{2, 4, 3, 1}) {
		t.Errorf("releases %v", got)
	}
}

// Changes are the commits of the first-parent line, each with the one before it.
func TestChanges(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"a.yaml": "1"})
	commits := []string{testworld.Git(t, dir, "rev-parse", "HEAD")}
	for _, files := range []map[string]string{{"a.yaml": "2"}, {"other": "1"}, {"b.yaml": "1"}} {
		testworld.Write(t, dir, files)
		commit(t, dir)
		commits = append(commits, testworld.Git(t, dir, "rev-parse", "HEAD"))
	}
	for name, w := range map[string]*workspace.Workspace{
		"a clone":          open(t, testworld.Clone(t, "file://"+testworld.Bare(t, dir), "--depth", "1")),
		"without a remote": open(t, dir),
	} {
		p, err := w.Policy(t.Context(), "", func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		var got []workspace.Change
		for c, err := range p.Changes(t.Context(), "a.yaml", "b.yaml") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c)
		}
		if want := []workspace.Change{{commits[3], commits[2]}, {commits[1], commits[0]}}; !slices.Equal(got, want) {
			t.Errorf("%s: changes %v, want %v", name, got, want)
		}
	}
}

// TestLogIsReadOnce: what became of the files of many pipelines is read with as many requests as for one.
func TestLogIsReadOnce(t *testing.T) {
	t.Parallel()
	const pipelines = 20
	files := map[string]string{}
	var names []string
	for i := range pipelines {
		files[fmt.Sprintf("locks/p%d/current.yaml", i)] = lockFile(1, "2026-03-22T12:34:56Z")
		names = append(names, fmt.Sprintf("p%d/lockage.yaml", i))
		files[names[i]] = "1"
	}
	dir := repository(t, files)
	for n := range 5 {
		for i, name := range names {
			testworld.Write(t, dir, map[string]string{fmt.Sprintf("locks/p%d/current.yaml", i): lockFile(100*i+n+2, "2026-03-22T12:34:56Z"), name: strings.Repeat("2", 100*i+n+2)})
		}
		commit(t, dir)
	}
	trips := func(pipelines int) int {
		server := testworld.GitServer(t, testworld.Bare(t, dir))
		w := open(t, testworld.Clone(t, server.URL, "--depth", "1"))
		p, err := w.Policy(t.Context(), "", func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		at, err := p.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		server.Forget()
		var expected []*pipeline.Pipeline
		for i := range pipelines {
			expected = append(expected, &pipeline.Pipeline{File: names[i], Lock: fmt.Sprintf("locks/p%d", i)})
		}
		p.Expect(expected)
		for i, one := range expected {
			releases, changes := 0, 0
			for _, err := range p.Releases(t.Context(), at, one.Lock) {
				if err != nil {
					t.Fatal(err)
				}
				releases++
			}
			for _, err := range p.Changes(t.Context(), one.File) {
				if err != nil {
					t.Fatal(err)
				}
				changes++
			}
			if releases != 6 || changes != 5 {
				t.Errorf("pipeline %d: %d releases, %d changes", i, releases, changes)
			}
		}
		return len(server.Requests(""))
	}
	if one, all := trips(4), trips(pipelines); all > one {
		t.Errorf("%d requests for 4 pipelines, %d for %d", one, all, pipelines)
	}
}

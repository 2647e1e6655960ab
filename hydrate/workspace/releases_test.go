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
	p := policyOf(t, w)
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

// TestReleasesAreOrderedByFirstAppearance: a release that never was current is not among them, one that came back is no newer, one that
// was recorded before it was current is as new as it is current, and a broken file in between is passed over.
func TestReleasesAreOrderedByFirstAppearance(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"README.md": "no lock yet", "locks/" + testworld.Release(5) + ".yaml": lockFile(5, "")})
	day := 0
	for _, n := range []int{1, 2, 3, 2} {
		day++
		created := fmt.Sprintf("2026-03-%02dT12:34:56Z", day) // it is not asked for
		testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(n) + ".yaml": lockFile(n, created), "locks/current.yaml": lockFile(n, created)})
		commit(t, dir)
		commit(t, dir) // of other things
	}
	testworld.Write(t, dir, map[string]string{"locks/current.yaml": "broken", "locks/" + testworld.Release(8) + ".yaml": lockFile(8, "")})
	commit(t, dir)
	testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(9) + ".yaml": lockFile(9, ""), "locks/current.yaml": lockFile(5, "")})
	commit(t, dir)
	for name, w := range map[string]*workspace.Workspace{
		"whole":            open(t, testworld.Clone(t, "file://"+testworld.Bare(t, dir))),
		"shallow":          open(t, testworld.Clone(t, "file://"+testworld.Bare(t, dir), "--depth", "1")),
		"without a remote": open(t, dir),
	} {
		if got := releases(t, w, 0); !slices.Equal(got, []int{5, 3, 2, 1}) {
			t.Errorf("%s: releases %v", name, got)
		}
		if got := releases(t, w, 2); !slices.Equal(got, []int{5, 3}) {
			t.Errorf("%s: the newest two are %v", name, got)
		}
		p := policyOf(t, w)
		for n, want := range map[int][]int{1: {5, 3, 2}, 5: nil, 8: {5}, 9: {5}} {
			since, err := p.Since(t.Context(), "locks", testworld.Release(n))
			var ids []string
			for _, n := range want {
				ids = append(ids, testworld.Release(n))
			}
			if err != nil || !slices.Equal(since, ids) {
				t.Errorf("%s: since %d: %v, %v", name, n, since, err)
			}
		}
		if _, err := p.Since(t.Context(), "locks", testworld.Release(7)); err == nil {
			t.Errorf("%s: something came after a release that is not known", name)
		}
		for n, want := range map[int]string{2: testworld.Release(5), 5: "", 9: "", 7: ""} {
			if newer, err := p.Newer(t.Context(), "locks", testworld.Release(n)); err != nil || newer != want {
				t.Errorf("%s: newer than %d is %q, %v", name, n, newer, err)
			}
		}
	}
}

func policyOf(t *testing.T, w *workspace.Workspace) *workspace.Policy {
	t.Helper()
	p, err := w.Policy(t.Context(), "", func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Changes are the commits of the first-parent line, each with the one before it, and after those of the branch that it merged.
func TestChanges(t *testing.T) {
	t.Parallel()
	dir := repository(t, map[string]string{"a.yaml": "1"})
	commits := []string{testworld.Git(t, dir, "rev-parse", "HEAD")}
	for i, files := range []map[string]string{{"a.yaml": "2"}, {"other": "1"}, {"b.yaml": "1"}, {"b.yaml": "2"}, {"b.yaml": "3"}} {
		if i == 3 {
			testworld.Git(t, dir, "switch", "-q", "-c", "branch")
		}
		testworld.Write(t, dir, files)
		commit(t, dir)
		commits = append(commits, testworld.Git(t, dir, "rev-parse", "HEAD"))
	}
	testworld.Git(t, dir, "switch", "-q", "-")
	testworld.Git(t, dir, "merge", "-q", "--no-ff", "-m", "merge", "branch")
	merge := testworld.Git(t, dir, "rev-parse", "HEAD")
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
		if want := []workspace.Change{{commits[5], commits[4], true}, {Commit: merge, Before: commits[3]}, {Commit: commits[3], Before: commits[2]}, {Commit: commits[1], Before: commits[0]}}; !slices.Equal(got, want) {
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

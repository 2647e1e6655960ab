package workspace_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/testworld"
)

// lockOf writes a release and makes it current.
func lockOf(t *testing.T, dir string, n int) {
	t.Helper()
	testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(n) + ".yaml": lockFile(n, ""), "locks/current.yaml": lockFile(n, "")})
	commit(t, dir)
}

// TestReleasesOfMergedBranches: what was current on a merged branch only counts where it was merged, as long as the merge has its file.
func TestReleasesOfMergedBranches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history func(t *testing.T, dir string, git func(...string))
		want    []int
	}{
		// A job commits a lock while others push theirs, and pulls with a merge before it pushes.
		"a pull that takes theirs": {func(t *testing.T, dir string, git func(...string)) {
			git("checkout", "-q", "-b", "job")
			lockOf(t, dir, 2)
			git("checkout", "-q", "main")
			lockOf(t, dir, 3)
			lockOf(t, dir, 4)
			git("checkout", "-q", "job")
			git("merge", "-q", "-X", "theirs", "main")
		}, []int{4, 3, 2, 1}},
		"a pull that keeps ours": {func(t *testing.T, dir string, git func(...string)) {
			git("checkout", "-q", "-b", "job")
			lockOf(t, dir, 2)
			git("checkout", "-q", "main")
			lockOf(t, dir, 3)
			git("checkout", "-q", "job")
			git("merge", "-q", "-X", "ours", "main")
			lockOf(t, dir, 5)
		}, []int{5, 3, 2, 1}},
		"pulls again and again": {func(t *testing.T, dir string, git func(...string)) {
			for n := 2; n < 6; n += 2 {
				git("checkout", "-q", "-b", fmt.Sprintf("job%d", n))
				lockOf(t, dir, n)
				git("checkout", "-q", "main")
				lockOf(t, dir, n+1)
				git("checkout", "-q", fmt.Sprintf("job%d", n))
				git("merge", "-q", "-X", "theirs", "main")
				git("branch", "-q", "-f", "main")
				git("checkout", "-q", "main")
			}
		}, []int{5, 4, 3, 2, 1}},
		"a branch that lived long": {func(t *testing.T, dir string, git func(...string)) {
			git("checkout", "-q", "-b", "branch")
			lockOf(t, dir, 2)
			lockOf(t, dir, 3)
			git("checkout", "-q", "main")
			for range 5 {
				commit(t, dir)
			}
			lockOf(t, dir, 4)
			git("merge", "-q", "-X", "theirs", "branch")
			lockOf(t, dir, 2)
		}, []int{3, 2, 4, 1}},
		"several at once": {func(t *testing.T, dir string, git func(...string)) {
			for n := 2; n < 4; n++ {
				git("checkout", "-q", "-b", fmt.Sprintf("b%d", n), "main")
				lockOf(t, dir, n)
				git("revert", "--no-edit", "HEAD")
				testworld.Write(t, dir, map[string]string{"locks/" + testworld.Release(n) + ".yaml": lockFile(n, "")})
				commit(t, dir)
			}
			git("checkout", "-q", "main")
			commit(t, dir)
			git("merge", "-q", "b2", "b3")
		}, []int{3, 2, 1}},
		"one without its file": {func(t *testing.T, dir string, git func(...string)) {
			git("checkout", "-q", "-b", "branch")
			lockOf(t, dir, 2)
			git("revert", "--no-edit", "HEAD")
			lockOf(t, dir, 3)
			git("checkout", "-q", "main")
			git("merge", "-q", "--no-ff", "branch")
		}, []int{3, 1}},
		"one that the merge leaves out": {func(t *testing.T, dir string, git func(...string)) {
			git("checkout", "-q", "-b", "branch")
			lockOf(t, dir, 2)
			git("checkout", "-q", "main")
			lockOf(t, dir, 3)
			git("merge", "-q", "-s", "ours", "branch")
			lockOf(t, dir, 2)
		}, []int{2, 3, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t, map[string]string{"README.md": ""})
			lockOf(t, dir, 1)
			test.history(t, dir, func(args ...string) { testworld.Git(t, dir, args...) })
			testworld.Git(t, dir, "checkout", "-q", "-B", "main")
			for name, w := range map[string]*workspace.Workspace{
				"a shallow clone":  open(t, testworld.Clone(t, "file://"+testworld.Bare(t, dir), "--depth", "1")),
				"without a remote": open(t, dir),
			} {
				if got := releases(t, w, 0); !slices.Equal(got, test.want) {
					t.Errorf("%s: releases %v, want %v", name, got, test.want)
				}
			}
		})
	}
}

// TestReleasesOfRandomHistories compares the order with a plain walk: the first parent, then each other one, then the commit.
func TestReleasesOfRandomHistories(t *testing.T) {
	t.Parallel()
	const histories, size = 25, 16
	random := rand.New(rand.NewPCG(1, 2))
	var stream strings.Builder
	var want [histories][]int
	for h := range histories {
		want[h] = randomHistory(&stream, random, fmt.Sprintf("h%d", h), h*size, size)
	}
	dir := filepath.Join(t.TempDir(), "gitops")
	testworld.Git(t, t.TempDir(), "init", "-q", dir)
	command := exec.Command("git", "fast-import", "--quiet")
	command.Dir, command.Stdin = dir, strings.NewReader(stream.String())
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for h := range histories {
		testworld.Git(t, dir, "symbolic-ref", "HEAD", fmt.Sprintf("refs/heads/h%d", h))
		if got := releases(t, open(t, dir), 0); !slices.Equal(got, want[h]) {
			t.Errorf("history %d: %v, want %v", h, got, want[h])
		}
	}
}

// randomHistory writes a history for git fast-import and returns its releases, the newest first. Each commit locks a release of its own, or one
// that its parents have.
func randomHistory(stream *strings.Builder, random *rand.Rand, branch string, first, size int) (newest []int) {
	parents, current, locked := make([][]int, size), make([]int, size), make([]map[int]bool, size)
	for c := range size {
		locked[c] = map[int]bool{}
		if c > 0 {
			for range 1 + random.IntN(3)/2 + random.IntN(4)/3 {
				// Each is merged at some time, most soon.
				if p := max(c-1-random.IntN(4), 0); !slices.Contains(parents[c], p) {
					parents[c] = append(parents[c], p)
					maps.Copy(locked[c], locked[p])
				}
			}
		}
		known := slices.Sorted(maps.Keys(locked[c]))
		if current[c] = c + 1; len(known) > 0 && random.IntN(3) == 0 {
			current[c] = known[random.IntN(len(known))]
		}
		locked[c][current[c]] = true
		locked[c][size+c+1] = true // something differs in each
		fmt.Fprintf(stream, "commit refs/heads/%s\nmark :%d\ncommitter C <c@example.com> %d +0000\ndata 1\nc\n", branch, first+c+1, 1700000000+random.IntN(1000))
		for i, p := range parents[c] {
			fmt.Fprintf(stream, "%s :%d\n", []string{"from", "merge"}[min(i, 1)], first+p+1)
		}
		stream.WriteString("deleteall\n")
		for n := range locked[c] {
			fmt.Fprintf(stream, "M 100644 inline locks/%s.yaml\ndata %d\n%s\n", testworld.Release(n), len(lockFile(n, "")), lockFile(n, ""))
		}
		fmt.Fprintf(stream, "M 100644 inline locks/current.yaml\ndata %d\n%s\n", len(lockFile(current[c], "")), lockFile(current[c], ""))
	}
	seen := map[int]bool{}
	var walk func(c int)
	walk = func(c int) {
		if seen[c] {
			return
		}
		seen[c] = true
		for _, p := range parents[c] {
			walk(p)
		}
		if !slices.Contains(newest, current[c]) {
			newest = append([]int{current[c]}, newest...)
		}
	}
	walk(size - 1)
	return newest
}

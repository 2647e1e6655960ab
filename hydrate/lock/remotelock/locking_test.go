package remotelock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// change commits a change of a file.
func change(t *testing.T, dir, name string) git.Hash {
	t.Helper()
	before, _ := os.ReadFile(filepath.Join(dir, name)) // an absent file counts as an empty one
	testworld.Write(t, dir, map[string]string{name: string(before) + "."})
	return testworld.Commit(t, dir, "change of "+name)
}

// ancestry answers as the function does.
type ancestry func(ancestor, descendant string) bool

func (a ancestry) IsAncestor(_ context.Context, ancestor, descendant string) (bool, error) {
	return a(ancestor, descendant), nil
}

// byNumber takes the commits for a line, in the order of their ids.
func byNumber(ancestor, descendant string) bool { return ancestor <= descendant }

func entry(n int) remotelock.Entry {
	return remotelock.Entry{
		Lock: testworld.Lock(testworld.CommitID(n)),
		Dir:  "locks/web", Pipeline: "web", Time: time.Unix(1_800_000_000, 0), Ancestry: ancestry(byNumber),
	}
}

func now(context.Context, int) error { return nil }

// Jobs of many commits push at once: every release is recorded in one commit, and the newest is current.
func TestRecordConcurrently(t *testing.T) {
	t.Parallel()
	gitops, _ := testworld.Checkout(t, nil)
	testworld.Git(t, gitops, "config", "receive.denyCurrentBranch", "ignore")
	const jobs = 6
	var group sync.WaitGroup
	for n := range jobs {
		branch := remotelock.Branch{Remote: testworld.Remote(t, gitops), Name: "main", Wait: now}
		group.Go(func() {
			for range 2 { // again, as a job that is repeated
				if _, err := branch.Record(t.Context(), entry(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := strings.Count(testworld.Git(t, gitops, "log", "--format=%s", "main"), "Lock git-"); got != jobs {
		t.Errorf("%d commits for %d releases", got, jobs)
	}
	files := strings.Fields(testworld.Git(t, gitops, "ls-tree", "--name-only", "main:locks/web"))
	if len(files) != jobs+1 {
		t.Errorf("lock directory: %q", files)
	}
	newest := fmt.Sprintf("main:locks/web/git-%040x.yaml", jobs-1)
	if testworld.Git(t, gitops, "show", "main:locks/web/current.yaml") != testworld.Git(t, gitops, "show", newest) {
		t.Error("current.yaml is not the newest release")
	}
}

// Where somebody else is faster each time, it ends, and says so.
func TestRecordGivesUp(t *testing.T) {
	t.Parallel()
	gitops, _ := testworld.Checkout(t, nil)
	branch := remotelock.Branch{Remote: testworld.Remote(t, gitops), Name: "main", Wait: now}
	if _, err := branch.Record(t.Context(), entry(1)); err == nil || !strings.Contains(err.Error(), "denyCurrentBranch") {
		t.Fatalf("a refused push: %v", err)
	}
	testworld.Git(t, gitops, "config", "receive.denyCurrentBranch", "ignore")
	if _, err := branch.Record(t.Context(), entry(1)); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, gitops, "reset", "-q", "--hard")
	attempts := 0
	late := entry(2)
	late.Ancestry = ancestry(func(string, string) bool {
		attempts++
		change(t, gitops, "README.md")
		return false
	})
	_, err := branch.Record(t.Context(), late)
	if !errors.Is(err, git.ErrStale) || !strings.Contains(err.Error(), "25 attempts") || attempts != 25 {
		t.Errorf("after %d attempts: %v", attempts, err)
	}

	stop := errors.New("stop")
	branch.Wait = func(context.Context, int) error { return stop }
	if _, err := branch.Record(t.Context(), late); !errors.Is(err, stop) {
		t.Errorf("does not stop: %v", err)
	}
	branch.Name = "nosuch"
	if _, err := branch.Record(t.Context(), entry(3)); !errors.Is(err, git.ErrNotFound) {
		t.Errorf("no such branch: %v", err)
	}
}

// repository is an image repository with these tags.
type repository []string

func (repository) Name() string { return "ghcr.io/acme/web" }

func (r repository) Tags(_ context.Context, prefix string) ([]string, error) {
	return slices.DeleteFunc(slices.Clone(r), func(tag string) bool { return !strings.HasPrefix(tag, prefix) }), nil
}

func TestNewest(t *testing.T) {
	t.Parallel()
	source, first := testworld.Checkout(t, map[string]string{"chart/a": "."})
	chart := change(t, source, "chart/a")
	docs := change(t, source, "docs/a")
	for range 120 { // more than are judged at a time
		testworld.Commit(t, source, "empty")
	}
	app := change(t, source, "app/a")
	both := git.Hash(testworld.Git(t, source, "rev-parse", "HEAD"))
	testworld.Git(t, source, "checkout", "-q", "-b", "side", string(docs))
	side := change(t, source, "chart/b")
	testworld.Git(t, source, "checkout", "-q", "main")
	testworld.Git(t, source, "merge", "-q", "--no-ff", "-m", "merge", "side")
	merge := git.Hash(testworld.Git(t, source, "rev-parse", "HEAD"))
	testworld.Commit(t, source, "empty")

	remote := testworld.Remote(t, source)
	all := func(pattern string, commits ...git.Hash) (tags repository) {
		for _, c := range commits {
			tags = append(tags, strings.ReplaceAll(pattern, "{commit}", string(c)))
		}
		return append(tags, "latest", "git-main")
	}
	for name, test := range map[string]struct {
		images  repository
		pattern string
		branch  string
		paths   []string
		want    git.Hash
		err     string
	}{
		"the newest":            {all("git-{commit}", first, chart, app), "git-{commit}", "", nil, app, ""},
		"bare ids":              {all("{commit}", first, chart), "{commit}", "", nil, chart, ""},
		"prefix and suffix":     {all("v-{commit}-arm", first), "v-{commit}-arm", "", nil, first, ""},
		"other suffix":          {all("v-{commit}-arm", first), "v-{commit}", "", nil, "", "all 126 commits of branch main"},
		"a side branch's image": {all("git-{commit}", side, chart), "git-{commit}", "main", nil, chart, ""},
		"on the side branch":    {all("git-{commit}", side, chart), "git-{commit}", "side", nil, side, ""},
		"a path":                {all("git-{commit}", first, chart, docs, app), "git-{commit}", "", []string{"chart"}, chart, ""},
		"a file":                {all("git-{commit}", first, chart, docs, app), "git-{commit}", "", []string{"docs/a"}, docs, ""},
		"any of two paths":      {all("git-{commit}", first, chart, docs, both), "git-{commit}", "", []string{"chart", "docs"}, docs, ""},
		"a merge brings a path": {all("git-{commit}", merge, app), "git-{commit}", "", []string{"chart"}, merge, ""},
		"the first commit":      {all("git-{commit}", first), "git-{commit}", "", []string{"chart"}, first, ""},
		"touched, no image":     {all("git-{commit}", app), "git-{commit}", "", []string{"chart"}, "", "touches chart (1 have a tag)"},
		"no image":              {all("git-{commit}"), "git-{commit}", "", nil, "", "none has a tag git-{commit} in ghcr.io/acme/web"},
		"no tag at all":         {nil, "git-{commit}", "", nil, "", `no tag that begins with "git-"`},
		"no such branch":        {all("git-{commit}", app), "git-{commit}", "nosuch", nil, "", `has no branch "nosuch"`},
		"a path above":          {all("git-{commit}", app), "git-{commit}", "", []string{"../x"}, "", "relative to the source repository's root"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pattern, err := remotelock.ParsePattern(test.pattern)
			if err != nil {
				t.Fatal(err)
			}
			got, err := remotelock.Search{Source: remote, Branch: test.branch, Paths: test.paths, Images: test.images, Tag: pattern}.Newest(t.Context())
			if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %q %v, want %q", got, err, test.want)
			}
		})
	}
}

func TestNewestVersion(t *testing.T) {
	t.Parallel()
	images := repository{"latest", "v1.9.0", "1.10.0", "1.11.0-rc.1", "v2.0.0", "20261130", "1.99", "v2.0.0-rc.2", "vv3.0.0", "2.0.0"}
	for within, want := range map[string]string{
		">=1.2 <2": "1.10.0", ">=1.2.0-0 <2.0.0-0": "1.11.0-rc.1", "*": "v2.0.0", "^1": "1.10.0", "1.9.x": "v1.9.0", ">2": "",
	} {
		constraint, err := semver.NewConstraint(within)
		if err != nil {
			t.Fatal(err)
		}
		got, err := remotelock.NewestVersion(t.Context(), images, constraint)
		if got != want || errors.Is(err, remotelock.ErrNoImage) != (want == "") {
			t.Errorf("%s: %q, %v", within, got, err)
		}
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"git-{commit}", "{commit}", "a{commit}b", "{commit}{commit}", "{stage}-{commit}", "", "-{commit}", "é{commit}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := remotelock.ParsePattern(s)
		if err != nil {
			return
		}
		if p.String() != s || len(p.Tag(git.Hash(strings.Repeat("f", 40)))) > 128 || strings.Count(s, "{") != 1 || s[0] == '-' || s[0] == '.' {
			t.Errorf("%q is accepted", s)
		}
	})
}

package remotelock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/lock/remotelock"
	"github.com/lockage/lockage/internal/git"
)

func environ() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}
}

func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir, cmd.Env = dir, environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// newRepository has one commit on main.
func newRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, "init", "-q")
	change(t, dir, "README.md")
	return dir
}

// change commits a change of a file, or none where name is empty, and returns the commit.
func change(t *testing.T, dir, name string) git.Hash {
	t.Helper()
	if name != "" {
		full := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(full) // none is as good as an empty one
		if err := os.WriteFile(full, append(before, '.'), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, dir, "add", "-A")
	}
	run(t, dir, "commit", "-q", "--allow-empty", "-m", "change of "+name)
	return git.Hash(run(t, dir, "rev-parse", "HEAD"))
}

func open(t *testing.T, dir string) *git.Remote {
	t.Helper()
	remote, err := git.OpenRemote(t.Context(), dir, git.Options{Dir: t.TempDir(), CacheDir: t.TempDir(), Environ: environ()})
	if err != nil {
		t.Fatal(err)
	}
	return remote
}

// ancestry answers as the function does.
type ancestry func(ancestor, descendant string) bool

func (a ancestry) IsAncestor(_ context.Context, ancestor, descendant string) (bool, error) {
	return a(ancestor, descendant), nil
}

// byNumber takes the commits for a line, in the order of their ids.
func byNumber(ancestor, descendant string) bool { return ancestor <= descendant }

func entry(n int) remotelock.Entry {
	commit := fmt.Sprintf("%040x", n)
	return remotelock.Entry{
		Lock: lock.Lock{
			SchemaVersion: lock.SchemaVersion, ReleaseID: "git-" + commit, GitCommit: commit,
			Image:     lock.Image{Ref: "ghcr.io/acme/web:git-" + commit, Digest: digest.FromString("app")},
			Packaging: lock.Packaging{Kind: lock.Helm, SourceRepo: "https://github.com/acme/web.git", SourcePath: "chart"},
			CreatedAt: "2026-03-22T12:34:56Z",
		},
		Dir: "locks/web", Pipeline: "web", Time: time.Unix(1_800_000_000, 0), Ancestry: ancestry(byNumber),
	}
}

func now(context.Context, int) error { return nil }

// Jobs of many commits push at once: every release is recorded in one commit, and the newest is current.
func TestRecordConcurrently(t *testing.T) {
	t.Parallel()
	gitops := newRepository(t)
	run(t, gitops, "config", "receive.denyCurrentBranch", "ignore")
	const jobs = 6
	var group sync.WaitGroup
	for n := range jobs {
		branch := remotelock.Branch{Remote: open(t, gitops), Name: "main", Wait: func(_ context.Context, attempt int) error {
			time.Sleep(time.Duration(attempt*(n+1)) * time.Millisecond)
			return nil
		}}
		group.Go(func() {
			for range 2 { // again, as a job that is repeated
				if _, err := branch.Record(t.Context(), entry(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := strings.Count(run(t, gitops, "log", "--format=%s", "main"), "Lock git-"); got != jobs {
		t.Errorf("%d commits for %d releases", got, jobs)
	}
	files := strings.Fields(run(t, gitops, "ls-tree", "--name-only", "main:locks/web"))
	if len(files) != jobs+1 {
		t.Errorf("lock directory: %q", files)
	}
	newest := fmt.Sprintf("main:locks/web/git-%040x.yaml", jobs-1)
	if run(t, gitops, "show", "main:locks/web/current.yaml") != run(t, gitops, "show", newest) {
		t.Error("current.yaml is not the newest release")
	}
}

// Where somebody else is faster each time, it ends, and says so.
func TestRecordGivesUp(t *testing.T) {
	t.Parallel()
	gitops := newRepository(t)
	branch := remotelock.Branch{Remote: open(t, gitops), Name: "main", Wait: now}
	if _, err := branch.Record(t.Context(), entry(1)); err == nil || !strings.Contains(err.Error(), "denyCurrentBranch") {
		t.Fatalf("a refused push: %v", err)
	}
	run(t, gitops, "config", "receive.denyCurrentBranch", "ignore")
	if _, err := branch.Record(t.Context(), entry(1)); err != nil {
		t.Fatal(err)
	}
	run(t, gitops, "reset", "-q", "--hard")
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
	source := t.TempDir()
	run(t, source, "init", "-q")
	first := change(t, source, "chart/a")
	chart := change(t, source, "chart/a")
	docs := change(t, source, "docs/a")
	for range 120 { // more than are judged at a time
		change(t, source, "")
	}
	app := change(t, source, "app/a")
	both := git.Hash(run(t, source, "rev-parse", "HEAD"))
	run(t, source, "checkout", "-q", "-b", "side", string(docs))
	side := change(t, source, "chart/b")
	run(t, source, "checkout", "-q", "main")
	run(t, source, "merge", "-q", "--no-ff", "-m", "merge", "side")
	merge := git.Hash(run(t, source, "rev-parse", "HEAD"))
	change(t, source, "")

	remote := open(t, source)
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
		"no such branch":        {all("git-{commit}", app), "git-{commit}", "nosuch", nil, "", `"nosuch" names no branch`},
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

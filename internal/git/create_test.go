package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

func TestCreate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work")
	bare := dir + ".git"
	testworld.Write(t, dir, map[string]string{"README.md": "hello\n", "charts/web/Chart.yaml": "name: web\n"})
	how := git.NewCommit{
		Message: "Ship it", By: git.Signature{Name: "Ada", Email: "ada@example.com"},
		When: time.Date(2026, 3, 22, 12, 34, 56, 0, time.UTC),
	}
	head, err := git.Create(dir, bare, "develop", how)
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []struct{ in, args, want string }{
		{dir, "rev-parse HEAD", string(head)},
		{dir, "rev-parse --abbrev-ref HEAD", "develop"},
		{dir, "status --porcelain", ""},
		{dir, "ls-files", "README.md\ncharts/web/Chart.yaml"},
		{dir, "log --format=%an,%ae,%cn,%s,%ct", "Ada,ada@example.com,Ada,Ship it,1774182896"},
		{dir, "fsck --strict", ""},
		{dir, "remote get-url origin", bare},
		{dir, "config branch.develop.merge", "refs/heads/develop"},
		{dir, "fetch -q", ""},
		{dir, "rev-parse origin/develop", string(head)},
		{bare, "rev-parse --is-bare-repository", "true"},
		{bare, "rev-parse develop", string(head)},
		{bare, "fsck --strict", ""},
	} {
		if got := testworld.Git(t, check.in, strings.Fields(check.args)...); got != check.want {
			t.Errorf("git %s in %s: %q, want %q", check.args, filepath.Base(check.in), got, check.want)
		}
	}

	// The same files at the same time are the same commit; without a bare copy there is no remote.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(other, ".git")); err != nil {
		t.Fatal(err)
	}
	if again, err := git.Create(other, "", "develop", how); err != nil || again != head {
		t.Errorf("again: %s, %v, want %s", again, err, head)
	}
	if got := testworld.Git(t, other, "remote"); got != "" {
		t.Errorf("remotes %q, want none", got)
	}
	// What is a repository already is left alone.
	if _, err := git.Create(dir, "", "develop", how); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a repository was made over another: %v", err)
	}
}

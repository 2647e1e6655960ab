package workspace_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
)

// environ is that of a user without any configuration of their own.
func environ(t *testing.T) []string {
	t.Helper()
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com",
	}
}

// run runs the real git in dir and returns what it prints.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = dir
	cmd.Env = environ(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write writes files, given by path and content, below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// commit commits everything in dir, and something in any case, and returns the commit's id.
func commit(t *testing.T, dir string) string {
	t.Helper()
	run(t, dir, "add", "-A")
	run(t, dir, "commit", "-q", "--allow-empty", "-m", "change")
	return run(t, dir, "rev-parse", "HEAD")
}

// repository makes a checkout without a remote, of one commit.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkout")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "init", "-q")
	write(t, dir, files)
	commit(t, dir)
	return dir
}

// bare makes a copy of a repository that can serve as a remote.
func bare(t *testing.T, of string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "remote.git")
	run(t, of, "clone", "-q", "--bare", of, dir)
	run(t, dir, "config", "uploadpack.allowFilter", "true")
	run(t, dir, "config", "uploadpack.allowAnySHA1InWant", "true")
	return dir
}

// clone makes a checkout whose remote origin is the given one.
func clone(t *testing.T, remote string, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	run(t, filepath.Dir(dir), append(append([]string{"clone", "-q"}, args...), "file://"+remote, dir)...)
	return dir
}

func options(t *testing.T) git.Options {
	t.Helper()
	return git.Options{CacheDir: t.TempDir(), Environ: environ(t), Backoff: time.Millisecond}
}

func open(t *testing.T, dir string) *workspace.Workspace {
	t.Helper()
	w, err := workspace.Open(t.Context(), dir, options(t))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// declare is the smallest pipeline file of a name.
func declare(name string) string {
	return fmt.Sprintf(`apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: %[1]s
lock: locks/%[1]s
artifacts: registry.example.com/acme/%[1]s
render: {releaseName: app, kubeVersion: "1.34"}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
  - {name: staging}
`, name)
}

package testworld

import (
	"errors"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/git"
)

// Time is when every commit of [Git] is made, as the git program reads it.
const Time = "2026-03-22T12:34:56+0200"

// config is given to every run of git. Templates and maintenance would cost more time than the rest of a run.
var config = []string{
	"-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", "-c", "init.templateDir=", "-c", "maintenance.auto=false", "-c", "gc.auto=0",
}

// Environ returns the environment of a user without any configuration, who has the given variables beside.
func Environ(more ...string) []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.com",
	}, more...)
}

// Git runs the git program in dir and returns its trimmed output.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return GitAt(t, Time, dir, args...)
}

// GitAt is [Git] at another time.
func GitAt(t testing.TB, date, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append(slices.Clone(config), args...)...)
	cmd.Dir, cmd.Env = dir, Environ("GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Write writes files, by slash-separated path, below dir.
func Write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		check(t, os.MkdirAll(filepath.Dir(file), 0o755))
		check(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

// Commit commits everything in dir, and makes a commit even if nothing changed.
func Commit(t testing.TB, dir, message string) git.Hash {
	t.Helper()
	Git(t, dir, "add", "-A")
	Git(t, dir, "commit", "-q", "--allow-empty", "-m", message)
	return git.Hash(Git(t, dir, "rev-parse", "HEAD"))
}

// Checkout makes a repository with a work tree and one commit of these files on the branch main.
func Checkout(t testing.TB, files map[string]string) (dir string, head git.Hash) {
	t.Helper()
	dir = t.TempDir()
	Git(t, dir, "init", "-q")
	Write(t, dir, files)
	return dir, Commit(t, dir, "first")
}

// Clone clones a repository, with more arguments of git clone, and returns the folder.
func Clone(t testing.TB, from string, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	Git(t, filepath.Dir(dir), append(append([]string{"clone", "-q"}, args...), from, dir)...)
	return dir
}

// Bare makes a bare repository named repo.git that serves partial clones and takes pushes, as forges do. It is a clone of the
// repository in from, or empty if from is "".
func Bare(t testing.TB, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repo.git")
	args := []string{"clone", "-q", "--bare", from, dir}
	if from == "" {
		args = []string{"init", "-q", "--bare", dir}
	}
	Git(t, filepath.Dir(dir), args...)
	Serveable(t, dir)
	return dir
}

// Serveable lets a bare repository serve partial clones and take pushes.
func Serveable(t testing.TB, bare string) {
	t.Helper()
	file := must(os.OpenFile(filepath.Join(bare, "config"), os.O_APPEND|os.O_WRONLY, 0))(t)
	_, err := file.WriteString("[uploadpack]\nallowFilter = true\nallowAnySHA1InWant = true\n[http]\nreceivepack = true\n[receive]\nautogc = false\n")
	check(t, errors.Join(err, file.Close()))
}

// Hook makes a shell script a hook of a bare repository.
func Hook(t testing.TB, bare, name, script string) {
	t.Helper()
	Write(t, bare, map[string]string{"hooks/" + name: "#!/bin/sh\n" + script + "\n"})
	check(t, os.Chmod(filepath.Join(bare, "hooks", name), 0o755))
}

// httpBackend returns the path of the program that serves Git over HTTP.
var httpBackend = sync.OnceValue(func() string {
	dir, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		panic(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "git-http-backend")
})

// GitBackend serves the bare repositories below root over smart HTTP.
func GitBackend(root string) http.Handler {
	return &cgi.Handler{Path: httpBackend(), Env: Environ("GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1"), Stderr: io.Discard}
}

// GitServer serves a bare repository made by [Bare]; its URL is that of the repository.
func GitServer(t testing.TB, bare string) *Server {
	t.Helper()
	s := Serve(t, GitBackend(filepath.Dir(bare)))
	s.URL += "/" + filepath.Base(bare)
	return s
}

// GitOptions returns options with an empty cache and the environment of [Environ].
func GitOptions(t testing.TB, environ ...string) git.Options {
	t.Helper()
	return git.Options{Dir: t.TempDir(), CacheDir: t.TempDir(), Environ: Environ(environ...), Backoff: time.Millisecond}
}

// Remote opens a repository by URL or folder, with a cache of its own.
func Remote(t testing.TB, url string) *git.Remote {
	t.Helper()
	return must(git.OpenRemote(t.Context(), url, GitOptions(t)))(t)
}

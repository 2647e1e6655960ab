package kustomize

import (
	"fmt"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/git"
)

// TestFetchesWhatIsRead builds over a repository with much else in it, from a real server.
func TestFetchesWhatIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	source := app("").Files
	if err := os.CopyFS(dir, source); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		name := filepath.Join(dir, fmt.Sprintf("services/s%d/main.txt", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Repeat(fmt.Sprintf("%x", i*7919), 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q")
	run("config", "uploadpack.allowFilter", "true")
	run("config", "uploadpack.allowAnySHA1InWant", "true")
	run("add", "-A")
	run("commit", "-q", "-m", "source")
	head := run("rev-parse", "HEAD")

	server := httptest.NewServer(&cgi.Handler{
		Path:       filepath.Join(run("--exec-path"), "git-http-backend"),
		Env:        []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		InheritEnv: []string{"PATH"},
	})
	t.Cleanup(server.Close)
	remote, err := git.OpenRemote(t.Context(), server.URL+"/.git", git.Options{Dir: dir, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := remote.Snapshot(t.Context(), git.Hash(head))
	if err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]hydrate.Source{
		"overlay":   app("resources: [\"" + sourceRepo + "//k8s/base\"]\n"),
		"generated": {Path: "k8s", Overlay: &hydrate.Overlay{GitOps: files(), Options: hydrate.Options{Kustomize: &hydrate.Kustomize{Base: "base"}}}},
	} {
		source.Files, source.Repository, source.Commit, source.Prefetch = snapshot.FS(t.Context()), sourceRepo, head, snapshot.Prefetch
		if _, got, _ := open(t, source); !strings.Contains(got, "image: web") {
			t.Errorf("%s: %s", name, got)
		}
		// The server's capabilities, the commit, two folders on the way, and the base with all that is in it.
		if stats := remote.Stats(); stats.RoundTrips > 5 || stats.BytesReceived > 8<<10 {
			t.Errorf("%s: %d round trips, %d bytes", name, stats.RoundTrips, stats.BytesReceived)
		} else {
			t.Logf("%s: %d round trips, %d bytes", name, stats.RoundTrips, stats.BytesReceived)
		}
	}
}

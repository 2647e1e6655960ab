package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/internal/samplechart"
	"github.com/lockage/lockage/oci/registry"
)

const benchStages = 30

// BenchmarkHydrate is the whole of `lockage hydrate` for 30 stages, in process: Git over smart HTTP, an empty cache and
// an empty registry when cold, a key without a password. The registry runs in the same process and is part of the cost.
// LOCKAGE_CHART names the folder of another chart to measure.
func BenchmarkHydrate(b *testing.B) {
	charts := map[string]fs.FS{"small": samplechart.Small(), "large": samplechart.Large()}
	names := []string{"small", "large"}
	if dir := os.Getenv("LOCKAGE_CHART"); dir != "" {
		names, charts["other"] = []string{"other"}, os.DirFS(dir)
	}
	for _, name := range names {
		s := newBench(b, charts[name])
		b.Run("chart="+name+"/run=cold", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				s.reset(b)
				b.StartTimer()
				s.hydrate(b, `"action": "pushed"`)
			}
			s.report(b)
		})
		b.Run("chart="+name+"/run=unchanged", func(b *testing.B) {
			s.reset(b)
			s.hydrate(b, `"action": "pushed"`)
			s.forget()
			b.ReportAllocs()
			for b.Loop() {
				s.hydrate(b, `"action": "unchanged"`)
			}
			s.report(b)
		})
	}
}

// bench is all that a hydration needs: a source and a GitOps repository served over smart HTTP, a registry, a key.
type bench struct {
	dir      string
	registry string // host:port

	mu       sync.Mutex
	serving  *registry.Registry
	requests map[string]int // by method and resource, since the last reset
	runs     int
}

func newBench(tb testing.TB, chart fs.FS) *bench {
	tb.Helper()
	s := &bench{dir: tb.TempDir()}
	server := httptest.NewServer(s)
	tb.Cleanup(func() {
		server.Close()
		_ = s.serving.Close()
	})
	s.registry = strings.TrimPrefix(server.URL, "http://")
	home := filepath.Join(s.dir, "home")
	backend, err := newGitBackend(filepath.Join(s.dir, "remote"), home)
	if err != nil {
		tb.Fatal(err)
	}
	forge := httptest.NewServer(backend)
	tb.Cleanup(forge.Close)
	for name, value := range map[string]string{
		"HOME": home, "GIT_CONFIG_NOSYSTEM": "1",
		"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com", "GIT_AUTHOR_DATE": "2026-03-22T12:00:00Z",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com", "GIT_COMMITTER_DATE": "2026-03-22T12:00:00Z",
	} {
		tb.Setenv(name, value)
	}

	if err := os.CopyFS(filepath.Join(s.dir, "source", "chart"), chart); err != nil {
		tb.Fatal(err)
	}
	commit := s.push(tb, "source", forge.URL)
	private, public, err := newKey()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Setenv("HYDRATOR_KEY", private)
	image := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("image")))
	lock := fmt.Sprintf(`schemaVersion: v1
releaseId: git-%[1]s
gitCommit: %[1]s
image:
  ref: ghcr.io/acme/web:git-%[1]s
  digest: %[2]s
packaging:
  kind: helm
  sourceRepo: %[3]s/source.git
  sourcePath: chart
createdAt: '2026-03-22T12:34:56Z'
`, commit, image, forge.URL)
	pipeline := fmt.Sprintf(`apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: web
lock: warehouses/web
artifacts: %s/acme/web-manifests
render:
  releaseName: web
  namespace: web-{stage}
  kubeVersion: "1.34"
  values: ["apps/web/{stage}.yaml"]
  set: {image: "{image}"}
  assertImage: %t
sign:
  hydrator: {key: env://HYDRATOR_KEY}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
`, s.registry, os.Getenv("LOCKAGE_CHART") == "")
	for i := range benchStages {
		pipeline += fmt.Sprintf("  - {name: stage-%02d}\n", i)
		s.write(tb, fmt.Sprintf("gitops/apps/web/stage-%02d.yaml", i), fmt.Sprintf("replicas: %d\n", i+1))
	}
	s.write(tb, "gitops/lockage.yaml", pipeline)
	s.write(tb, "gitops/keys/hydrator.pub", public)
	s.write(tb, "gitops/warehouses/web/current.yaml", lock)
	s.write(tb, "gitops/warehouses/web/git-"+commit+".yaml", lock)
	s.push(tb, "gitops", forge.URL)
	s.reset(tb)
	return s
}

func (s *bench) write(tb testing.TB, name, content string) {
	tb.Helper()
	file := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// push makes a folder a repository, pushed to a bare one below remote that is its origin, and returns its commit.
func (s *bench) push(tb testing.TB, name, forge string) string {
	tb.Helper()
	dir, bare := filepath.Join(s.dir, name), filepath.Join(s.dir, "remote", name+".git")
	git := func(args ...string) string {
		tb.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			tb.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "--bare", "-b", "main", bare)
	git("-C", bare, "config", "uploadpack.allowFilter", "true")
	git("-C", bare, "config", "uploadpack.allowAnySHA1InWant", "true")
	git("init", "-q", "-b", "main")
	git("add", "-A", "-f")
	git("commit", "-q", "-m", "first")
	git("push", "-q", bare, "main")
	git("remote", "add", "origin", forge+"/"+name+".git")
	git("update-ref", "refs/remotes/origin/main", "main")
	return git("rev-parse", "HEAD")
}

// reset empties cache and registry.
func (s *bench) reset(tb testing.TB) {
	tb.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, "cache")); err != nil {
		tb.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving != nil {
		if err := s.serving.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	s.serving = registry.New(registry.Options{})
}

func (s *bench) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests, s.runs = nil, 0
}

// ServeHTTP is the registry, with a record of what it was asked for.
func (s *bench) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := "ping"
	for _, k := range []string{"manifests/sha256:", "manifests/", "blobs/uploads/", "blobs/", "referrers/", "tags/"} {
		if strings.Contains(r.URL.Path, "/"+k) {
			kind = k
			break
		}
	}
	s.mu.Lock()
	if s.requests == nil {
		s.requests = map[string]int{}
	}
	s.requests[r.Method+" "+kind]++
	serving := s.serving
	s.mu.Unlock()
	serving.ServeHTTP(w, r)
}

func (s *bench) args() []string {
	return []string{"hydrate", "-C", filepath.Join(s.dir, "gitops"), "--cache-dir", filepath.Join(s.dir, "cache"), "-o", "json"}
}

// hydrate runs the command; each stage must show want in its result.
func (s *bench) hydrate(tb testing.TB, want string) {
	tb.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(tb.Context(), s.args(), strings.NewReader(""), &stdout, &stderr); code != exitDone {
		tb.Fatalf("exit status %d\n%.2000s", code, stderr.String())
	}
	if n := strings.Count(stdout.String(), want); n != benchStages {
		tb.Fatalf("%d stages show %s\n%.2000s\n%.2000s", n, want, stdout.String(), stderr.String())
	}
	s.runs++
}

// report reports how many requests a stage costs the registry, and with -v of each kind.
func (s *bench) report(b *testing.B) {
	b.Helper()
	total := 0
	for kind, n := range s.requests {
		total += n
		b.Logf("%6.2f %s", float64(n)/float64(s.runs*benchStages), kind)
	}
	b.ReportMetric(float64(total)/float64(s.runs*benchStages), "requests/stage")
	s.forget()
}

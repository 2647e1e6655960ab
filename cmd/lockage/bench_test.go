package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/samplechart"
	"github.com/lockage/lockage/internal/testworld"
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
	tb.Cleanup(func() { _ = s.serving.Close() })
	s.registry = testworld.Serve(tb, s).Host
	tb.Setenv("HOME", filepath.Join(s.dir, "home"))
	tb.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	forge := testworld.Serve(tb, testworld.GitBackend(filepath.Join(s.dir, "remote")))

	if err := os.CopyFS(filepath.Join(s.dir, "source", "chart"), chart); err != nil {
		tb.Fatal(err)
	}
	commit := s.push(tb, "source", forge.URL)
	private, public := testworld.KeyFile(tb)
	locked := testworld.Lock(commit)
	locked.Packaging.SourceRepo = forge.URL + "/source.git"
	file := string(lock.Format(locked))
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
  hydrator: {key: "%s"}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
`, s.registry, os.Getenv("LOCKAGE_CHART") == "", private)
	for i := range benchStages {
		pipeline += fmt.Sprintf("  - {name: stage-%02d}\n", i)
		s.write(tb, fmt.Sprintf("gitops/apps/web/stage-%02d.yaml", i), fmt.Sprintf("replicas: %d\n", i+1))
	}
	s.write(tb, "gitops/lockage.yaml", pipeline)
	s.write(tb, "gitops/keys/hydrator.pub", public)
	s.write(tb, "gitops/warehouses/web/current.yaml", file)
	s.write(tb, "gitops/warehouses/web/git-"+commit+".yaml", file)
	s.push(tb, "gitops", forge.URL)
	s.reset(tb)
	return s
}

func (s *bench) write(tb testing.TB, name, content string) {
	tb.Helper()
	testworld.Write(tb, s.dir, map[string]string{name: content})
}

// push makes a folder a repository, pushed to a bare one below remote that is its origin, and returns its commit.
func (s *bench) push(tb testing.TB, name, forge string) string {
	tb.Helper()
	dir, bare := filepath.Join(s.dir, name), filepath.Join(s.dir, "remote", name+".git")
	testworld.Git(tb, s.dir, "init", "-q", "--bare", bare)
	testworld.Serveable(tb, bare)
	testworld.Git(tb, dir, "init", "-q")
	testworld.Git(tb, dir, "add", "-A", "-f")
	commit := testworld.Commit(tb, dir, "first")
	testworld.Git(tb, dir, "push", "-q", bare, "main")
	testworld.Git(tb, dir, "remote", "add", "origin", forge+"/"+name+".git")
	testworld.Git(tb, dir, "update-ref", "refs/remotes/origin/main", "main")
	return string(commit)
}

// reset empties cache, registry and ledger.
func (s *bench) reset(tb testing.TB) {
	tb.Helper()
	testworld.Git(tb, filepath.Join(s.dir, "remote", "gitops.git"), "update-ref", "-d", "refs/heads/candidates/web")
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

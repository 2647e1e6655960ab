package git_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

var chart = map[string]string{
	"README.md":               "read me\n",
	"k8s/helm/Chart.yaml":     "name: app\n",
	"k8s/helm/values.yaml":    "replicas: 1\n",
	"k8s/helm/templates/a":    "a\n",
	"k8s/other/big":           strings.Repeat("other", 1000),
	"services/web/index.html": "<p>\n",
}

// server serves repositories over smart HTTP, by the real git.
type server struct {
	*httptest.Server
	root string

	mu       sync.Mutex
	requests []string                                        // method and path
	headers  []http.Header                                   // of each request
	faults   []func(http.ResponseWriter, *http.Request) bool // tried first
	protocol string                                          // forced version; "" for what the client asks
}

// serve makes a bare repository of dir and serves it at /repo.git; config are
// settings such as uploadpack.allowFilter=true.
func serve(t testing.TB, dir string, config ...string) *server {
	t.Helper()
	s := newServer(t, dir, config...)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func serveTLS(t *testing.T, dir string, config ...string) *server {
	t.Helper()
	s := newServer(t, dir, config...)
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newServer(t testing.TB, dir string, config ...string) *server {
	t.Helper()
	s := &server{root: t.TempDir()}
	testworld.Git(t, s.root, "clone", "-q", "--bare", dir, "repo.git")
	for _, setting := range config {
		key, value, _ := strings.Cut(setting, "=")
		testworld.Git(t, s.bare(), "config", key, value)
	}
	return s
}

var full = []string{"uploadpack.allowFilter=true", "uploadpack.allowAnySHA1InWant=true"}

func (s *server) bare() string { return filepath.Join(s.root, "repo.git") }
func (s *server) url() string  { return s.URL + "/repo.git" }

func (s *server) seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.headers = append(s.headers, r.Header.Clone())
	faults, protocol := s.faults, s.protocol
	s.mu.Unlock()
	for _, fault := range faults {
		if fault(w, r) {
			return
		}
	}
	if protocol != "" {
		r.Header.Set("Git-Protocol", protocol)
	}
	testworld.GitBackend(s.root).ServeHTTP(w, r)
}

// basicAuth lets only this user in.
func basicAuth(user, password string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		u, p, _ := r.BasicAuth()
		if u == user && p == password {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	}
}

// warnings collects what is warned of.
type warnings struct {
	mu     sync.Mutex
	output []string
}

func (w *warnings) warn(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.output = append(w.output, text)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.output, "\n")
}

func openRemote(t testing.TB, url string, opts git.Options) *git.Remote {
	t.Helper()
	r, err := git.OpenRemote(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openRepository(t testing.TB, dir string, opts git.Options) *git.Repository {
	t.Helper()
	r, err := git.Open(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantError fails unless err holds all parts and none that begins with «!».
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range parts {
		if secret, ok := strings.CutPrefix(part, "!"); ok {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("error holds %q: %v", secret, err)
			}
		} else if !strings.Contains(err.Error(), part) {
			t.Errorf("error lacks %q: %v", part, err)
		}
	}
}

func importStream(t testing.TB, dir, stream string) {
	t.Helper()
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stream)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git fast-import: %v\n%s", err, out)
	}
}

// blobs returns contents as a draft takes them.
func blobs(files map[string][]byte) map[string]git.Blob {
	blobs := map[string]git.Blob{}
	for name, data := range files {
		blobs[name] = git.NewBlob(data)
	}
	return blobs
}

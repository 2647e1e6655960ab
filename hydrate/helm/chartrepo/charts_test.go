package chartrepo_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/helm/chartrepo"
)

// packed is a packaged chart with some content of its own.
func packed(t testing.TB, name, version, content string, more ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	files := append([]string{name + "/Chart.yaml", fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version), name + "/values.yaml", content}, more...)
	for i := 0; i < len(files); i += 2 {
		if err := tw.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// site is a chart repository: files by path, counted when they are asked for.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string][]byte
	count atomic.Int32
	// before, unless it is nil, may answer a request in place of the files.
	before func(w http.ResponseWriter, r *http.Request) bool
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{files: map[string][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.count.Add(1)
		if s.before != nil && s.before(w, r) {
			return
		}
		s.mu.Lock()
		data, ok := s.files[r.URL.Path]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) put(name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = data
}

// publish puts an archive and an index that names it, with the lines that follow in the entry.
func (s *site) publish(archive []byte, lines string) {
	s.put("/stable/web-1.2.3.tgz", archive)
	s.put("/stable/index.yaml", []byte("apiVersion: v1\nentries:\n  other:\n  - version: 1.2.3\n    urls: [other.tgz]\n  web:\n"+
		"  - version: 1.3.0\n    urls: [web-1.3.0.tgz]\n  - version: 1.2.3\n    urls:\n    - web-1.2.3.tgz\n"+lines+"generated: \"2026-03-22T12:00:00Z\"\n"))
}

func fetcher(t testing.TB, options chartrepo.Options) *chartrepo.Fetcher {
	t.Helper()
	if options.CacheDir == "" {
		options.CacheDir = t.TempDir()
	}
	if options.Credentials == nil {
		options.Credentials = func(context.Context, string) (string, string, error) { return "", "", nil }
	}
	options.Backoff = time.Millisecond
	return chartrepo.New(options)
}

func TestChartRepository(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	archive := packed(t, "web", "1.2.3", "a: b")
	s.publish(archive, "    digest: "+sumOf(archive)+"\n")
	cache := t.TempDir()
	for range 3 { // the second and third run ask nobody
		got, err := fetcher(t, chartrepo.Options{CacheDir: cache}).Archive(t.Context(), s.URL+"/stable/", "web", "1.2.3")
		if err != nil || !bytes.Equal(got, archive) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if n := s.count.Load(); n != 2 {
		t.Errorf("%d requests, want one for the index and one for the archive", n)
	}
}

// TestUnnamedDigest: what no index vouches for is fetched once a run, and every run.
func TestUnnamedDigest(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	cache := t.TempDir()
	for _, content := range []string{"a: 1", "a: 2"} {
		archive := packed(t, "web", "1.2.3", content)
		s.publish(archive, "")
		f := fetcher(t, chartrepo.Options{CacheDir: cache})
		for range 2 {
			got, err := f.Archive(t.Context(), s.URL+"/stable", "web", "1.2.3")
			if err != nil || !bytes.Equal(got, archive) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		}
	}
	if n := s.count.Load(); n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func TestDamagedCache(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	archive := packed(t, "web", "1.2.3", "a: b")
	s.publish(archive, "    digest: sha256:"+sumOf(archive)+"\n")
	cache := t.TempDir()
	for name, damage := range map[string]func(string) error{
		"whole":   func(string) error { return nil },
		"other":   func(file string) error { return os.WriteFile(file, []byte("damaged"), 0o600) },
		"cut":     func(file string) error { return os.Truncate(file, 10) },
		"missing": os.Remove,
		"huge":    func(file string) error { return os.Truncate(file, chartrepo.MaxArchiveBytes+1) },
	} {
		files := 0
		err := filepath.WalkDir(filepath.Join(cache, "charts"), func(file string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				files++
				return damage(file)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d files", name, files)
		got, err := fetcher(t, chartrepo.Options{CacheDir: cache}).Archive(t.Context(), s.URL+"/stable", "web", "1.2.3")
		if err != nil || !bytes.Equal(got, archive) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	archive := packed(t, "web", "1.2.3", "a: b")
	s.publish(archive, "    digest: "+sumOf(archive)+"\n")
	cache := t.TempDir()
	var wait sync.WaitGroup
	for range 4 { // processes
		f := fetcher(t, chartrepo.Options{CacheDir: cache})
		for range 8 {
			wait.Go(func() {
				if got, err := f.Archive(t.Context(), s.URL+"/stable", "web", "1.2.3"); err != nil || !bytes.Equal(got, archive) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
	}
	wait.Wait()
	if n := s.count.Load(); n > 8 {
		t.Errorf("%d requests, want at most two a process", n)
	}
}

// TestRefusals: what a repository must not do, and what is asked of it in vain.
func TestRefusals(t *testing.T) {
	t.Parallel()
	archive := packed(t, "web", "1.2.3", "a: b")
	exploding := bomb(t)
	digestLine := "    digest: " + sumOf(archive) + "\n"
	entry := func(url string) []byte {
		return []byte("entries:\n  web:\n  - {version: 1.2.3, urls: [\"" + url + "\"]}\n")
	}
	for name, c := range map[string]struct {
		change func(*site)
		want   string
	}{
		"digest":         {func(s *site) { s.publish(packed(t, "web", "1.2.3", "a: c"), digestLine) }, "the repository's index says sha256:" + sumOf(archive)},
		"odd digest":     {func(s *site) { s.publish(archive, "    digest: abc\n") }, "not a SHA-256: \"abc\""},
		"name":           {func(s *site) { s.publish(packed(t, "db", "1.2.3", ""), "") }, `the archive holds chart "db" of version "1.2.3"`},
		"version":        {func(s *site) { s.publish(packed(t, "web", "1.2.4", ""), "") }, `the archive holds chart "web" of version "1.2.4"`},
		"metadata":       {func(s *site) { s.publish(packed(t, "web", "1.2.3+b", ""), "") }, `of version "1.2.3+b"`},
		"no gzip":        {func(s *site) { s.publish([]byte("<html>"), "") }, "the archive: "},
		"no chart":       {func(s *site) { s.put("/stable/web-1.2.3.tgz", nil); s.publish(gzipped(t, make([]byte, 1024)), "") }, "no Chart.yaml"},
		"bomb":           {func(s *site) { s.publish(exploding, "") }, "bytes unpacked"},
		"bomb in charts": {func(s *site) { s.publish(packed(t, "web", "1.2.3", "", "web/charts/x.tgz", string(exploding)), "") }, "charts/x.tgz: more than"},
		"many files":     {func(s *site) { s.publish(manyFiles(t), "") }, "more than 20000 files"},
		"large":          {func(s *site) { s.publish(make([]byte, chartrepo.MaxArchiveBytes+1), "") }, "larger than the limit of 33554432 bytes"},
		"no index":       {func(s *site) { s.put("/stable/index.yaml", nil); s.files = nil }, "/stable/index.yaml: the server answered 404"},
		"html":           {func(s *site) { s.put("/stable/index.yaml", []byte("<html>\n\t<p>a: b: c</p>")) }, "not the YAML of a chart repository"},
		"no version": {func(s *site) {
			s.put("/stable/index.yaml", []byte("entries:\n  web:\n  - version: 1.2.4\n    urls: [a]\n"))
		}, `no such version, but "1.2.4" and maybe more; run ` + "`helm dependency update`"},
		"no chart there": {func(s *site) { s.put("/stable/index.yaml", []byte("entries: {}\n")) }, "the repository has no such chart"},
		"no urls":        {func(s *site) { s.put("/stable/index.yaml", []byte("entries:\n  web:\n  - version: 1.2.3\n")) }, "no such chart"},
		"plain http":     {func(s *site) { s.put("/stable/index.yaml", entry("http://charts.example.com/web.tgz")) }, "refers to http://charts.example.com/web.tgz, which is not https"},
		"file":           {func(s *site) { s.put("/stable/index.yaml", entry("file:///etc/passwd")) }, "refers to file:///etc/passwd"},
		"untagged":       {func(s *site) { s.put("/stable/index.yaml", entry("oci://localhost:1/web")) }, "an artifact without a tag"},
		"redirect away": {func(s *site) {
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, "http://charts.example.com/?secret", http.StatusFound)
				return true
			}
		}, "refers to http://charts.example.com/, which"},
		"redirects": {func(s *site) {
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
				return true
			}
		}, "more than 5 times"},
		"down": {func(s *site) {
			s.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusBadGateway); return true }
		}, "the server answered 502"},
		"unauthorized": {func(s *site) {
			s.before = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusUnauthorized); return true }
		}, "answered 401; run `docker login 127.0.0.1:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.publish(archive, digestLine)
			c.change(s)
			_, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), s.URL+"/stable?token=hunter2", "web", "1.2.3")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	for repository, want := range map[string]string{
		"http://charts.example.com":               "over plain HTTP from this machine only",
		"https://ada:hunter2@charts.example.com/": "repository https://charts.example.com: its URL holds a user or password",
		"ftp://charts.example.com":                "come from oci:// and https://",
		"charts.example.com/stable":               "invalid URL",
		"@stable":                                 "invalid URL",
		"":                                        "invalid URL",
		"https:///x":                              "invalid URL",
		"oci://Localhost:1/Upper":                 "invalid path",
	} {
		_, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), repository, "web", "1.2.3")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v\nwant %s", repository, err, want)
		}
	}
	for _, p := range [][2]string{{"../web", "1.2.3"}, {"", "1.2.3"}, {"web", "^1.2"}, {"web", ""}, {"web", "1.2.3/.."}} {
		if _, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), "https://127.0.0.1:1/", p[0], p[1]); err == nil || strings.Contains(err.Error(), "refused") {
			t.Errorf("%q: %v", p, err)
		}
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	if _, err := gz.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// bomb is small and unpacks to more than there may be.
func bomb(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	gz, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(gz)
	if err := tw.WriteHeader(&tar.Header{Name: "web/Chart.lock", Mode: 0o644, Size: chartrepo.MaxUnpackedBytes + 1}); err != nil {
		t.Fatal(err)
	}
	zeroes := make([]byte, 1<<20)
	for range chartrepo.MaxUnpackedBytes >> 20 {
		if _, err := tw.Write(zeroes); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tw.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func manyFiles(t testing.TB) []byte {
	t.Helper()
	var more []string
	for i := range chartrepo.MaxFiles {
		more = append(more, fmt.Sprintf("web/%d", i), "")
	}
	return packed(t, "web", "1.2.3", "", more...)
}

// TestOddButRight: servers and indexes as they come.
func TestOddButRight(t *testing.T) {
	t.Parallel()
	archive := packed(t, "web", "1.2.3", "a: b")
	for name, c := range map[string]struct {
		index  string
		before func(*site) func(http.ResponseWriter, *http.Request) bool
	}{
		"json":           {index: `{"apiVersion":"v1","entries":{"x":7,"web":[{"version":"1.2.3","urls":["web-1.2.3.tgz"]}]}}`},
		"flow":           {index: "entries: {web: [{version: 1.2.3, urls: [web-1.2.3.tgz]}]}"},
		"quoted":         {index: "entries:\n    \"web\":\n        -\n            version: 1.2.3\n            urls: [web-1.2.3.tgz]\n"},
		"anchors":        {index: "entries:\n  base: &base\n  - version: 1.2.3\n    urls: [web-1.2.3.tgz]\n  web: *base\n"},
		"absolute path":  {index: "entries:\n  web:\n  - version: 1.2.3\n    urls: [/stable/web-1.2.3.tgz]\n"},
		"v":              {index: "entries:\n  web:\n  - version: v1.2.3\n    urls: [web-1.2.3.tgz]\n"},
		"crlf, comments": {index: "# hi\r\nentries:\r\n\r\n# there\r\n  web:\r\n  - version: 1.2.3\r\n    description: |\r\n      web:\r\n    urls: [web-1.2.3.tgz]\r\n"},
		"busy at first": {before: func(*site) func(http.ResponseWriter, *http.Request) bool {
			var seen sync.Map
			return func(w http.ResponseWriter, r *http.Request) bool {
				if _, again := seen.LoadOrStore(r.URL.Path, true); !again {
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			}
		}},
		"compressed index, archive said to be": {before: func(s *site) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Content-Encoding", "gzip")
				if strings.HasSuffix(r.URL.Path, ".yaml") {
					if r.Header.Get("Accept-Encoding") != "gzip" {
						t.Error("the index is asked for uncompressed")
					}
					_, _ = w.Write(gzipped(t, s.files[r.URL.Path]))
					return true
				}
				return false
			}
		}},
		"moved": {before: func(s *site) func(http.ResponseWriter, *http.Request) bool {
			s.put("/elsewhere", archive)
			return func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, ".tgz") {
					http.Redirect(w, r, "/elsewhere", http.StatusMovedPermanently)
					return true
				}
				return false
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.publish(archive, "    digest: "+sumOf(archive)+"\n")
			if c.index != "" {
				s.put("/stable/index.yaml", []byte(c.index))
			}
			if c.before != nil {
				s.before = c.before(s)
			}
			if got, err := fetcher(t, chartrepo.Options{}).Archive(t.Context(), s.URL+"/stable", "web", "1.2.3"); err != nil || !bytes.Equal(got, archive) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// TestCredentialsStayAtHome: they go to the repository's host once it asks, and to nobody else.
func TestCredentialsStayAtHome(t *testing.T) {
	t.Parallel()
	archive := packed(t, "web", "1.2.3", "a: b")
	away, home := newSite(t), newSite(t)
	away.put("/web.tgz", archive)
	away.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("another host was sent %v", r.Header)
		}
		return false
	}
	home.before = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user+":"+password != "ada:hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		if r.URL.Path == "/stable/moved.tgz" {
			http.Redirect(w, r, away.URL+"/web.tgz", http.StatusFound)
			return true
		}
		return false
	}
	for name, url := range map[string]string{"elsewhere": away.URL + "/web.tgz", "redirected": "moved.tgz", "at home": "web-1.2.3.tgz"} {
		home.publish(archive, "")
		home.put("/stable/index.yaml", []byte("entries:\n  web:\n  - version: 1.2.3\n    urls: ["+url+"]\n"))
		asked := 0
		f := fetcher(t, chartrepo.Options{Credentials: func(_ context.Context, name string) (string, string, error) {
			asked++
			if "http://"+name != home.URL+"/stable" {
				t.Errorf("asked for credentials for %s", name)
			}
			return "ada", "hunter2", nil
		}})
		if got, err := f.Archive(t.Context(), home.URL+"/stable", "web", "1.2.3"); err != nil || !bytes.Equal(got, archive) || asked != 1 {
			t.Errorf("%s: %d bytes, asked %d times, %v", name, len(got), asked, err)
		}
	}
}

// TestHidden: a repository that hides what it has from a user that is not logged in gets the credentials that there are.
func TestHidden(t *testing.T) {
	t.Parallel()
	archive := packed(t, "web", "1.2.3", "a: b")
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden} {
		s := newSite(t)
		s.publish(archive, "")
		s.put("/stable/index.yaml", []byte("entries:\n  web:\n  - version: 1.2.3\n    urls: ["+strings.ToUpper(s.URL)+"/stable/web-1.2.3.tgz]\n"))
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if user, password, _ := r.BasicAuth(); user+":"+password != "ada:hunter2" {
				w.WriteHeader(status)
				return true
			}
			return false
		}
		find := func(context.Context, string) (string, string, error) { return "ada", "hunter2", nil }
		if got, err := fetcher(t, chartrepo.Options{Credentials: find}).Archive(t.Context(), s.URL+"/stable", "web", "1.2.3"); err != nil || !bytes.Equal(got, archive) {
			t.Errorf("%d: %d bytes, %v", status, len(got), err)
		}
		broken := func(context.Context, string) (string, string, error) { return "", "", errors.New("no helper") }
		for _, none := range []func(context.Context, string) (string, string, error){nil, broken} {
			_, err := fetcher(t, chartrepo.Options{Credentials: none}).Archive(t.Context(), s.URL+"/stable", "web", "1.2.3")
			if want := fmt.Sprintf("answered %d", status); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "docker login") {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		cancel(stop)
		<-r.Context().Done()
		return true
	}
	if _, err := fetcher(t, chartrepo.Options{}).Archive(ctx, s.URL, "web", "1.2.3"); !errors.Is(err, stop) {
		t.Error(err)
	}
}

package git_test

import (
	"context"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// gitConfig writes a user's configuration and returns their environment.
func gitConfig(t *testing.T, content string, more ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gitconfig")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return testworld.Environ(append(more, "GIT_CONFIG_GLOBAL="+file)...)
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	const secret = "s3cret"
	const header = "AUTHORIZATION: basic Ym90OnMzY3JldA==" // bot:s3cret
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, []byte("machine other login a password b\nmachine 127.0.0.1\n  login bot password "+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user    string
		config  string // URL is replaced by the server's
		environ []string
		url     func(string) string
	}{
		"userinfo":    {user: "bot", url: func(u string) string { return strings.Replace(u, "://", "://bot:"+secret+"@", 1) }},
		"insteadOf":   {user: "bot", config: "[url \"http://bot:" + secret + "@HOST/\"]\n insteadOf = gh:\n", url: func(string) string { return "gh:repo.git" }},
		"token":       {user: "x-access-token", environ: []string{"LOCKAGE_GIT_TOKEN=" + secret}},
		"extraheader": {user: "bot", config: "[http \"URL/\"]\n extraheader = " + header + "\n"},
		"netrc":       {user: "bot", environ: []string{"NETRC=" + netrc}},
		"helper":      {user: "bot", config: "[credential]\n helper = \"!f() { echo username=bot; echo password=" + secret + "; }; f\"\n"},
		"header before token": {
			user: "bot", environ: []string{"LOCKAGE_GIT_TOKEN=wrong"},
			config: "[http \"URL/\"]\n extraheader = " + header + "\n",
		},
		"another header beside a token": {
			user: "x-access-token", environ: []string{"LOCKAGE_GIT_TOKEN=" + secret},
			config: "[http \"URL/\"]\n extraheader = X-Trace: on\n",
		},
		"empty value resets": {
			user:   "bot",
			config: "[http]\n extraheader = AUTHORIZATION: basic d3Jvbmc6d3Jvbmc=\n extraheader =\n[http \"URL/\"]\n extraheader = " + header + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, full...)
			s.faults = append(s.faults, basicAuth(c.user, secret))
			config := strings.NewReplacer("URL", s.URL, "HOST", s.Listener.Addr().String()).Replace(c.config)
			opts := testworld.GitOptions(t)
			opts.Environ = gitConfig(t, config, c.environ...)
			url := s.url()
			if c.url != nil {
				url = c.url(url)
			}
			remote := openRemote(t, url, opts)
			if remote.URL() != s.url() {
				t.Errorf("URL %q, want %q", remote.URL(), s.url())
			}
			if _, err := remote.Snapshot(t.Context(), head); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCheckoutHeader is what actions/checkout leaves: a header in the
// repository's own configuration, used for other repositories of that host.
func TestCheckoutHeader(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.faults = append(s.faults, basicAuth("bot", "s3cret"))
	gitops, _ := testworld.Checkout(t, chart)
	testworld.Git(t, gitops, "config", "http."+s.URL+"/.extraheader", "AUTHORIZATION: basic Ym90OnMzY3JldA==")
	remote, err := openRepository(t, gitops, testworld.GitOptions(t)).Remote(t.Context(), s.url())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Snapshot(t.Context(), head); err != nil {
		t.Error(err)
	}
}

func TestWithoutGitCommand(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.faults = append(s.faults, basicAuth("bot", "s3cret"))
	opts := testworld.GitOptions(t)
	home := t.TempDir()
	opts.Environ = []string{"PATH=" + t.TempDir(), "HOME=" + home}
	testworld.Write(t, home, map[string]string{".gitconfig": "[http \"" + s.URL + "/\"]\n\textraHeader = AUTHORIZATION: basic Ym90OnMzY3JldA==\n"})
	if _, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head); err != nil {
		t.Error(err)
	}
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.faults = append(s.faults, basicAuth("bot", "right"))
	opts := testworld.GitOptions(t, "LOCKAGE_GIT_TOKEN=wr0ng")
	_, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head)
	wantError(t, err, "authentication failed", "LOCKAGE_GIT_TOKEN", s.url(), "!wr0ng")
	if n := s.seen(); n != 1 {
		t.Errorf("%d requests with credentials that were refused", n)
	}
}

// TestRedirects: the first request may be redirected to another host, credentials not.
func TestRedirects(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" || r.Header.Get("X-Secret") == "" {
			http.Error(w, "credentials are missing", http.StatusForbidden)
			return
		}
		http.Redirect(w, r, s.URL+strings.TrimPrefix(r.URL.Path, "/old")+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
	}))
	t.Cleanup(front.Close)
	opts := testworld.GitOptions(t)
	opts.Environ = gitConfig(t, "[http \""+front.URL+"/\"]\n extraheader = X-Secret: s3cret\n", "LOCKAGE_GIT_TOKEN=s3cret")
	if _, err := openRemote(t, front.URL+"/old/repo.git", opts).Snapshot(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	for _, h := range s.headers {
		if h.Get("Authorization") != "" || h.Get("X-Secret") != "" {
			t.Errorf("credentials went to another host: %v", h)
		}
	}
	login := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/login", http.StatusFound))
	t.Cleanup(login.Close)
	_, err := openRemote(t, login.URL+"/repo.git", testworld.GitOptions(t)).Snapshot(t.Context(), head)
	wantError(t, err, "redirected", "/login")
}

func TestRetries(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	for _, status := range []int{429, 502, 503, 504} {
		s := serve(t, dir, full...)
		var n atomic.Int64
		s.faults = append(s.faults, func(w http.ResponseWriter, _ *http.Request) bool {
			if n.Add(1)%2 == 0 {
				return false
			}
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(status)
			return true
		})
		if _, err := testworld.Remote(t, s.url()).Snapshot(t.Context(), head); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
	s := serve(t, dir, full...)
	s.faults = append(s.faults, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := testworld.Remote(t, s.url()).Snapshot(t.Context(), head)
	wantError(t, err, "HTTP 503", s.url())
	if n := s.seen(); n != 4 {
		t.Errorf("%d attempts", n)
	}
}

// TestTruncatedPack breaks the connection in the middle of the first pack.
func TestTruncatedPack(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	var n atomic.Int64
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || n.Add(1) > 1 {
			return false
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("000dpackfile\n0015\x01PACK\x00\x00\x00"))
		return true
	})
	if _, err := testworld.Remote(t, s.url()).Snapshot(t.Context(), head); err != nil {
		t.Fatal(err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.faults = append(s.faults, func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	if _, err := testworld.Remote(t, s.url()).Snapshot(ctx, head); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	for status, part := range map[int]string{
		401: "LOCKAGE_GIT_TOKEN", 403: "access denied", 404: "no such repository", 500: "HTTP 500", 200: "not git's",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>\x1b[31m"))
		}))
		_, _, err := openRemote(t, s.URL+"/repo.git", testworld.GitOptions(t)).Tip(t.Context(), "")
		wantError(t, err, part, s.URL, "!\x1b")
		s.Close()
	}
	_, _, err := openRemote(t, "http://user:s3cret@127.0.0.1:1/repo.git", testworld.GitOptions(t)).Tip(t.Context(), "")
	wantError(t, err, "127.0.0.1:1", "refused", "!s3cret")
}

func TestCertificateAuthority(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serveTLS(t, dir, full...)
	_, err := testworld.Remote(t, s.url()).Snapshot(t.Context(), head)
	wantError(t, err, "certificate", s.url())

	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := testworld.GitOptions(t)
	opts.Environ = gitConfig(t, "[http \""+s.URL+"\"]\n sslCAInfo = "+ca+"\n")
	if _, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head); err != nil {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://user:p@example.com/a.git/":  "https://example.com/a.git",
		"git@example.com:acme/app.git":       "ssh://example.com/acme/app.git",
		"ssh://git@example.com:2222/app.git": "ssh://example.com:2222/app.git",
	} {
		if got := testworld.Remote(t, raw).URL(); got != want {
			t.Errorf("%q is %q, want %q", raw, got, want)
		}
	}
	for raw, part := range map[string]string{
		"":                               "empty",
		"ftp://user:s3cret@example.com/": "ftp",
		"https://user:s3/cret@exa mple/": "invalid URL",
		"https://":                       "has no host",
		"ext::sh -c touch":               "remote helpers",
	} {
		_, err := git.OpenRemote(t.Context(), raw, testworld.GitOptions(t))
		wantError(t, err, part, "!s3cret", "!s3", "!cret")
	}
}

package git_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	folder := t.TempDir()
	testworld.Write(t, folder, map[string]string{
		"quoted":  "machine \"127.0.0.1\" # of the team\n login bot password \"s3\\cret\"\n",
		"several": "machine 127.0.0.1 login alice password wrong\nmachine 127.0.0.1 login bot password " + secret + "\n",
		"askpass": "#!/bin/sh\ncase $1 in Username*) echo bot;; Password*bot@*|Password*) echo " + secret + ";; esac\n",
	})
	quoted, several, askpass := filepath.Join(folder, "quoted"), filepath.Join(folder, "several"), filepath.Join(folder, "askpass")
	if err := os.Chmod(askpass, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user    string
		config  string // URL is replaced by the server's
		environ []string
		url     func(string) string
	}{
		"userinfo":      {user: "bot", url: func(u string) string { return strings.Replace(u, "://", "://bot:"+secret+"@", 1) }},
		"insteadOf":     {user: "bot", config: "[url \"http://bot:" + secret + "@HOST/\"]\n insteadOf = gh:\n", url: func(string) string { return "gh:repo.git" }},
		"token":         {user: "x-access-token", environ: []string{"LOCKAGE_GIT_TOKEN=" + secret}},
		"extraheader":   {user: "bot", config: "[http \"URL/\"]\n extraheader = " + header + "\n"},
		"netrc":         {user: "bot", environ: []string{"NETRC=" + netrc}},
		"helper":        {user: "bot", config: "[credential]\n helper = \"!f() { echo username=bot; echo password=" + secret + "; }; f\"\n"},
		"netrc, quoted": {user: "bot", config: "", environ: []string{"NETRC=" + quoted}},
		"netrc of the user in the URL": {
			user: "bot", environ: []string{"NETRC=" + several}, url: func(u string) string { return strings.Replace(u, "://", "://bot@", 1) },
		},
		"askpass":             {user: "bot", environ: []string{"GIT_ASKPASS=" + askpass}},
		"askpass, configured": {user: "bot", config: "[core]\n askPass = " + askpass + "\n"},
		"askpass of a user": {
			user: "bot", environ: []string{"GIT_ASKPASS=" + askpass}, url: func(u string) string { return strings.Replace(u, "://", "://bot@", 1) },
		},
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

func TestHTTPServerByHTTPS(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	_, err := openRemote(t, strings.Replace(s.url(), "http:", "https:", 1), testworld.GitOptions(t)).Snapshot(t.Context(), head)
	wantError(t, err, "the server speaks HTTP", "check its port and scheme")
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.faults = append(s.faults, basicAuth("bot", "right"))
	opts := testworld.GitOptions(t, "LOCKAGE_GIT_TOKEN=wr0ng")
	_, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head)
	wantError(t, err, "authentication failed", "the server refuses the credentials of LOCKAGE_GIT_TOKEN", s.url(), "!wr0ng")
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

// TestUpgrade reads a repository at an http URL whose server leads to https, and wants a password there. A proxy leads to both.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serveTLS(t, dir, full...)
	s.faults = append(s.faults, basicAuth("x-access-token", "s3cret"))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case r.Header.Get("Proxy-Authorization") != "Basic cHJveHk6cEBzcw==": // proxy:p@ss
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		case r.Method == http.MethodConnect:
			tunnel(t, w, s.Listener.Addr().String())
		case password == "s3cret":
			t.Errorf("%s got the password of %s by plain HTTP", r.Host, user)
		default:
			http.Redirect(w, r, "https://"+r.Host+r.URL.RequestURI(), http.StatusMovedPermanently)
		}
	}))
	t.Cleanup(front.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	proxy := strings.Replace(front.URL, "://", "://proxy:p%40ss@", 1)
	config := "[http]\n sslCAInfo = " + ca + "\n proxy = " + proxy + "\n"
	helper := "[credential \"https://example.com\"]\n helper = \"!f() { echo username=x-access-token; echo password=s3cret; }; f\"\n"
	for name, environ := range map[string][]string{
		"token":  gitConfig(t, config, "LOCKAGE_GIT_TOKEN=s3cret"),
		"helper": gitConfig(t, config+helper),
	} {
		opts := testworld.GitOptions(t)
		opts.Environ = environ
		if _, err := openRemote(t, "http://example.com/repo.git", opts).Snapshot(t.Context(), head); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A server that fails once: what is known for https is not sent to http when all begins again.
	var failed atomic.Bool
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if failed.Swap(true) {
			return false
		}
		http.Error(w, "not now", http.StatusBadRequest)
		return true
	})
	again := testworld.GitOptions(t)
	again.Environ = gitConfig(t, config+helper)
	remote := openRemote(t, "http://example.com/repo.git", again)
	_, err := remote.Snapshot(t.Context(), head)
	wantError(t, err, "HTTP 400")
	if _, err := remote.Snapshot(t.Context(), head); err != nil {
		t.Error(err)
	}
	opts := testworld.GitOptions(t)
	opts.Environ = gitConfig(t, strings.Replace(config, "p%40ss", "wr0ng", 1))
	_, err = openRemote(t, "http://example.com/repo.git", opts).Snapshot(t.Context(), head)
	wantError(t, err, "http.proxy", "407", "!wr0ng")
}

// tunnel connects a client of a proxy with an address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	to, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Error(err)
		return
	}
	w.WriteHeader(http.StatusOK)
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		defer func() { _ = to.Close() }()
		_, _ = io.Copy(to, from)
	}()
	defer func() { _ = from.Close() }()
	_, _ = io.Copy(from, to)
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

// TestEndedStreams reads from a server of HTTP/2 that ends the stream of the first request of each kind.
func TestEndedStreams(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := newServer(t, dir, full...)
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	var ended sync.Map
	s.faults = append(s.faults, func(_ http.ResponseWriter, r *http.Request) bool {
		if _, again := ended.LoadOrStore(r.Method, true); !again {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := testworld.GitOptions(t, "GIT_SSL_CAINFO="+ca)
	if _, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head); err != nil {
		t.Fatal(err)
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

package git_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

// TestProxies asks a server whose repository a second one has, too, in the role of a proxy.
func TestProxies(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	for name, c := range map[string]struct {
		url     string            // "" for the server's
		config  map[string]string // PROXY is replaced by the proxy's URL, HOST by the server's host
		environ []string
		proxied bool
		fails   string
	}{
		"none":                     {},
		"configured":               {config: map[string]string{"http.proxy": "PROXY"}, proxied: true},
		"without scheme":           {config: map[string]string{"http.proxy": "PROXYHOST"}, proxied: true},
		"of this URL":              {config: map[string]string{"http.http://HOST/.proxy": "PROXY"}, proxied: true},
		"of another URL":           {config: map[string]string{"http.http://other.example.com/.proxy": "PROXY"}},
		"of the remote":            {config: map[string]string{"http.proxy": "", "remote.origin.proxy": "PROXY"}, proxied: true},
		"none for the remote":      {config: map[string]string{"http.proxy": "PROXY", "remote.origin.proxy": ""}},
		"none for this URL":        {config: map[string]string{"http.proxy": "PROXY", "http.http://HOST/.proxy": ""}},
		"spared":                   {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"NO_PROXY=a.example.com, 127.0.0.1"}},
		"spared, in lower case":    {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"no_proxy=127.0.0.1"}},
		"spared with its port":     {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"NO_PROXY=HOST"}},
		"spared with another port": {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"NO_PROXY=127.0.0.1:1"}, proxied: true},
		"spared as a network":      {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"NO_PROXY=127.0.0.0/8"}},
		"all spared":               {config: map[string]string{"remote.origin.proxy": "PROXY"}, environ: []string{"NO_PROXY=*"}},
		"others spared":            {config: map[string]string{"http.proxy": "PROXY"}, environ: []string{"NO_PROXY=7.0.0.1,example.com"}, proxied: true},
		"environment":              {url: "http://git.invalid/repo.git", environ: []string{"http_proxy=PROXY"}, proxied: true},
		"environment, capitals":    {url: "http://git.invalid/repo.git", environ: []string{"HTTP_PROXY=PROXY"}, proxied: true},
		"environment, all":         {url: "http://git.invalid/repo.git", environ: []string{"ALL_PROXY=PROXY"}, proxied: true},
		"environment, loopback":    {environ: []string{"http_proxy=PROXY"}},
		"environment, other":       {url: "http://git.invalid/repo.git", environ: []string{"https_proxy=PROXY"}, fails: "git.invalid"},
		"environment, spared":      {url: "http://git.invalid/repo.git", environ: []string{"http_proxy=PROXY", "NO_PROXY=.invalid"}, fails: "lookup git.invalid"},
		"empty before environment": {url: "http://git.invalid/repo.git", config: map[string]string{"http.http://git.invalid/.proxy": ""}, environ: []string{"http_proxy=PROXY"}, fails: "lookup git.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, proxy := serve(t, dir, full...), serve(t, dir, full...)
			replace := strings.NewReplacer("PROXYHOST", proxy.Listener.Addr().String(), "PROXY", proxy.URL, "HOST", s.Listener.Addr().String()).Replace
			checkout, _ := testworld.Checkout(t, nil)
			url := c.url
			if url == "" {
				url = s.url()
			}
			testworld.Git(t, checkout, "remote", "add", "origin", url)
			for key, value := range c.config {
				testworld.Git(t, checkout, "config", replace(key), replace(value))
			}
			environ := make([]string, 0, len(c.environ))
			for _, e := range c.environ {
				key, value, _ := strings.Cut(e, "=")
				environ = append(environ, key+"="+replace(value))
			}
			remote, err := openRepository(t, checkout, testworld.GitOptions(t, environ...)).Remote(t.Context(), "origin")
			if err != nil {
				t.Fatal(err)
			}
			_, err = remote.Snapshot(t.Context(), head)
			if c.fails != "" {
				wantError(t, err, c.fails, "!proxyconnect")
			} else if err != nil {
				t.Fatal(err)
			}
			if got := proxy.seen() > 0; got != c.proxied {
				t.Errorf("the proxy was asked: %v, want %v", got, c.proxied)
			}
		})
	}
}

// certificate makes a key and a certificate that it signs itself, in one file.
func certificate(t *testing.T) (file string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "client.pem")
	content := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})...)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, cert
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serveTLS(t, dir, full...)
	folder := t.TempDir()
	ca := filepath.Join(folder, "0a1b2c3d.0")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	for name, data := range map[string][]byte{ca: content, filepath.Join(folder, "README"): []byte("no certificate")} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(config string, environ ...string) error {
		opts := testworld.GitOptions(t)
		opts.Environ = gitConfig(t, config, environ...)
		remote, err := git.OpenRemote(t.Context(), s.url(), opts)
		if err == nil {
			_, err = remote.Snapshot(t.Context(), head)
		}
		return err
	}
	for _, config := range []string{"[http]\n sslCAInfo = " + ca, "[http]\n sslCAPath = " + folder, "[http \"" + s.URL + "/\"]\n sslCAPath = " + folder} {
		if err := read(config); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	}
	for _, environ := range []string{"GIT_SSL_CAINFO=" + ca, "GIT_SSL_CAPATH=" + folder} {
		if err := read("", environ); err != nil {
			t.Errorf("%s: %v", environ, err)
		}
	}
	for _, config := range []string{"", "[http]\n sslVerify = false", "[http]\n sslCAPath = " + t.TempDir()} {
		wantError(t, read(config), "http.sslCAInfo (GIT_SSL_CAINFO)", "http.sslCAPath", s.url())
	}
	other, _ := certificate(t)
	wantError(t, read("[http]\n sslCAInfo = "+other), "in place of the system's authorities", "http.<url>.sslCAInfo", s.url())
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	file, cert := certificate(t)
	s := newServer(t, dir, full...)
	s.Server = httptest.NewUnstartedServer(s)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	read := func(config string, environ ...string) error {
		opts := testworld.GitOptions(t)
		opts.Environ = gitConfig(t, "[http]\n sslCAInfo = "+ca+"\n"+config, environ...)
		remote, err := git.OpenRemote(t.Context(), s.url(), opts)
		if err == nil {
			_, err = remote.Snapshot(t.Context(), head)
		}
		return err
	}
	wantError(t, read(""), "http.sslCert", s.url())
	if n := s.seen(); n != 0 {
		t.Errorf("%d requests without a certificate", n)
	}
	if err := read("sslCert = " + file + "\n"); err != nil {
		t.Error(err)
	}
	if err := read("sslCert = "+file+"\nsslKey = /nonexistent\n", "GIT_SSL_KEY="+file); err != nil {
		t.Error(err)
	}
	locked := filepath.Join(t.TempDir(), "locked.pem")
	if err := os.WriteFile(locked, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, read("sslCert = "+file+"\nsslKey = "+locked+"\n"), "http.sslKey", "has a password")
	wantError(t, read("sslCert = "+ca+"\n"), "http.sslCert "+ca)
}

func TestNoRedirects(t *testing.T) {
	t.Parallel()
	front := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/repo.git/info/refs", http.StatusFound))
	t.Cleanup(front.Close)
	opts := testworld.GitOptions(t)
	opts.Environ = gitConfig(t, "[http]\n followRedirects = false\n")
	_, _, err := openRemote(t, front.URL+"/repo.git", opts).Tip(t.Context(), "")
	wantError(t, err, "http.followRedirects", "http://127.0.0.1:1/repo.git")
}

// TestFurtherCredentials pushes to a server that gives those who may only read one answer, and to which several credentials are known.
func TestFurtherCredentials(t *testing.T) {
	t.Parallel()
	dir, _ := testworld.Checkout(t, chart)
	netrc := func(t *testing.T, password string) string {
		file := filepath.Join(t.TempDir(), "netrc")
		if err := os.WriteFile(file, []byte("default login bot password "+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return "NETRC=" + file
	}
	helper := func(password string) string {
		return "[credential]\n helper = \"!f() { test $1 = get && echo username=bot && echo password=" + password + "; }; f\"\n"
	}
	const header = "[http]\n extraheader = AUTHORIZATION: basic Ym90OnJv\n" // bot:ro
	for name, c := range map[string]struct {
		config  string
		environ func(t *testing.T) []string
		refused bool
	}{
		"token and helper":               {config: helper("rw"), environ: func(*testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=ro"} }},
		"token and netrc":                {environ: func(t *testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=ro", netrc(t, "rw")} }},
		"token, netrc and helper":        {config: helper("rw"), environ: func(t *testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=ro", netrc(t, "ro")} }},
		"netrc and helper":               {config: helper("rw"), environ: func(t *testing.T) []string { return []string{netrc(t, "ro")} }},
		"header and helper":              {config: header + helper("rw"), environ: func(*testing.T) []string { return nil }},
		"header and netrc":               {config: header, environ: func(t *testing.T) []string { return []string{netrc(t, "rw")} }},
		"wrong token and helper":         {config: helper("rw"), environ: func(*testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=wrong"} }},
		"token":                          {environ: func(*testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=ro"} }, refused: true},
		"token and helper, both to read": {config: helper("ro"), environ: func(*testing.T) []string { return []string{"LOCKAGE_GIT_TOKEN=ro"} }, refused: true},
	} {
		for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, dir, append([]string{"http.receivepack=true"}, full...)...)
				s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
					_, password, _ := r.BasicAuth()
					switch {
					case password != "ro" && password != "rw":
						w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
						http.Error(w, "who are you?", http.StatusUnauthorized)
					case password == "ro" && strings.Contains(r.URL.String(), "receive-pack"):
						http.Error(w, "not you", status)
					default:
						return false
					}
					return true
				})
				opts := testworld.GitOptions(t)
				opts.Environ = gitConfig(t, c.config, c.environ(t)...)
				remote := openRemote(t, s.url(), opts)
				d := draft(t, remote, "main")
				replace(t, d, "a", map[string][]byte{"x": []byte("x\n")})
				err := remote.Push(t.Context(), git.Update{Branch: "main", Draft: d})
				if c.refused {
					wantError(t, err, fmt.Sprint("HTTP ", status), s.url())
				} else if err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestHelpers reads from a server that knows one password, with a helper that gives an old one until it is asked to erase it.
func TestHelpers(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	for name, c := range map[string]struct {
		fresh string // what the helper gives after the old one was erased
		calls string
		fails bool
	}{
		"another": {fresh: "new", calls: "get old, erase old, get new, store new"},
		"none":    {fresh: "", calls: "get old, erase old, get", fails: true},
		"wrong":   {fresh: "wrong", calls: "get old, erase old, get wrong, erase wrong", fails: true},
		"same":    {fresh: "old", calls: "get old, erase old, get old", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, dir, full...)
			s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
				_, password, _ := r.BasicAuth()
				if password == "new" {
					return false
				}
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return true
			})
			folder := t.TempDir()
			current, calls := filepath.Join(folder, "current"), filepath.Join(folder, "calls")
			program(t, filepath.Join(folder, "helper"), `given=$(sed -n 's/^password=//p')
case $1 in
get) given=$(cat `+current+`); test "$given" && printf 'username=bot\npassword=%s\n' "$given" ;;
erase) printf %s '`+c.fresh+`' >`+current+` ;;
esac
echo $1 $given >>`+calls+"\n")
			if err := os.WriteFile(current, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			opts := testworld.GitOptions(t)
			opts.Environ = gitConfig(t, "[credential]\n helper = "+filepath.Join(folder, "helper")+"\n")
			_, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head)
			if c.fails {
				wantError(t, err, "HTTP 401", "!wrong")
			} else if err != nil {
				t.Error(err)
			}
			got, err := os.ReadFile(calls)
			if got := strings.ReplaceAll(strings.TrimSpace(string(got)), "\n", ", "); err != nil || got != c.calls {
				t.Errorf("the helper was asked %q, want %q (%v)", got, c.calls, err)
			}
		})
	}
}

// TestHelperOfLaterGit lets git answer as it does from 2.46 on, with the header itself, and looks at what git is given.
func TestHelperOfLaterGit(t *testing.T) {
	t.Parallel()
	dir, head := testworld.Checkout(t, chart)
	s := serve(t, dir, full...)
	s.faults = append(s.faults, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer t0k" {
			return false
		}
		w.Header().Add("WWW-Authenticate", `Bearer authorization_uri="https://login.example.com"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	installed, err := exec.LookPath("git")
	if err != nil {
		t.Skip(err) // a system without git, which the test puts a program of its own before
	}
	folder := t.TempDir()
	asked := filepath.Join(folder, "asked")
	const answer = "capability[]=authtype\ncapability[]=state\nauthtype=Bearer\ncredential=t0k\nephemeral=1\nstate[]=a.b=1\n"
	program(t, filepath.Join(folder, "git"), `case "$1 $2" in
"credential fill") printf '`+strings.ReplaceAll(answer, "\n", `\n`)+`' ;;
credential*) ;;
*) exec `+installed+` "$@" ;;
esac
{ echo "$2"; cat; } >>`+asked+"\n")
	opts := testworld.GitOptions(t)
	opts.Environ = gitConfig(t, "", "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	if _, err := openRemote(t, s.url(), opts).Snapshot(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(asked)
	want := "fill\ncapability[]=authtype\ncapability[]=state\nprotocol=http\nhost=" + s.Listener.Addr().String() + "\npath=repo.git\n" +
		"wwwauth[]=Bearer authorization_uri=\"https://login.example.com\"\nwwwauth[]=Basic realm=\"git\"\n\napprove\n" + answer
	if string(content) != want || err != nil {
		t.Errorf("git was asked\n%s\nwant\n%s(%v)", content, want, err)
	}
}

// program writes a shell script that runs.
func program(t *testing.T, path, script string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
}

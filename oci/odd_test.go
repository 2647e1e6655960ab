package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/quirks"
	"github.com/lockage/lockage/oci/registry"
)

// odd starts a registry with quirks, and returns its host and the requests that it gets.
func odd(t *testing.T, names ...string) (host string, requests func(part string) int) {
	t.Helper()
	handler := registry.New(registry.Options{Deletes: true})
	var quirky *quirks.Registry
	var mu sync.Mutex
	var log []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		log = append(log, r.Method+" "+r.URL.Path+" "+scheme)
		mu.Unlock()
		quirky.ServeHTTP(w, r)
	}))
	host = strings.TrimPrefix(server.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	var err error
	if quirky, err = quirks.New(handler, quirks.Options{Switches: names, Storage: "localhost:" + port}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Close()
		_ = handler.Close()
		for _, wrong := range quirky.Wrongs() {
			t.Error(wrong)
		}
		for _, name := range names {
			if !slices.Contains(quirky.Fired(), name) {
				t.Errorf("%s changed no answer", name)
			}
		}
	})
	return host, func(part string) int {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, line := range log {
			if strings.Contains(line, part) {
				n++
			}
		}
		return n
	}
}

// known is the options of a client that knows the password.
func known() Options {
	return Options{Credentials: login(quirks.User, quirks.Password), MaxRetryWait: time.Millisecond}
}

// TestQuirks does all that a repository can do over registries with one quirk each, open ones and those with a token service, over
// those that forget an upload and take a blob in one of two ways only, and over those whose storage moves writes.
func TestQuirks(t *testing.T) {
	t.Parallel()
	for _, name := range quirks.Names() {
		combined := [][]string{{name}, {name, "bearer"}}
		switch name {
		case "no-mounts":
			combined = combined[:1] // a token is for one repository
		case "separate-upload":
			combined = append(combined, []string{name, "lost-uploads"})
		case "uploads-moved":
			combined = append(combined, []string{name, "writes-moved", "signed-uploads"})
		}
		for _, on := range combined {
			t.Run(strings.Join(on, " "), func(t *testing.T) {
				t.Parallel()
				host, _ := odd(t, on...)
				useQuirky(t, host+"/acme/app", name != "no-deletes", name != "immutable-tags")
			})
		}
	}
}

// TestRefusedQuirks meets each quirk that lockage does not work with, and says what the registry refuses.
func TestRefusedQuirks(t *testing.T) {
	t.Parallel()
	for _, name := range quirks.Refused() {
		host, _ := odd(t, name)
		r := open(t, host+"/acme/app", known())
		a := mustPack(t, sample(), nil)
		push(t, r, a)
		err := r.Tag(t.Context(), a.Descriptor, "b")
		if err == nil {
			err = errors.Join(r.Tag(t.Context(), a.Descriptor, "b"), r.Attach(t.Context(), a.Descriptor, proof("x")))
		}
		want := map[string]string{
			"frozen-tags": "acme/app:b: HTTP 409 Conflict: denied: tags of this repository are immutable; exclude this tag from the registry's immutability rule",
			"no-bundles":  "unknown media type",
		}[name]
		if err == nil || want == "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func useQuirky(t *testing.T, name string, deletes, again bool) {
	t.Helper()
	client := NewClient(known())
	r, err := client.Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	other, err := client.Repository(name + "-copy")
	if err != nil {
		t.Fatal(err)
	}
	a := mustPack(t, sample(), nil)
	if d, err := r.Lookup(t.Context(), "absent"); err != nil || d != "" {
		t.Errorf("absent: %s, %v", d, err)
	}
	push(t, r, a)
	push(t, other, a)
	tags := []string{"a.git-1", "a.git-2", "a.git-3", "b", "c.git-1"}
	if err := r.Tag(t.Context(), a.Descriptor, tags...); err != nil {
		t.Fatal(err)
	}
	if err := r.Attach(t.Context(), a.Descriptor, proof("x"), proof("y"), proof("z")); err != nil {
		t.Fatal(err)
	}
	moves := TagsOf("a", a.Descriptor.Digest, "git-1", a.Descriptor.Digest)
	for i, tag := range []string{moves.Hydration, moves.Hydration, moves.Image, moves.Image, moves.Candidate, "b"} {
		err := r.Tag(t.Context(), a.Descriptor, tag)
		if want := again || i != 1; (err == nil) != want {
			t.Errorf("%s: %v", tag, err)
		}
	}
	r = open(t, name, known())
	if d, err := r.Lookup(t.Context(), "b"); err != nil || d != a.Descriptor.Digest {
		t.Errorf("b names %s, %v", d, err)
	}
	if got, err := r.Tags(t.Context(), "a.git-"); err != nil || len(got) != 3 {
		t.Errorf("tags %q, %v", got, err)
	}
	if got, err := r.Referrers(t.Context(), a.Descriptor, testType); err != nil || len(got) != 3 {
		t.Errorf("referrers %v, %v", got, err)
	}
	if _, err := r.ReadTree(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if err := r.DeleteManifest(t.Context(), a.Descriptor.Digest); (err == nil) != deletes {
		t.Errorf("delete: %v", err)
	}
}

// TestCredentialsStayAtHome redirects to other origins, also to another port of the same host, and back, what is read and what is written.
func TestCredentialsStayAtHome(t *testing.T) {
	t.Parallel()
	for n, other := range []string{"https://r.example:8443", "https://store.example", "https://r.example:8443", "https://store.example"} {
		status, writes := http.StatusTemporaryRedirect, n > 1
		if writes {
			status = http.StatusMovedPermanently
		}
		var visited []string
		options := known()
		options.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			at := req.URL.Scheme + "://" + req.URL.Host
			visited = append(visited, at)
			switch sent := req.Header.Get("Authorization"); {
			case sent != "" && (at != "https://r.example" || req.URL.Path == "/back"):
				t.Errorf("%s got credentials", req.URL)
			case req.URL.Path == "/away":
				return answer(req, status, "", "Location", "https://r.example/back"), nil
			case req.URL.Path == "/back":
				return answer(req, 404, ""), nil
			case sent == "":
				return answer(req, 401, "", "WWW-Authenticate", "Basic"), nil
			}
			return answer(req, status, "", "Location", other+"/away"), nil
		})
		r := open(t, "r.example/acme/app", options)
		_, _, err := r.Manifest(t.Context(), "t")
		if writes {
			visited = nil
			err = r.backend.pushManifest(t.Context(), describe("application/vnd.oci.image.manifest.v1+json", []byte("{}")), []byte("{}"))
		}
		if want := 4 - n/2; !isNotFound(err) || len(visited) != want { // the password is not held back a second time
			t.Errorf("%v by way of %q", err, visited)
		}
	}
}

// TestOneAuthentication counts: a token is asked for once to read, and once more to write; a password is not held back from the second
// repository on, and nothing is sent twice because of it.
func TestOneAuthentication(t *testing.T) {
	t.Parallel()
	const repositories, blobs = 3, 2
	for name, want := range map[string]struct{ tokens, without int }{"bearer": {2 * repositories, repositories}, "basic": {0, 1}} {
		host, requests := odd(t, name)
		client := NewClient(known())
		for i := range repositories {
			r, err := client.Repository(fmt.Sprintf("%s/acme/app%d", host, i))
			if err != nil {
				t.Fatal(err)
			}
			a := mustPack(t, sample(), nil)
			for range 3 {
				if _, err := r.Lookup(t.Context(), "t"); err != nil {
					t.Fatal(err)
				}
			}
			push(t, r, a)
			if err := r.Tag(t.Context(), a.Descriptor, "t"); err != nil {
				t.Fatal(err)
			}
		}
		tokens, uploads := requests("/token"), requests("POST ")
		if without := requests("") - requests(" Bearer") - requests(" Basic"); tokens != want.tokens || without != want.without || uploads != repositories*blobs {
			t.Errorf("%s: %d tokens, %d requests without one, %d uploads; want %+v", name, tokens, without, uploads, want)
		}
	}
}

// TestDeniedOrAbsent distinguishes a manifest that does not exist from one that the account may not read.
func TestDeniedOrAbsent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list   int
		absent bool
	}{"may list": {200, true}, "no repository": {404, true}, "may not read": {403, false}, "who is it": {401, false}} {
		r := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if path.Base(req.URL.Path) == "list" {
				return answer(req, c.list, `{"tags":[]}`), nil
			}
			return answer(req, 403, `{"errors":[{"code":"DENIED"}]}`), nil
		})})
		for what, look := range map[string]func() error{
			"resolve":  func() error { _, err := r.Resolve(t.Context(), "t"); return err },
			"manifest": func() error { _, _, err := r.Manifest(t.Context(), "t"); return err },
			"referrers": func() error {
				_, err := r.Referrers(context.Background(), mustPack(t, sample(), nil).Descriptor, "")
				return err
			},
		} {
			err := look()
			if what == "referrers" && c.absent {
				if err != nil {
					t.Errorf("%s: %s: %v", name, what, err)
				}
				continue
			}
			if isNotFound(err) != c.absent || !strings.Contains(err.Error(), "403 Forbidden") || strings.Contains(err.Error(), "docker login") == c.absent {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
}

// TestNextPage follows links as registries and proxies write them, to the registry alone.
func TestNextPage(t *testing.T) {
	t.Parallel()
	for link, want := range map[string]string{
		"": "",
		`</v2/a/tags/list?last=x&n=2>; rel="next"`:                 "https://r.example/v2/a/tags/list?last=x&n=2",
		`<http://inner:5000/v2/a/tags/list?last=x>;rel=next`:       "https://r.example/v2/a/tags/list?last=x",
		`<https://evil.example/v2/a/tags/list?last=x>; rel="NEXT"`: "https://r.example/v2/a/tags/list?last=x",
		`<?last=x>`: "https://r.example/v2/a/tags/list?last=x",
		`</first>; rel="first", </v2/a/tags/list?last=x>; rel="next"`: "https://r.example/v2/a/tags/list?last=x",
		`</first>; rel="first"`: "",
		`nonsense`:              "",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.example/v2/a/tags/list?n=2", nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := reply{url: req.URL, header: http.Header{"Link": {link}}}.next()
		got := ""
		if u != nil {
			got = u.String()
		}
		if err != nil || got != want {
			t.Errorf("%s: %s, want %s; %v", link, got, want, err)
		}
	}
}

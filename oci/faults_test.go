package oci

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci/registry"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answer makes a response as a registry would.
func answer(req *http.Request, status int, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: h,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req, ProtoMajor: 1,
	}
}

// TestPassingFaults fails every request once, each time in another way, and finds
// the artifact complete nonetheless.
func TestPassingFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]func(*http.Request) (*http.Response, error){
		"500": func(r *http.Request) (*http.Response, error) { return answer(r, 500, ""), nil },
		"503 with Retry-After": func(r *http.Request) (*http.Response, error) {
			return answer(r, 503, "", "Retry-After", "0"), nil
		},
		"429": func(r *http.Request) (*http.Response, error) { return answer(r, 429, ""), nil },
		"408": func(r *http.Request) (*http.Response, error) { return answer(r, 408, ""), nil },
		"reset": func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("read tcp: %w", syscall.ECONNRESET)
		},
		"EOF": func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen sync.Map
			var failed atomic.Int32
			flaky := roundTripper(func(req *http.Request) (*http.Response, error) {
				if _, again := seen.LoadOrStore(req.Method+req.URL.String(), true); !again {
					if req.Body != nil { // the request was sent, the answer lost
						_, _ = io.Copy(io.Discard, req.Body)
					}
					failed.Add(1)
					return fault(req)
				}
				return http.DefaultTransport.RoundTrip(req)
			})
			host := serve(t, registry.Options{})
			r := open(t, host+"/acme/app", Options{Transport: flaky, MaxRetryWait: time.Millisecond})
			a := mustPack(t, sample(), nil)
			push(t, r, a)
			if err := r.Tag(t.Context(), a.Descriptor, "t"); err != nil {
				t.Fatal(err)
			}
			if err := r.Attach(t.Context(), a.Descriptor, proof("x")); err != nil {
				t.Fatal(err)
			}
			if failed.Load() < 8 {
				t.Errorf("only %d faults", failed.Load())
			}
			m, err := open(t, host+"/acme/app", Options{}).ReadArtifact(t.Context(), "t")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Pull(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLostUpload drops an upload session after its data was taken, as proxies do:
// the same request again cannot succeed, a new session can.
func TestLostUpload(t *testing.T) {
	t.Parallel()
	var dropped atomic.Int32
	r := open(t, serve(t, registry.Options{WithoutReferrers: true})+"/acme/app", Options{
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/uploads/") && dropped.Add(1) == 1 {
				return answer(req, 404, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`), nil
			}
			return http.DefaultTransport.RoundTrip(req)
		}),
	})
	push(t, r, mustPack(t, sample(), nil))
	if dropped.Load() != 3 {
		t.Errorf("%d uploads, want 3 for two blobs", dropped.Load())
	}
}

// TestRetryWaits checks that the wait asked for is kept, reported, and cut at the maximum.
func TestRetryWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		var reports []string
		limited := roundTripper(func(req *http.Request) (*http.Response, error) {
			if calls.Add(1) == 1 {
				return answer(req, 429, "", "Retry-After", "3600"), nil
			}
			return answer(req, 200, ""), nil
		})
		r := newRetrier(limited, 2*time.Second, func() float64 { return 0.5 }, func(_, s string) { reports = append(reports, s) })
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second-1)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://r.example/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := r.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if !errors.Is(err, context.DeadlineExceeded) || calls.Load() != 1 {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
		if len(reports) != 1 || reports[0] != "r.example answered 429 Too Many Requests; trying again in 2s" {
			t.Errorf("reports %q", reports)
		}
	})
}

// A host that lets wait for seconds is named once, however long each wait is.
func TestWaitsAreReportedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		limited := roundTripper(func(req *http.Request) (*http.Response, error) {
			if n := calls.Add(1); n < 4 {
				return answer(req, 429, "", "Retry-After", strconv.Itoa(int(n)*10)), nil
			}
			return answer(req, 200, ""), nil
		})
		var messages []string
		client := NewClient(Options{Transport: limited, Warn: func(s string) { messages = append(messages, s) }})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://r.example/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.auth.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if want := []string{"r.example answered 429 Too Many Requests; trying again in 10s"}; !slices.Equal(messages, want) {
			t.Errorf("reported %q", messages)
		}
	})
}

// inProcess serves requests without a network, so that a test can have its own time.
func inProcess(handler http.Handler) roundTripper {
	return func(req *http.Request) (*http.Response, error) {
		served := req.Clone(req.Context())
		if served.Body == nil {
			served.Body = http.NoBody
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, served)
		resp := w.Result()
		resp.Request = req
		return resp, nil
	}
}

// TestOverwrittenReferrerComesBack plays the race that read-back alone does not
// win: one writer reads the fallback index, another adds its entry and sees it there,
// and then the first writes what it made of the older index.
func TestOverwrittenReferrerComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handler := registry.New(registry.Options{WithoutReferrers: true})
		t.Cleanup(func() { _ = handler.Close() })
		transport := inProcess(handler)
		const name = "127.0.0.1:1/acme/app"
		a := mustPack(t, sample(), nil)
		push(t, open(t, name, Options{Transport: transport}), a)

		hasRead, mayWrite := make(chan struct{}), make(chan struct{})
		writesIndex := func(req *http.Request) bool {
			return req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/sha256-")
		}
		var once, wrote sync.Once
		first := open(t, name, Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			if writesIndex(req) {
				once.Do(func() { close(hasRead); <-mayWrite; time.Sleep(indexWait / 2) })
			}
			return transport(req)
		})})
		second := open(t, name, Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := transport(req)
			if writesIndex(req) {
				wrote.Do(func() { close(mayWrite) })
			}
			return resp, err
		})})

		var wg sync.WaitGroup
		attach := func(r *Repository, what string) {
			if err := r.Attach(t.Context(), a.Descriptor, proof(what)); err != nil {
				t.Error(err)
			}
		}
		wg.Go(func() { attach(first, "first") })
		<-hasRead
		attach(second, "second")
		wg.Wait()
		if found, err := open(t, name, Options{Transport: transport}).Referrers(t.Context(), a.Descriptor, testType); err != nil || len(found) != 2 {
			t.Errorf("%d of 2 referrers survive, %v", len(found), err)
		}
	})
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	t.Cleanup(refusing.Close)
	proxy, err := url.Parse(refusing.URL)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(status int, body string) roundTripper {
		return func(req *http.Request) (*http.Response, error) { return answer(req, status, body), nil }
	}
	tests := map[string]struct {
		transport roundTripper
		do        func(context.Context, *Repository) error
		name      string
		want      []string
		never     []string
	}{
		"unauthorized": {transport: refuse(401, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`),
			want: []string{"HTTP 401 Unauthorized: unauthorized: who are you", "; log in with: docker login r.example"}},
		"forbidden": {transport: refuse(403, `{"errors":[{"code":"DENIED","message":"no \u001b[31m write"}]}`),
			want: []string{"HTTP 403 Forbidden: denied: no [31m write", "docker login r.example"}},
		"no repository": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 404, `{"errors":[{"code":"NAME_UNKNOWN","message":"create it"}]}`), nil
		}, want: []string{"404 Not Found: name_unknown: create it", "created first"}},
		"plain HTTP": {transport: func(*http.Request) (*http.Response, error) {
			return nil, errors.New("http: server gave HTTP response to HTTPS client")
		}, want: []string{"plain HTTP is used for loopback hosts only"}},
		"TLS": {transport: func(*http.Request) (*http.Response, error) {
			return nil, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}
		}, want: []string{"plain HTTP is used for loopback hosts only"}},
		"another 400": {name: "127.0.0.1:1/acme/app", transport: refuse(400, `{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}`),
			want: []string{"digest_invalid"}, never: []string{"TLS"}},
		"broken off": {name: "127.0.0.1:1/acme/app", transport: func(*http.Request) (*http.Response, error) { return nil, fmt.Errorf("read tcp: %w", syscall.EPIPE) },
			want: []string{"broken pipe"}, never: []string{"TLS"}},
		"TLS on this machine": {name: "127.0.0.1:1/acme/app", transport: func(req *http.Request) (*http.Response, error) {
			resp := answer(req, 400, "Client sent an HTTP request to an HTTPS server.\n")
			resp.Header.Set("Content-Type", "text/plain")
			return resp, nil
		}, want: []string{"plain HTTP is used for loopback hosts, and 127.0.0.1:1 expects TLS"}},
		"another scheme": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 401, "", "WWW-Authenticate", "Negotiate"), nil
		}, want: []string{"by negotiate, and lockage knows basic and bearer"}, never: []string{"docker login"}},
		"redirected to plain HTTP": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 307, "", "Location", "http://r.example/v2/"), nil
		}, want: []string{"redirected to r.example, which is not https"}},
		"upload at plain HTTP": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 202, "", "Location", "http://store.example/upload"), nil
		}, want: []string{"the upload to go on at store.example, which is not https"}},
		"upload without location": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 202, ""), nil
		}, want: []string{"valid location"}},
		"no credentials": {transport: func(req *http.Request) (*http.Response, error) {
			return answer(req, 401, "", "WWW-Authenticate", `Basic realm="r"`), nil
		}, want: []string{"asks for credentials, and none are configured", "docker login r.example"}},
		"no answer": {do: func(_ context.Context, r *Repository) error {
			return explain(io.EOF, "push", r.Reference("v1"), r.host)
		}, want: []string{"closed before the response"}},
		"no such host": {transport: func(*http.Request) (*http.Response, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "r.example", IsNotFound: true}
		}, want: []string{"no such host", "check the name of the host"}},
		"proxy": {transport: (&http.Transport{Proxy: http.ProxyURL(proxy)}).RoundTrip,
			want: []string{"Proxy Authentication Required", "check HTTPS_PROXY, or name r.example in NO_PROXY"}},
		"its own fault": {transport: refuse(501, ""), want: []string{"HTTP 501", "run again later"}},
		"refused": {transport: func(*http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("dial tcp: %w", syscall.ECONNREFUSED)
		}, want: []string{"is a registry running at r.example?"}},
		"immutable": {transport: func(req *http.Request) (*http.Response, error) {
			if req.Method == http.MethodPut {
				return answer(req, 400, `{"errors":[{"code":"TAG_INVALID","message":"the tag is immutable"}]}`), nil
			}
			if strings.HasSuffix(req.URL.Path, "/production") {
				return answer(req, 404, ""), nil
			}
			a := mustPack(t, sample(), nil)
			return answer(req, 200, string(a.Manifest), "Content-Type", a.Descriptor.MediaType, "Docker-Content-Digest", a.Descriptor.Digest.String()), nil
		}, do: func(ctx context.Context, r *Repository) error {
			return r.Tag(ctx, mustPack(t, sample(), nil).Descriptor, "production")
		}, want: []string{"tag sha256:", "r.example/acme/app:production", "the tag is immutable", "immutability rule"}},
		"secret in a redirect": {transport: func(req *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: "https://store.example/x?X-Amz-Signature=SECRET", Err: errors.New(`proxy "https://me:SECRET@proxy.example/?token=SECRET" is down`)}
		}, want: []string{"proxy.example", "is down"}},
		"not found": {transport: refuse(404, ""), do: func(ctx context.Context, r *Repository) error {
			_, err := r.Resolve(ctx, "production")
			return err
		}, want: []string{"resolve r.example/acme/app:production: not found"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do := test.do
			if do == nil {
				do = func(ctx context.Context, r *Repository) error { return r.PushArtifact(ctx, mustPack(t, sample(), nil)) }
			}
			name := cmp.Or(test.name, "r.example/acme/app")
			err := do(t.Context(), open(t, name, Options{Transport: test.transport, MaxRetryWait: time.Millisecond}))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, name) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			for _, never := range append(test.never, "SECRET", "\x1b", "\n") {
				if strings.Contains(err.Error(), never) {
					t.Errorf("error %q holds %q", err, never)
				}
			}
		})
	}
}

// TestTokens stands a registry behind a token service as Docker Hub and GHCR do.
func TestTokens(t *testing.T) {
	t.Parallel()
	const user, password, token = "robot", "s3cr3t", "t0k3n"
	backing := registry.New(registry.Options{})
	var issued, refused atomic.Int32
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.URL.Path == "/token":
			if u, p, ok := req.BasicAuth(); !ok || u != user || p != password {
				refused.Add(1)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			issued.Add(1)
			_, _ = io.WriteString(w, `{"token":"`+token+`"}`)
		case req.Header.Get("Authorization") != "Bearer "+token:
			w.Header().Set("Www-Authenticate", `Bearer realm="`+server.URL+`/token",service="test",scope="repository:acme/app:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			backing.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	a := mustPack(t, sample(), nil)

	var asked atomic.Int32
	client := NewClient(Options{Credentials: func(_ context.Context, name string) (Credential, error) {
		asked.Add(1)
		if name != host+"/acme/app" {
			t.Errorf("asked for %s", name)
		}
		return Credential{Username: user, Password: password}, nil
	}})
	for range 3 {
		r, err := client.Repository(host + "/acme/app")
		if err != nil {
			t.Fatal(err)
		}
		push(t, r, a)
		if err := r.Tag(t.Context(), a.Descriptor, "t"); err != nil {
			t.Fatal(err)
		}
		if err := r.Attach(t.Context(), a.Descriptor, proof("x")); err != nil {
			t.Fatal(err)
		}
	}
	if asked.Load() != 1 || issued.Load() > 2 {
		t.Errorf("%d credential look-ups, %d tokens; want 1 and at most 2", asked.Load(), issued.Load())
	}

	wrong := open(t, host+"/acme/app", Options{Credentials: login(user, "wr0ng")})
	err := wrong.PushArtifact(t.Context(), a)
	if err == nil || !strings.Contains(err.Error(), "are not accepted; log in again with: docker login "+host) || strings.Contains(err.Error(), "wr0ng") || refused.Load() == 0 {
		t.Errorf("error %v", err)
	}
}

// TestDockerCredentials reads a configuration as `docker login` leaves it, and
// Podman's where Docker's has nothing.
func TestDockerCredentials(t *testing.T) {
	dir := t.TempDir()
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{"a.example":{"auth":"`+encode("ann:1")+`"}}}`)
	writeFile(t, filepath.Join(dir, "auth.json"), `{"auths":{"a.example":{"auth":"`+encode("other:9")+`"},"b.example":{"auth":"`+encode("bob:2")+`"}}}`)
	t.Setenv("DOCKER_CONFIG", dir)
	find, err := DockerCredentials(func(name string) string {
		return map[string]string{"DOCKER_CONFIG": dir, "REGISTRY_AUTH_FILE": filepath.Join(dir, "auth.json")}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]Credential{
		"a.example": {Username: "ann", Password: "1"},
		"b.example": {Username: "bob", Password: "2"},
		"c.example": {},
	} {
		if got, err := find(t.Context(), host); err != nil || got != want {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
	}

	writeFile(t, filepath.Join(dir, "config.json"), `{"auths":{"broken`)
	r := open(t, serve(t, registry.Options{})+"/acme/app", Options{})
	if _, err := r.Resolve(t.Context(), "t"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a registry that asks for nothing read the configuration: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var warnings []string
	r := open(t, "r.example/acme/app", Options{
		Warn: func(s string) { mu.Lock(); warnings = append(warnings, s); mu.Unlock() },
		Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			return answer(req, 404, "", "Warning", `299 - "read only from Monday"`), nil
		}),
	})
	for range 3 {
		_, _ = r.Resolve(t.Context(), "t")
	}
	if len(warnings) != 1 || warnings[0] != "r.example: read only from Monday" {
		t.Errorf("warnings %q", warnings)
	}
}

// TestRegistryThatLies serves other bytes than asked for.
func TestRegistryThatLies(t *testing.T) {
	t.Parallel()
	a, other := mustPack(t, sample(), nil), mustPack(t, sample(), sampleAnnotations)
	r := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, string(other.Manifest), "Content-Type", a.Descriptor.MediaType), nil
	})})
	if _, _, err := r.Manifest(t.Context(), a.Descriptor.Digest.String()); err == nil {
		t.Error("another manifest passed")
	}
	if _, err := r.Blob(t.Context(), describe("", []byte("asked"))); err == nil {
		t.Error("another blob passed")
	}
	endless := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		resp := answer(req, 200, "", "Content-Type", a.Descriptor.MediaType, "Docker-Content-Digest", a.Descriptor.Digest.String())
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(make([]byte, MaxManifestSize+2))), MaxManifestSize+2
		return resp, nil
	})})
	if _, _, err := endless.Manifest(t.Context(), "t"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("endless manifest: %v", err)
	}
}

// TestLoginPage asks a proxy that answers everything with a page, whose digest is nobody's.
func TestLoginPage(t *testing.T) {
	t.Parallel()
	r := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		return answer(req, 200, "<html><title>Sign in</title></html>", "Content-Type", "text/html; charset=utf-8"), nil
	})})
	const want = `is not a manifest (content type "text/html"): is there a proxy or a login page before the registry?`
	for _, name := range []string{"prod", string(digest.FromString("x"))} {
		if d, err := r.Lookup(t.Context(), name); d != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s, %v", name, d, err)
		}
		if _, _, err := r.Manifest(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnorderedTags lists registries that list in order of creation and do what they
// like with `last`.
func TestUnorderedTags(t *testing.T) {
	t.Parallel()
	for name, afterLast := range map[string]func(*http.Request) *http.Response{
		"refused":  func(req *http.Request) *http.Response { return answer(req, 400, `{"errors":[{"code":"TAG_INVALID"}]}`) },
		"position": func(req *http.Request) *http.Response { return answer(req, 200, `{"tags":["z","prod.git-2"]}`) },
		"nothing":  func(req *http.Request) *http.Response { return answer(req, 200, `{"tags":null}`) },
	} {
		r := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			switch {
			case req.URL.Query().Get("last") != "":
				return afterLast(req), nil
			case req.URL.Query().Get("page") != "":
				return answer(req, 200, `{"tags":["z","prod.git-2"]}`), nil
			}
			return answer(req, 200, `{"tags":["prod.git-1","prod.git"]}`, "Link", `</v2/acme/app/tags/list?page=2>; rel="next"`), nil
		})})
		if got, err := r.Tags(t.Context(), "prod.git-"); err != nil || strings.Join(got, " ") != "prod.git-1 prod.git-2" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestTagsStop counts the pages read of a long list.
func TestTagsStop(t *testing.T) {
	t.Parallel()
	var requests []string
	r := open(t, "r.example/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		requests = append(requests, req.URL.RawQuery)
		resp := answer(req, 200, `{"tags":["prod.git-1","prod.img-1"]}`)
		resp.Header.Set("Link", `</v2/acme/app/tags/list?page=2>; rel="next"`)
		return resp, nil
	})})
	got, err := r.Tags(t.Context(), "prod.git-")
	if err != nil || len(got) != 1 || len(requests) != 1 || !strings.Contains(requests[0], "last=prod.git&") {
		t.Errorf("%q, %v after %q", got, err, requests)
	}
}

// TestEndlessLists has a registry that names a next page for ever, empty or with one entry each.
func TestEndlessLists(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	for name, entry := range map[string]bool{"empty": false, "one entry": true} {
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			n := requests.Add(1)
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%d>; rel="next"`, req.URL.Path, n))
			if strings.Contains(req.URL.Path, "/referrers/") {
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				manifests := ""
				if entry {
					manifests = fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2,"artifactType":"x/y"}`, ocispec.MediaTypeImageManifest, digest.FromString(fmt.Sprint(n)))
				}
				_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ocispec.MediaTypeImageIndex, manifests)
				return
			}
			tags := ""
			if entry {
				tags = fmt.Sprintf(`"t%d"`, n)
			}
			_, _ = fmt.Fprintf(w, `{"name":"acme/app","tags":[%s]}`, tags)
		}))
		t.Cleanup(server.Close)
		r := open(t, strings.TrimPrefix(server.URL, "http://")+"/acme/app", Options{})
		if _, err := r.Referrers(t.Context(), a.Descriptor, ""); err == nil || !strings.Contains(err.Error(), "100 pages") {
			t.Errorf("%s: referrers: %v", name, err)
		}
		if _, err := r.Tags(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "names another page") {
			t.Errorf("%s: tags: %v", name, err)
		}
		if n := requests.Load(); n > 200 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// TestReferrersOfAType asks the API for one type, and a fallback index for all: an index may lack the types.
func TestReferrersOfAType(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]registry.Options{"API": {}, "fallback": {WithoutReferrers: true}} {
		backing := registry.New(options)
		var filtered atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method == http.MethodGet && req.URL.Query().Get("artifactType") == "a/wanted" {
				filtered.Add(1)
			}
			backing.ServeHTTP(w, req)
		}))
		t.Cleanup(server.Close)
		path := strings.TrimPrefix(server.URL, "http://") + "/acme/app"
		a := mustPack(t, sample(), nil)
		r := open(t, path, Options{})
		if err := r.PushArtifact(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		for i, artifactType := range []string{"a/wanted", "b/junk", "b/junk", "b/junk"} {
			if err := r.Attach(t.Context(), a.Descriptor, Referrer{ArtifactType: artifactType, Annotations: map[string]string{"n": fmt.Sprint(i)}}); err != nil {
				t.Fatal(err)
			}
		}
		r = open(t, path, Options{})
		for range 2 {
			if found, err := r.Referrers(t.Context(), a.Descriptor, "a/wanted"); err != nil || len(found) != 1 {
				t.Errorf("%s: %v, %v", name, found, err)
			}
		}
		if n, want := filtered.Load(), map[string]int32{"API": 2, "fallback": 1}[name]; n != want {
			t.Errorf("%s: the type was asked for %d times, want %d", name, n, want)
		}
	}
}

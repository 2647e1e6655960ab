package registry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
)

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	return listener
}

// TestServeKeepsTheDirectory pushes, ends, and starts again over the same directory.
func TestServeKeepsTheDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := oci.Pack(fstest.MapFS{"x.yaml": {Data: []byte("x: 1\n")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	session := func(do func(ctx context.Context, r *oci.Repository)) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		listener := listen(t, "127.0.0.1:0")
		done := make(chan error, 1)
		go func() { done <- registry.Serve(ctx, listener, registry.Options{Dir: dir}) }()
		r, err := oci.NewClient(oci.Options{}).Repository(listener.Addr().String() + "/acme/app")
		if err != nil {
			t.Fatal(err)
		}
		do(ctx, r)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	session(func(ctx context.Context, r *oci.Repository) {
		if err := r.PushArtifact(ctx, a); err != nil {
			t.Error(err)
		}
		if err := r.Attach(ctx, a.Descriptor, oci.Referrer{ArtifactType: "application/vnd.example"}); err != nil {
			t.Error(err)
		}
	})
	// Neither the tag, which is missing, nor time lets anything go.
	session(func(ctx context.Context, r *oci.Repository) {
		m, err := r.ReadArtifact(ctx, a.Descriptor.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Pull(ctx, m); err != nil {
			t.Error(err)
		}
		if found, err := r.Referrers(ctx, a.Descriptor, ""); err != nil || len(found) != 1 {
			t.Errorf("referrers %v, %v", found, err)
		}
		if _, err := r.Resolve(ctx, "none"); !errors.Is(err, oci.ErrNotFound) {
			t.Errorf("error %v", err)
		}
	})
}

// accepting calls a function when a connection is accepted.
type accepting struct {
	net.Listener
	accepted func()
}

func (a accepting) Accept() (net.Conn, error) {
	conn, err := a.Listener.Accept()
	a.accepted()
	return conn, err
}

// TestServeEnds has a client that connects, says nothing and stays.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	listener := listen(t, "127.0.0.1:0")
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := registry.Serve(ctx, accepting{listener, cancel}, registry.Options{}); err != nil {
		t.Error(err)
	}
}

// A request for content that was never pushed is not an error on closing, and leaves nothing on the disk.
func TestCloseAfterQuestions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := registry.New(registry.Options{Dir: dir})
	for _, path := range []string{"/v2/acme/a/manifests/v1", "/v2/acme/b/tags/list"} {
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func TestServeRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	err := registry.Serve(t.Context(), listen(t, "0.0.0.0:0"), registry.Options{})
	if err == nil || !strings.Contains(err.Error(), "other machines") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := registry.Serve(ctx, listen(t, "0.0.0.0:0"), registry.Options{AllowRemote: true}); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	status := func(options registry.Options, method, path string) int {
		r := registry.New(options)
		defer func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("")))
		return w.Code
	}
	referrers := "/v2/a/referrers/sha256:" + strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		options      registry.Options
		method, path string
		want         int
	}{
		"ping":              {registry.Options{}, "GET", "/v2/", 200},
		"referrers":         {registry.Options{}, "GET", referrers, 200},
		"without referrers": {registry.Options{WithoutReferrers: true}, "GET", referrers, 404},
		"no deletes":        {registry.Options{}, "DELETE", "/v2/a/manifests/x", 405},
		"deletes":           {registry.Options{Deletes: true}, "DELETE", "/v2/a/manifests/x", 404},
		"empty manifest":    {registry.Options{}, http.MethodPut, "/v2/a/manifests/x", 400},
	} {
		if got := status(test.options, test.method, test.path); got != test.want {
			t.Errorf("%s: status %d, want %d", name, got, test.want)
		}
	}
}

package oci

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lockage/lockage/oci/registry"
)

// TestTagsTogether pushes manifests to several tags in registries that take all of them in one request, some of them, or none.
func TestTagsTogether(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		takes  int // of the tags in a request; 0 for a registry that does not know the parameter, -1 for one that refuses it
		writes int32
	}{
		"all":     {3, 12 + 8},
		"two":     {2, 12 + 8*2},
		"none":    {0, 12 + 1 + 8*3},
		"refuses": {-1, 12 + 1 + 8*3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backing := registry.New(registry.Options{})
			t.Cleanup(func() { _ = backing.Close() })
			transport := inProcess(backing)
			var writes atomic.Int32
			r := open(t, "127.0.0.1:1/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				tags := req.URL.Query()["tag"]
				if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
					writes.Add(1)
				}
				if len(tags) == 0 {
					return transport(req)
				}
				if c.takes < 0 {
					return answer(req, 400, `{"errors":[{"code":"UNSUPPORTED"}]}`), nil
				}
				manifest, err := io.ReadAll(req.Body)
				if err != nil {
					return nil, err
				}
				resp, path := answer(req, 201, ""), req.URL.Path
				for _, tag := range tags[:c.takes] {
					one := req.Clone(req.Context())
					one.URL.Path, one.URL.RawQuery = path[:strings.LastIndex(path, "/")+1]+tag, ""
					one.Body = io.NopCloser(bytes.NewReader(manifest))
					if _, err := transport(one); err != nil {
						return nil, err
					}
					resp.Header.Add("OCI-Tag", tag)
				}
				return resp, nil
			})})
			a := mustPack(t, sample(), nil)
			push(t, r, a)
			writes.Store(0)
			for i := range 12 {
				tags := []string{fmt.Sprintf("s%d.a", i), fmt.Sprintf("s%d.b", i), fmt.Sprintf("s%d", i)}
				if err := r.Tag(t.Context(), a.Descriptor, tags...); err != nil {
					t.Fatal(err)
				}
				for _, tag := range tags {
					if d, err := r.Lookup(t.Context(), tag); err != nil || d != a.Descriptor.Digest {
						t.Errorf("%s names %q, %v", tag, d, err)
					}
				}
			}
			if n := writes.Load(); n != c.writes {
				t.Errorf("%d requests, want %d", n, c.writes)
			}
		})
	}
}

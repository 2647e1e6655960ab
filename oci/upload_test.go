package oci

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockage/lockage/oci/registry"
)

// TestUploads counts the requests of three small blobs, and of one that three repositories have, in registries that take a blob with the
// request that begins its upload, ignore it, refuse it, or only claim to have it; and that mount blobs, ignore that, or refuse it.
func TestUploads(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options registry.Options
		whole   int // answer to a blob with the request that begins its upload; 0 for that of the registry
		mount   int // and to one to be mounted
		want    int32
	}{
		"taken, mounted":      {registry.Options{}, 0, 0, 3 + 1 + 1 + 2},
		"taken, not mounted":  {registry.Options{}, 0, http.StatusAccepted, 3 + 1 + 1 + 2 + 1},
		"taken, mount denied": {registry.Options{}, 0, http.StatusForbidden, 3 + 1 + 1 + 1 + 2},
		"ignored":             {registry.Options{WithoutReferrers: true}, 0, 0, 3*2 + 2 + 2},
		"refused":             {registry.Options{}, http.StatusMethodNotAllowed, 0, 1 + 3*2 + 2 + 2},
		"claimed":             {registry.Options{}, http.StatusCreated, 0, 2 + 3*2 + 2 + 2},
		"mount not known":     {registry.Options{}, 0, http.StatusNotImplemented, 3 + 1 + 1 + 1 + 2},
		"mount fails":         {registry.Options{}, 0, http.StatusInternalServerError, 3 + 1 + 1 + 1 + 2},
		"whole fails":         {registry.Options{}, http.StatusInternalServerError, 0, 7 + 3*2 + 2 + 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backing := registry.New(c.options)
			t.Cleanup(func() { _ = backing.Close() })
			transport := inProcess(backing)
			var requests atomic.Int32
			client := NewClient(Options{MaxRetryWait: time.Millisecond, Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				requests.Add(1)
				query := req.URL.Query()
				switch begins := req.Method == http.MethodPost; {
				case begins && query.Has("mount") && c.mount == http.StatusAccepted:
					req.URL.RawQuery = ""
				case begins && query.Has("mount") && c.mount != 0:
					return answer(req, c.mount, ""), nil
				case begins && query.Has("digest") && c.whole != 0:
					return answer(req, c.whole, ""), nil
				}
				return transport(req)
			})})
			for n := range 3 {
				repository, err := client.Repository(fmt.Sprintf("127.0.0.1:1/acme/app%d", n))
				if err != nil {
					t.Fatal(err)
				}
				shared := Blob{Data: []byte(strings.Repeat("x", 1000))}
				all := []Blob{{Data: fmt.Append(nil, n)}, shared}
				for _, b := range all {
					if err := repository.PushBlobs(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				for _, b := range all {
					if exists, err := repository.backend.hasBlob(t.Context(), b.Descriptor()); err != nil || !exists {
						t.Errorf("%s lacks a blob: %v", repository.Name(), err)
					}
					requests.Add(-1)
				}
			}
			if n := requests.Load(); n != c.want {
				t.Errorf("%d requests, want %d", n, c.want)
			}
		})
	}
}

// TestUploadWithoutLocation sends a blob to a registry that takes it in two requests only, and does not say in between where to go on.
func TestUploadWithoutLocation(t *testing.T) {
	t.Parallel()
	b, patched := Blob{Data: []byte("content")}, false
	client := NewClient(Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		at := req.URL.Path == "/v2/acme/app/blobs/uploads/1" && req.URL.Query().Get("session") == "a"
		switch {
		case req.Method == http.MethodHead:
			return answer(req, http.StatusNotFound, ""), nil
		case req.Method == http.MethodPost:
			return answer(req, http.StatusAccepted, "", "Location", "/v2/acme/app/blobs/uploads/1?session=a"), nil
		case req.Method == http.MethodPatch && at:
			patched = true
			return answer(req, http.StatusAccepted, ""), nil
		case req.Method == http.MethodPut && at && patched && req.URL.Query().Get("digest") == b.Descriptor().Digest.String():
			return answer(req, http.StatusCreated, ""), nil
		}
		return answer(req, http.StatusBadRequest, ""), nil
	})})
	repository, err := client.Repository("127.0.0.1:1/acme/app")
	if err == nil {
		err = repository.PushBlobs(t.Context(), b)
	}
	if err != nil || !patched {
		t.Errorf("patched: %v, %v", patched, err)
	}
}

// TestBlobsThatAreKnownLater writes a manifest to a registry that does not know its blobs at first, or never.
func TestBlobsThatAreKnownLater(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		unknown int // answers
		other   bool
		want    int
	}{
		"soon":    {unknown: 2, want: 3},
		"never":   {unknown: 99, want: blobAttempts},
		"foreign": {unknown: 99, other: true, want: 1}, // nobody sent it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backing := registry.New(registry.Options{})
			t.Cleanup(func() { _ = backing.Close() })
			transport, written := inProcess(backing), 0
			client := NewClient(Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				if req.Method == http.MethodPut && strings.Contains(req.URL.Path, "/manifests/") {
					if written++; written <= c.unknown {
						return answer(req, http.StatusBadRequest, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`), nil
					}
				}
				return transport(req)
			})})
			repository, err := client.Repository("127.0.0.1:1/acme/app")
			if err != nil {
				t.Fatal(err)
			}
			a := mustPack(t, sample(), nil)
			if c.other {
				err = repository.backend.pushManifest(t.Context(), a.Descriptor, a.Manifest)
			} else {
				err = repository.PushArtifact(t.Context(), a)
			}
			if written != c.want || (err == nil) != (c.unknown < c.want) {
				t.Errorf("written %d times, want %d: %v", written, c.want, err)
			}
		})
	}
}

// TestLargeBlobIsThere pushes a large blob to two repositories that have it, of a registry that mounts nothing: it is not sent again.
func TestLargeBlobIsThere(t *testing.T) {
	t.Parallel()
	backing := registry.New(registry.Options{})
	t.Cleanup(func() { _ = backing.Close() })
	transport := inProcess(backing)
	var sent atomic.Int32
	transported := roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.ContentLength > smallBlob {
			sent.Add(1)
		}
		if req.URL.Query().Has("mount") {
			return answer(req, http.StatusForbidden, ""), nil
		}
		return transport(req)
	})
	small, large := Blob{Data: []byte("small")}, Blob{Data: []byte(strings.Repeat("x", smallBlob+1))}
	for range 2 {
		client := NewClient(Options{Transport: transported})
		for n := range 2 {
			repository, err := client.Repository(fmt.Sprintf("127.0.0.1:1/acme/app%d", n))
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range []Blob{small, large} {
				if err := repository.PushBlobs(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n := sent.Load(); n != 2 {
		t.Errorf("sent %d times, want once for each repository", n)
	}
}

// TestNoMountWithTokens pushes a blob to two repositories of a registry that takes tokens: one for both is not asked for, even if nothing else
// was asked of the second one yet.
func TestNoMountWithTokens(t *testing.T) {
	t.Parallel()
	host, _ := odd(t, "bearer")
	options := known()
	var mounts atomic.Int32
	options.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.URL.Query().Has("mount") {
			mounts.Add(1)
		}
		return http.DefaultTransport.RoundTrip(req)
	})
	client := NewClient(options)
	for n := range 2 {
		repository, err := client.Repository(fmt.Sprintf("%s/acme/app%d", host, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := repository.PushBlobs(t.Context(), Blob{Data: []byte("shared")}); err != nil {
			t.Fatal(err)
		}
	}
	if n := mounts.Load(); n != 0 {
		t.Errorf("asked to mount %d times", n)
	}
}

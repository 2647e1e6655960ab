package oci

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lockage/lockage/oci/registry"
)

// TestTagTakenForADigest uses a registry without the referrers API that takes the fallback tag for the digest of the subject, as GitLab's
// does: the subject is not an index, nothing is listed, and what cannot be listed is an error that leaves the subject as it was.
func TestTagTakenForADigest(t *testing.T) {
	t.Parallel()
	handler := registry.New(registry.Options{WithoutReferrers: true})
	t.Cleanup(func() { _ = handler.Close() })
	transport := inProcess(handler)
	r := open(t, "127.0.0.1:1/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		req = req.Clone(req.Context())
		req.URL.Path = strings.Replace(req.URL.Path, "/manifests/sha256-", "/manifests/sha256:", 1)
		return transport(req)
	})})
	a := mustPack(t, sample(), nil)
	push(t, r, a)
	if found, err := r.Referrers(t.Context(), a.Descriptor, ""); err != nil || len(found) != 0 {
		t.Errorf("%d referrers, %v", len(found), err)
	}
	if err := r.Attach(t.Context(), a.Descriptor, proof("first")); err == nil {
		t.Error("attached what nobody can list")
	}
	if desc, err := r.Resolve(t.Context(), a.Descriptor.Digest.String()); err != nil || desc.Digest != a.Descriptor.Digest {
		t.Errorf("the subject is %v, %v", desc, err)
	}
}

package oci

import (
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci/registry"
)

// TestReferrersOfAnotherRepository has a registry that lists referrers, and answers without a code where it does not: in a repository that
// does not exist, as zot does, or one that a proxy sends to another server. Referrers in others are found nonetheless.
func TestReferrersOfAnotherRepository(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		manifest string // the code for a manifest that the other repository lacks
		before   bool   // whether the registry listed referrers before
	}{
		"absent":          {"NAME_UNKNOWN", false},
		"without a code":  {"", false},
		"of another kind": {"MANIFEST_UNKNOWN", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := registry.New(registry.Options{})
			t.Cleanup(func() { _ = handler.Close() })
			transport := inProcess(handler)
			client := NewClient(Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				switch {
				case !strings.HasPrefix(req.URL.Path, "/v2/acme/other/"):
					return transport(req)
				case c.manifest == "" || strings.Contains(req.URL.Path, "/referrers/"):
					return answer(req, http.StatusNotFound, ""), nil
				}
				return answer(req, http.StatusNotFound, `{"errors":[{"code":"`+c.manifest+`"}]}`), nil
			})})
			const host = "127.0.0.1:1/acme/"
			a := mustPack(t, sample(), nil)
			writer := open(t, host+"app", Options{Transport: transport})
			push(t, writer, a)
			if err := writer.Attach(t.Context(), a.Descriptor, Referrer{ArtifactType: "application/x"}); err != nil {
				t.Fatal(err)
			}
			listed := func(path string) int {
				repository, err := client.Repository(host + path)
				if err != nil {
					t.Fatal(err)
				}
				referrers, err := repository.Referrers(t.Context(), a.Descriptor, "")
				if err != nil {
					t.Fatal(err)
				}
				return len(referrers)
			}
			if c.before {
				listed("app")
			}
			if n := listed("other"); n != 0 {
				t.Errorf("%d referrers, want none", n)
			}
			if n := listed("app"); n != 1 {
				t.Errorf("%d referrers, want 1", n)
			}
		})
	}
}

// TestReferrersRefusedOnce has a registry with the referrers API that denies one question for referrers: what is attached after it is in the
// list of the registry, and no index hides it.
func TestReferrersRefusedOnce(t *testing.T) {
	t.Parallel()
	handler := registry.New(registry.Options{})
	t.Cleanup(func() { _ = handler.Close() })
	transport := inProcess(handler)
	const repository = "127.0.0.1:1/acme/app"
	denied := false
	writer := open(t, repository, Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		if !denied && strings.Contains(req.URL.Path, "/referrers/") {
			denied = true
			return answer(req, http.StatusForbidden, ""), nil
		}
		return transport(req)
	})})
	a := mustPack(t, sample(), nil)
	push(t, writer, a)
	if before, err := writer.Referrers(t.Context(), a.Descriptor, ""); err != nil || len(before) != 0 || !denied {
		t.Fatalf("denied %t, %v, %v", denied, before, err)
	}
	if err := writer.Attach(t.Context(), a.Descriptor, Referrer{ArtifactType: "application/x"}); err != nil {
		t.Fatal(err)
	}
	for name, reader := range map[string]*Repository{"same": writer, "other": open(t, repository, Options{Transport: transport})} {
		if listed, err := reader.Referrers(t.Context(), a.Descriptor, ""); err != nil || len(listed) != 1 {
			t.Errorf("%s client: %d referrers, %v", name, len(listed), err)
		}
	}
}

// TestReferrersWithoutDigest leaves out of a list what is named by no digest.
func TestReferrersWithoutDigest(t *testing.T) {
	t.Parallel()
	handler := registry.New(registry.Options{})
	t.Cleanup(func() { _ = handler.Close() })
	transport := inProcess(handler)
	r := open(t, "127.0.0.1:1/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		if !strings.Contains(req.URL.Path, "/referrers/") {
			return transport(req)
		}
		return answer(req, http.StatusOK, `{"manifests": [{}, {"digest": "staging"}, {"digest": "sha256:1", "artifactType": "a/b"}, {"digest": "md5:d41d8cd98f00b204e9800998ecf8427e"}]}`, "Content-Type", ocispec.MediaTypeImageIndex), nil
	})})
	a := mustPack(t, sample(), nil)
	push(t, r, a)
	if all, err := r.Referrers(t.Context(), a.Descriptor, ""); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestReferrersUnreadable has lists under the fallback tag that no reader can read, in whole or to the end: they list nothing.
func TestReferrersUnreadable(t *testing.T) {
	t.Parallel()
	handler := registry.New(registry.Options{})
	t.Cleanup(func() { _ = handler.Close() })
	transport := inProcess(handler)
	a := mustPack(t, sample(), nil)
	entry := `{"mediaType":"` + ocispec.MediaTypeImageManifest + `","digest":"` + a.Descriptor.Digest.String() + `","size":1,"artifactType":"a/b"}`
	for _, manifests := range []string{`{}`, `[` + entry + `,{"size":"x"}]`} {
		r := open(t, "127.0.0.1:1/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			switch {
			case strings.Contains(req.URL.Path, "/referrers/"):
				return answer(req, http.StatusNotFound, ""), nil
			case strings.HasSuffix(req.URL.Path, "/manifests/"+FallbackTag(a.Descriptor.Digest)):
				return answer(req, http.StatusOK, `{"schemaVersion":2,"mediaType":"`+ocispec.MediaTypeImageIndex+`","manifests":`+manifests+`}`, "Content-Type", ocispec.MediaTypeImageIndex), nil
			}
			return transport(req)
		})})
		push(t, r, a)
		if all, err := r.Referrers(t.Context(), a.Descriptor, ""); err != nil || len(all) != 0 {
			t.Errorf("%s: %v, %v", manifests, all, err)
		}
		if err := r.Attach(t.Context(), a.Descriptor, Referrer{ArtifactType: "application/x"}); err == nil || !strings.Contains(err.Error(), "it is not an index") {
			t.Errorf("%s: what the tag names is replaced: %v", manifests, err)
		}
	}
}

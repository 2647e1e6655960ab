package oci

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci/registry"
)

// onEveryDeletable runs test on each kind of repository that deletes; outlive is what ReferrersOutlive has to say there.
func onEveryDeletable(t *testing.T, test func(t *testing.T, open func() *Repository, outlive bool)) {
	t.Helper()
	for kind, c := range map[string]struct {
		name    func(t *testing.T) string
		outlive bool
	}{
		"referrers API": {func(t *testing.T) string { return serve(t, registry.Options{Deletes: true}) + "/acme/app" }, false},
		"fallback tag": {func(t *testing.T) string {
			return serve(t, registry.Options{Deletes: true, WithoutReferrers: true}) + "/acme/app"
		}, true},
		"layout": {func(t *testing.T) string { return layoutPrefix + filepath.Join(t.TempDir(), "layout") }, true},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name := c.name(t)
			test(t, func() *Repository { return open(t, name, Options{}) }, c.outlive)
		})
	}
}

func exists(t *testing.T, r *Repository, tagOrDigest string) bool {
	t.Helper()
	_, err := r.Resolve(t.Context(), tagOrDigest)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func attach(t *testing.T, r *Repository, subject ocispec.Descriptor, referrer Referrer) digest.Digest {
	t.Helper()
	desc, err := referrer.Descriptor(subject)
	if err == nil {
		err = r.Attach(t.Context(), subject, referrer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return desc.Digest
}

// TestDelete deletes one tag of an artifact, then the artifact, and leaves its neighbours.
func TestDelete(t *testing.T) {
	t.Parallel()
	onEveryDeletable(t, func(t *testing.T, open func() *Repository, _ bool) {
		ctx := t.Context()
		r := open()
		if err := r.CheckDelete(ctx); err != nil {
			t.Fatalf("before the first push: %v", err)
		}
		a := mustPack(t, sample(), nil)
		other := mustPack(t, fstest.MapFS{"other": {Data: []byte("other")}}, nil)
		for _, each := range []struct {
			artifact Artifact
			tags     []string
		}{{a, []string{"one", "two"}}, {other, []string{"three"}}} {
			push(t, r, each.artifact)
			for _, tag := range each.tags {
				if err := r.Tag(ctx, each.artifact.Descriptor, tag); err != nil {
					t.Fatal(err)
				}
			}
		}
		d := a.Descriptor.Digest.String()
		steps := []struct {
			do   func() error
			want string // that stands afterwards
		}{
			{func() error { return r.CheckDelete(ctx) }, "one two three " + d},
			{func() error { return r.DeleteTag(ctx, "one") }, "two three " + d},
			{func() error { return r.DeleteTag(ctx, "one") }, "two three " + d},
			{func() error { return r.DeleteManifest(ctx, a.Descriptor.Digest) }, "three"},
			{func() error { return r.DeleteManifest(ctx, a.Descriptor.Digest) }, "three"},
		}
		for i, step := range steps {
			if err := step.do(); err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			var found []string
			for _, what := range []string{"one", "two", "three", d} {
				if exists(t, open(), what) {
					found = append(found, what)
				}
			}
			if got := strings.Join(found, " "); got != step.want {
				t.Errorf("step %d left %q, want %q", i, got, step.want)
			}
		}
		if err := r.Tag(ctx, a.Descriptor, "back"); err == nil || exists(t, open(), d) {
			t.Errorf("tagging brought it back: %v", err)
		}
		// What was deleted can be pushed again, by the client that deleted it too.
		push(t, r, a)
		if err := r.Tag(ctx, a.Descriptor, "again"); err != nil || !exists(t, open(), "again") {
			t.Errorf("pushed again: %v", err)
		}
		if _, err := open().Pull(ctx, mustRead(t, r, d)); err != nil {
			t.Error(err)
		}
	})
}

func mustRead(t *testing.T, r *Repository, reference string) Manifest {
	t.Helper()
	m, err := r.ReadArtifact(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDeleteReferrers deletes what is attached to an artifact that is gone, but for one, and then that one.
func TestDeleteReferrers(t *testing.T) {
	t.Parallel()
	onEveryDeletable(t, func(t *testing.T, open func() *Repository, outlive bool) {
		ctx := t.Context()
		r := open()
		a := mustPack(t, sample(), nil)
		push(t, r, a)
		one, two, kept := attach(t, r, a.Descriptor, proof("one")), attach(t, r, a.Descriptor, proof("two")), attach(t, r, a.Descriptor, proof("kept"))
		if got, err := r.ReferrersOutlive(ctx, a.Descriptor); err != nil || got != outlive {
			t.Fatalf("outlive: %t, %v; want %t", got, err, outlive)
		}
		if err := r.DeleteManifest(ctx, a.Descriptor.Digest); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.DeleteReferrers(ctx, a.Descriptor.Digest, one, two); err != nil {
				t.Fatal(err)
			}
		}
		if exists(t, r, one.String()) || exists(t, r, two.String()) {
			t.Error("they are still there")
		}
		if outlive {
			left, err := open().Referrers(ctx, a.Descriptor, "")
			if err != nil || len(left) != 1 || left[0].Digest != kept || left[0].Annotations["proof"] != "kept" || !exists(t, r, kept.String()) {
				t.Errorf("left are %+v, %v", left, err)
			}
		}
		if err := r.DeleteReferrers(ctx, a.Descriptor.Digest, kept); err != nil {
			t.Fatal(err)
		}
		if left, err := open().Referrers(ctx, a.Descriptor, ""); err != nil || len(left) != 0 {
			t.Errorf("left are %+v, %v", left, err)
		}
		if exists(t, open(), FallbackTag(a.Descriptor.Digest)) {
			t.Error("an index without entries is left")
		}
	})
}

// TestDeleteReferrersOfAnother lists an artifact, and what is attached to another one, as attached: neither is deleted.
func TestDeleteReferrersOfAnother(t *testing.T) {
	t.Parallel()
	onEveryDeletable(t, func(t *testing.T, open func() *Repository, _ bool) {
		ctx := t.Context()
		r := open()
		a, b := mustPack(t, sample(), nil), mustPack(t, fstest.MapFS{"b": {Data: []byte("b")}}, nil)
		push(t, r, a)
		push(t, r, b)
		other := attach(t, r, b.Descriptor, proof("of b"))
		if err := r.DeleteReferrers(ctx, a.Descriptor.Digest, other, b.Descriptor.Digest); err != nil {
			t.Fatal(err)
		}
		if !exists(t, open(), other.String()) || !exists(t, open(), b.Descriptor.Digest.String()) {
			t.Error("deleted")
		}
	})
}

// TestDeleteRefused meets the registries that delete nothing, and accounts that may not.
func TestDeleteRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, c := range map[string]struct {
		status  int
		body    string
		refused bool
		text    string
	}{
		"405":                 {405, `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`, true, "The operation is unsupported."},
		"405 without a word":  {405, ``, true, "405"},
		"400 UNSUPPORTED":     {400, `{"errors":[{"code":"UNSUPPORTED"}]}`, true, "unsupported"},
		"400 for some reason": {400, `{"errors":[{"code":"DIGEST_INVALID"}]}`, false, "digest_invalid"},
		"403":                 {403, `{"errors":[{"code":"DENIED"}]}`, false, "docker login"},
		"404":                 {404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, false, ""},
		"202":                 {202, ``, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := ""
			r := open(t, "registry.example.com/acme/app", Options{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
				asked = req.Method + " " + req.URL.String()
				return answer(req, c.status, c.body), nil
			})})
			for what, err := range map[string]error{
				string(nothing): r.CheckDelete(ctx),
				"tag":           r.DeleteTag(ctx, "tag"),
			} {
				if errors.Is(err, ErrDeleteRefused) != c.refused || (err != nil) != (c.text != "") {
					t.Errorf("%s: %v", what, err)
				}
				if err != nil && (!strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), "registry.example.com/acme/app")) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if asked != "DELETE https://registry.example.com/v2/acme/app/manifests/tag" {
				t.Errorf("asked %s", asked)
			}
		})
	}
	for _, options := range []registry.Options{{}, {WithoutReferrers: true}} {
		r := open(t, serve(t, options)+"/acme/app", Options{})
		a := mustPack(t, sample(), nil)
		push(t, r, a)
		if err := r.CheckDelete(ctx); !errors.Is(err, ErrDeleteRefused) {
			t.Errorf("%+v: %v", options, err)
		}
	}
	if err := open(t, "registry.example.com/acme/app", Options{}).DeleteManifest(ctx, "sha256:x"); err == nil {
		t.Error("an invalid digest was requested")
	}
}

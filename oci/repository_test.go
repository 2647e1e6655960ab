package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	ggcr "github.com/google/go-containerregistry/pkg/v1/layout"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci/registry"
)

// serve starts a registry and returns its host.
func serve(t testing.TB, options registry.Options) string {
	t.Helper()
	handler := registry.New(options)
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		server.Close()
		if err := handler.Close(); err != nil {
			t.Error(err)
		}
	})
	return strings.TrimPrefix(server.URL, "http://")
}

func open(t testing.TB, name string, options Options) *Repository {
	t.Helper()
	r, err := NewClient(options).Repository(name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// onEveryBackend runs test on each kind of repository; open returns a fresh client's
// view of one and the same.
func onEveryBackend(t *testing.T, test func(t *testing.T, open func() *Repository)) {
	t.Helper()
	names := map[string]func(t *testing.T) string{
		"referrers API": func(t *testing.T) string { return serve(t, registry.Options{}) + "/acme/app" },
		"fallback tag": func(t *testing.T) string {
			return serve(t, registry.Options{WithoutReferrers: true}) + "/acme/app"
		},
		"on disk": func(t *testing.T) string { return serve(t, registry.Options{Dir: t.TempDir()}) + "/acme/app" },
		"layout":  func(t *testing.T) string { return layoutPrefix + filepath.Join(t.TempDir(), "new", "layout") },
	}
	for kind, name := range names {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name := name(t)
			test(t, func() *Repository { return open(t, name, Options{}) })
		})
	}
}

func push(t testing.TB, r *Repository, a Artifact) {
	t.Helper()
	if err := r.PushArtifact(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func TestArtifactRoundTrip(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		ctx := t.Context()
		a := mustPack(t, sample(), sampleAnnotations)
		for range 2 { // the second time everything is there
			push(t, open(), a)
			if err := open().Tag(ctx, a.Descriptor, "production"); err != nil {
				t.Fatal(err)
			}
		}
		r := open()
		desc, err := r.Resolve(ctx, "production")
		if err != nil || desc.Digest != a.Descriptor.Digest || desc.Size != a.Descriptor.Size || desc.MediaType != a.Descriptor.MediaType {
			t.Fatalf("resolved %+v, %v", desc, err)
		}
		m, err := r.ReadArtifact(ctx, desc.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if m.Annotations["dev.lockage.stage"] != "production" {
			t.Errorf("annotations %v", m.Annotations)
		}
		tree, err := r.Pull(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ContentDigest(tree); err != nil || got != a.ContentDigest {
			t.Errorf("pulled %s, %v; want %s", got, err, a.ContentDigest)
		}
		_, raw, err := r.Manifest(ctx, "production")
		if err != nil || string(raw) != string(a.Manifest) {
			t.Errorf("manifest %s, %v", raw, err)
		}
	})
}

func TestNothingThere(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		ctx, r := t.Context(), open()
		a := mustPack(t, sample(), nil)
		for _, filled := range []bool{false, true} {
			if filled {
				push(t, r, mustPack(t, sample(), sampleAnnotations))
			}
			_, resolveErr := r.Resolve(ctx, "staging")
			_, digestErr := r.Resolve(ctx, a.Descriptor.Digest.String())
			_, _, manifestErr := r.Manifest(ctx, "staging")
			_, blobErr := r.Blob(ctx, describe("", []byte("absent")))
			tagErr := r.Tag(ctx, a.Descriptor, "staging")
			for op, err := range map[string]error{
				"resolve": resolveErr, "resolve digest": digestErr, "manifest": manifestErr, "blob": blobErr, "tag": tagErr,
			} {
				if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), r.Name()) || strings.Contains(err.Error(), "http://") {
					t.Errorf("filled %v, %s: %v", filled, op, err)
				}
			}
			if all, err := r.Referrers(ctx, a.Descriptor, ""); err != nil || len(all) != 0 {
				t.Errorf("referrers %v, %v", all, err)
			}
			if tags, err := r.Tags(ctx, "staging.git-"); err != nil || len(tags) != 0 {
				t.Errorf("tags %v, %v", tags, err)
			}
		}
		if dir, ok := strings.CutPrefix(r.Name(), layoutPrefix); ok {
			absent := open().Name() + "-never-written"
			other := func() *Repository { r, _ := NewClient(Options{}).Repository(absent); return r }()
			_, _ = other.Resolve(ctx, "x")
			if found, err := filepath.Glob(dir + "-never*"); err != nil || found != nil {
				t.Errorf("reading made %v", found)
			}
		}
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		ctx, r := t.Context(), open()
		first, second := mustPack(t, sample(), nil), mustPack(t, sample(), sampleAnnotations)
		push(t, r, first)
		push(t, r, second)
		for _, tag := range []string{"a", "prod", "prod.git-2", "prod.git-1", "prod.img-1", "production.git-1", "z"} {
			if err := r.Tag(ctx, first.Descriptor, tag); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Tag(ctx, second.Descriptor, "prod"); err != nil { // moves
			t.Fatal(err)
		}
		for prefix, want := range map[string][]string{
			"prod.git-": {"prod.git-1", "prod.git-2"},
			"prod.":     {"prod.git-1", "prod.git-2", "prod.img-1"},
			"z":         {"z"},
			"none.":     nil,
			"":          {"a", "prod", "prod.git-1", "prod.git-2", "prod.img-1", "production.git-1", "z"},
		} {
			if got, err := open().Tags(ctx, prefix); err != nil || !slices.Equal(got, want) {
				t.Errorf("tags %q: %q, %v; want %q", prefix, got, err, want)
			}
		}
		for tag, want := range map[string]Artifact{"prod": second, "a": first} {
			if got, err := open().Resolve(ctx, tag); err != nil || got.Digest != want.Descriptor.Digest {
				t.Errorf("%s names %s, %v", tag, got.Digest, err)
			}
		}
		if err := r.Tag(ctx, first.Descriptor, "not/a tag"); err == nil {
			t.Error("a tag that is none was accepted")
		}
	})
}

const testType = "application/vnd.example.proof"

func proof(content string) Referrer {
	return Referrer{
		ArtifactType: testType,
		Layers:       []Blob{{MediaType: testType, Data: []byte(content)}},
		Annotations:  map[string]string{"proof": content},
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		ctx := t.Context()
		a := mustPack(t, sample(), nil)
		push(t, open(), a)
		other := proof("other")
		other.ArtifactType = "application/vnd.example.other"
		other.Config = &Blob{MediaType: "application/vnd.example.config", Data: []byte(`{"x":1}`)}
		for _, referrer := range []Referrer{proof("one"), proof("two"), proof("one"), other} {
			if err := open().Attach(ctx, a.Descriptor, referrer); err != nil {
				t.Fatal(err)
			}
		}
		found, err := open().Referrers(ctx, a.Descriptor, testType)
		if err != nil || len(found) != 2 {
			t.Fatalf("%d referrers, %v", len(found), err)
		}
		for _, d := range found {
			_, raw, err := open().Manifest(ctx, d.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			var m ocispec.Manifest
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			data, err := open().Blob(ctx, m.Layers[0])
			if err != nil || string(data) != d.Annotations["proof"] || d.ArtifactType != testType {
				t.Errorf("%+v has %q, %v", d, data, err)
			}
			if _, err := open().Blob(ctx, m.Config); err != nil {
				t.Errorf("the empty blob: %v", err)
			}
			if m.Subject.Digest != a.Descriptor.Digest || m.Config.MediaType != ocispec.MediaTypeEmptyJSON || m.ArtifactType != testType {
				t.Errorf("manifest %s", raw)
			}
			if _, err := open().ReadArtifact(ctx, d.Digest.String()); err == nil || !strings.Contains(err.Error(), "artifact type") {
				t.Errorf("a referrer passed as an artifact: %v", err)
			}
		}
		if all, err := open().Referrers(ctx, a.Descriptor, ""); err != nil || len(all) != 3 {
			t.Errorf("%d referrers of any type, %v", len(all), err)
		}
	})
}

// TestAttachListed attaches what is probably listed, when it is and when it is not.
func TestAttachListed(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		ctx := t.Context()
		a := mustPack(t, sample(), nil)
		push(t, open(), a)
		listed := proof("listed")
		listed.Listed = true
		for i, want := range []int{2, 3} {
			if err := open().Attach(ctx, a.Descriptor, proof(fmt.Sprint(i)), listed); err != nil {
				t.Fatal(err)
			}
			found, err := open().Referrers(ctx, a.Descriptor, testType)
			if err != nil || len(found) != want {
				t.Fatalf("%d referrers, %v", len(found), err)
			}
			for _, d := range found {
				if _, _, err := open().Manifest(ctx, d.Digest.String()); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// TestAttachConcurrently is what loses entries of the fallback index to `oras
// attach`: eight writers that know nothing of each other.
func TestAttachConcurrently(t *testing.T) {
	t.Parallel()
	onEveryBackend(t, func(t *testing.T, open func() *Repository) {
		const writers = 8
		a := mustPack(t, sample(), nil)
		push(t, open(), a)
		var wg sync.WaitGroup
		for i := range writers {
			r := open()
			wg.Go(func() {
				if err := r.Attach(t.Context(), a.Descriptor, proof(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if found, err := open().Referrers(t.Context(), a.Descriptor, testType); err != nil || len(found) != writers {
			t.Errorf("%d of %d referrers survive, %v", len(found), writers, err)
		}
	})
}

// TestForeignFallbackIndex reads an index whose entries name digests only.
func TestForeignFallbackIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := open(t, serve(t, registry.Options{WithoutReferrers: true})+"/acme/app", Options{})
	a := mustPack(t, sample(), nil)
	push(t, r, a)
	bare, err := proof("bare").pack(a.Descriptor)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.PushManifest(ctx, bare.desc.MediaType, bare.manifest, bare.blobs...); err != nil {
		t.Fatal(err)
	}
	index, err := json.Marshal(ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{plain(bare.desc)}})
	if err != nil {
		t.Fatal(err)
	}
	index = []byte(strings.Replace(string(index), `"schemaVersion":0`, `"schemaVersion":2`, 1))
	indexDesc, err := r.PushManifest(ctx, ocispec.MediaTypeImageIndex, index)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Tag(ctx, indexDesc, strings.Replace(a.Descriptor.Digest.String(), ":", "-", 1)); err != nil {
		t.Fatal(err)
	}
	found, err := r.Referrers(ctx, a.Descriptor, testType)
	if err != nil || len(found) != 1 || found[0].Annotations["proof"] != "bare" {
		t.Errorf("referrers %+v, %v", found, err)
	}
	if err := r.Attach(ctx, a.Descriptor, proof("ours")); err != nil {
		t.Fatal(err)
	}
	if found, err = r.Referrers(ctx, a.Descriptor, testType); err != nil || len(found) != 2 {
		t.Errorf("%d referrers after ours, %v", len(found), err)
	}
}

func TestReadArtifactRefuses(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	change := func(f func(*ocispec.Manifest)) []byte {
		var m ocispec.Manifest
		if err := json.Unmarshal(a.Manifest, &m); err != nil {
			t.Fatal(err)
		}
		f(&m)
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"two layers":    {change(func(m *ocispec.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) }), "2 layers"},
		"no layer":      {change(func(m *ocispec.Manifest) { m.Layers = nil }), "0 layers"},
		"subject":       {change(func(m *ocispec.Manifest) { m.Subject = &a.Descriptor }), "subject"},
		"artifact type": {change(func(m *ocispec.Manifest) { m.ArtifactType = testType }), "artifact type"},
		"zstd":          {change(func(m *ocispec.Manifest) { m.Layers[0].MediaType = ocispec.MediaTypeImageLayerZstd }), "layer media type"},
		"config":        {change(func(m *ocispec.Manifest) { m.Config.MediaType = testType }), "config media type"},
		"index":         {change(func(m *ocispec.Manifest) { m.MediaType = ocispec.MediaTypeImageIndex }), "declares"},
		"URLs":          {change(func(m *ocispec.Manifest) { m.Layers[0].URLs = []string{"https://example.com/layer"} }), "names URLs"},
		"layers twice":  {bytes.Replace(a.Manifest, []byte(`"layers":`), []byte(`"layers":[],"layers":`), 1), "duplicate field"},
		"other case":    {bytes.Replace(a.Manifest, []byte(`"layers":`), []byte(`"Layers":[],"layers":`), 1), "in two cases"},
		"long s":        {bytes.Replace(a.Manifest, []byte(`"layers":`), []byte(`"layerſ":[],"layers":`), 1), "in two cases"},
		"no JSON":       {[]byte("{"), "JSON"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := ParseManifest(describe(ocispec.MediaTypeImageManifest, test.raw), test.raw)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	if _, err := ParseManifest(a.Descriptor, change(func(m *ocispec.Manifest) { m.Annotations = map[string]string{"x": "y"} })); err == nil {
		t.Error("other bytes than described were accepted")
	}
}

// TestLayoutIsReadByOthers has go-containerregistry, and through it crane, read what
// was written.
func TestLayoutIsReadByOthers(t *testing.T) {
	t.Parallel()
	ctx, base := t.Context(), t.TempDir()
	r := open(t, "oci-layout:out", Options{BaseDir: base})
	a := mustPack(t, sample(), sampleAnnotations)
	push(t, r, a)
	for _, tag := range []string{"one", "two"} {
		if err := r.Tag(ctx, a.Descriptor, tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Attach(ctx, a.Descriptor, proof("x")); err != nil {
		t.Fatal(err)
	}
	index, err := ggcr.ImageIndexFromPath(filepath.Join(base, "out"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var tags []string
	for _, d := range manifest.Manifests {
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if tag := d.Annotations[ocispec.AnnotationRefName]; tag != "" {
			tags = append(tags, tag)
			layers, err := image.Layers()
			if err != nil || len(layers) != 1 {
				t.Fatalf("%d layers, %v", len(layers), err)
			}
			if id, err := layers[0].DiffID(); err != nil || id.String() != a.ContentDigest.String() {
				t.Errorf("diff_id %s, %v", id, err)
			}
		}
	}
	if !slices.Equal(tags, []string{"one", "two"}) || len(manifest.Manifests) != 3 {
		t.Errorf("index %+v", manifest.Manifests)
	}
	if left, err := fs.Glob(dirFS(filepath.Join(base, "out")), ".*"); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBrokenLayouts holds what a hostile or damaged directory may contain.
func TestBrokenLayouts(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	blob := "blobs/sha256/" + a.Descriptor.Digest.Encoded()
	entry := func(d string, size int) string {
		return fmt.Sprintf(`{"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"t"}}]}`,
			a.Descriptor.MediaType, d, size)
	}
	tests := map[string]struct {
		files map[string]string
		want  string
	}{
		"no JSON":       {map[string]string{"index.json": "{"}, "JSON"},
		"path":          {map[string]string{"index.json": entry("sha256:../../../etc/passwd", 1)}, "digest"},
		"missing":       {map[string]string{"index.json": entry(a.Descriptor.Digest.String(), len(a.Manifest))}, "not found"},
		"wrong size":    {map[string]string{"index.json": entry(a.Descriptor.Digest.String(), 1), blob: string(a.Manifest)}, "by the index"},
		"wrong content": {map[string]string{"index.json": entry(a.Descriptor.Digest.String(), len(a.Manifest)), blob: strings.Repeat("x", len(a.Manifest))}, "content has digest"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for file, data := range test.files {
				writeFile(t, filepath.Join(dir, filepath.FromSlash(file)), data)
			}
			r := open(t, layoutPrefix+dir, Options{})
			if _, _, err := r.Manifest(t.Context(), "t"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	t.Run("version", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		writeFile(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"9.0.0"}`)
		if err := open(t, layoutPrefix+dir, Options{}).PushArtifact(t.Context(), a); err == nil || !strings.Contains(err.Error(), "9.0.0") {
			t.Errorf("error %v", err)
		}
	})
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := open(t, serve(t, registry.Options{})+"/acme/app", Options{})
	if err := r.PushArtifact(ctx, mustPack(t, fstest.MapFS{"x": {}}, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

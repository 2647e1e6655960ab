package sign

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func readManifest(t *testing.T, m *memory, tag string) ocispec.Manifest {
	t.Helper()
	var manifest ocispec.Manifest
	if err := json.Unmarshal(m.blobs[m.tags[tag]], &manifest); err != nil {
		t.Fatalf("%s: %v", tag, err)
	}
	return manifest
}

func mustSignImage(t *testing.T, store Store, subject ocispec.Descriptor, signer Signer, c Claim) {
	t.Helper()
	if err := signImage(t.Context(), store, subject, signer, c); err != nil {
		t.Fatal(err)
	}
}

// signImage makes a signature and attaches it.
func signImage(ctx context.Context, store Store, subject ocispec.Descriptor, signer Signer, c Claim) error {
	verifier, err := NewVerifier(signer.Identity())
	if err != nil {
		return err
	}
	signature, err := NewImageSignature(ctx, signer, subject.Digest, c)
	if err != nil {
		return err
	}
	return AttachImages(ctx, store, subject, []*Verifier{verifier}, signature)
}

func TestSignImage(t *testing.T) {
	t.Parallel()
	store, subject := newMemory(), artifact("a")
	tag := "sha256-" + subject.Digest.Encoded() + ".sig"
	hydrator, promoter := newKey(t), newKey(t)
	v := verifierOf(t, map[string]*Key{"hydrator": hydrator, "promoter": promoter})

	mustSignImage(t, store, subject, hydrator, claim("test"))
	first := store.tags[tag]
	mustSignImage(t, store, subject, hydrator, claim("test"))
	if store.tags[tag] != first {
		t.Error("signing the same again changed the signatures")
	}
	mustSignImage(t, store, subject, promoter, claim("test"))
	if n := len(readManifest(t, store, tag).Layers); n != 2 {
		t.Fatalf("%d signatures of two keys", n)
	}
	changed := claim("test")
	changed.Release = "git-" + strings.Repeat("f", 40)
	mustSignImage(t, store, subject, hydrator, changed)

	verified, rejected, err := VerifyImage(t.Context(), store, subject, v)
	if err != nil || len(verified) != 2 || len(rejected) != 0 {
		t.Fatalf("verified %+v, rejected %v, %v", verified, rejected, err)
	}
	for _, got := range verified {
		want := claim("test")
		if got.Identity() == "hydrator" {
			want = changed
		}
		if got.Claim() != want || got.Digest() != subject.Digest || got.SubjectName() != want.Repository {
			t.Errorf("%s: %+v", got.Identity(), got)
		}
	}

	// The form is cosign's. The configuration stays that of the first signature.
	manifest := readManifest(t, store, tag)
	var config ocispec.Image
	if err := json.Unmarshal(store.blobs[manifest.Config.Digest], &config); err != nil || len(config.RootFS.DiffIDs) != 1 {
		t.Fatalf("configuration %+v, %v", config, err)
	}
	for _, l := range manifest.Layers {
		if l.MediaType != "application/vnd.dev.cosign.simplesigning.v1+json" || l.Annotations["dev.cosignproject.cosign/signature"] == "" {
			t.Errorf("layer %+v", l)
		}
	}
}

func TestVerifyImageRejects(t *testing.T) {
	t.Parallel()
	subject, other := artifact("a"), artifact("b")
	tag := func(d ocispec.Descriptor) string { return signatureForm.tag(d.Digest) }
	key := newKey(t)
	set := func(m *memory, manifest ocispec.Manifest) {
		raw, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		m.tags[tag(subject)] = m.put(raw)
	}
	layer := func(m *memory, payload []byte) ocispec.Descriptor {
		annotations, err := key.SignPayload(t.Context(), payload)
		if err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{MediaType: signatureForm.mediaType, Digest: m.put(payload), Size: int64(len(payload)), Annotations: annotations}
	}
	for name, test := range map[string]struct {
		change func(*memory)
		want   string
	}{
		"copied from another digest": {func(m *memory) {
			mustSignImage(t, m, other, key, claim("test"))
			m.tags[tag(subject)] = m.tags[tag(other)]
		}, "hydrator signed it, but for another artifact"},
		"another key": {func(m *memory) {
			delete(m.tags, tag(subject))
			mustSignImage(t, m, subject, newKey(t), claim("test"))
		}, "not signed by hydrator"},
		"tampered payload": {func(m *memory) {
			manifest := readManifest(t, m, tag(subject))
			payload := bytes.Replace(m.blobs[manifest.Layers[0].Digest], []byte(`"stage":"test"`), []byte(`"stage":"prod"`), 1)
			manifest.Layers[0].Digest = m.put(payload)
			set(m, manifest)
		}, "not signed by hydrator"},
		"no signature": {func(m *memory) {
			manifest := readManifest(t, m, tag(subject))
			manifest.Layers[0].Annotations = nil
			set(m, manifest)
		}, "hold no signature"},
		"payload gone": {func(m *memory) {
			delete(m.blobs, readManifest(t, m, tag(subject)).Layers[0].Digest)
		}, "payload is gone"},
		"another layer": {func(m *memory) {
			manifest := readManifest(t, m, tag(subject))
			manifest.Layers[0].MediaType = "text/plain"
			set(m, manifest)
		}, "not a simple signing payload"},
		"huge payload": {func(m *memory) {
			manifest := readManifest(t, m, tag(subject))
			manifest.Layers[0].Size = signatureForm.maxSize + 1
			set(m, manifest)
		}, "at most"},
		"a statement, signed": {func(m *memory) {
			set(m, ocispec.Manifest{Layers: []ocispec.Descriptor{layer(m, []byte(`{"_type":"https://in-toto.io/Statement/v1"}`))}})
		}, "hydrator signed it, but as"},
		"bytes, signed": {func(m *memory) {
			set(m, ocispec.Manifest{Layers: []ocispec.Descriptor{layer(m, []byte(`hello`))}})
		}, "not a simple signing payload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			mustSignImage(t, store, subject, key, claim("test"))
			test.change(store)
			v := verifierOf(t, map[string]*Key{"hydrator": key})
			verified, rejected, err := VerifyImage(t.Context(), store, subject, v)
			if err != nil {
				t.Fatal(err)
			}
			if len(verified) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, test.want) {
				t.Errorf("verified %+v, rejected %v, want %q", verified, rejected, test.want)
			}
			// Whatever lies there, signing anew gives a good signature beside or instead.
			mustSignImage(t, store, subject, key, claim("test"))
			if verified, _, err = VerifyImage(t.Context(), store, subject, v); err != nil || len(verified) != 1 {
				t.Errorf("after signing again: %+v, %v", verified, err)
			}
		})
	}
}

func TestSignImageBounds(t *testing.T) {
	t.Parallel()
	subject, key := artifact("a"), newKey(t)
	fill := func(n int) *memory {
		m := newMemory()
		raw, err := json.Marshal(ocispec.Manifest{Layers: make([]ocispec.Descriptor, n)})
		if err != nil {
			t.Fatal(err)
		}
		m.tags[signatureForm.tag(subject.Digest)] = m.put(raw)
		return m
	}
	// Junk does not keep anybody from signing, nor from finding that signature, which is the last one.
	for _, n := range []int{maxLayers - 1, maxLayers, 50 * maxLayers} {
		store, v := fill(n), verifierOf(t, map[string]*Key{"a": key})
		if verified, rejected, err := VerifyImage(t.Context(), store, subject, v); err != nil || len(verified) != 0 || len(rejected) != n {
			t.Errorf("%d layers: %d verified, %d rejected, %v", n, len(verified), len(rejected), err)
		}
		mustSignImage(t, store, subject, key, claim("test"))
		if verified, rejected, err := VerifyImage(t.Context(), store, subject, v); err != nil || len(verified) != 1 || len(rejected) != maxLayers-1 {
			t.Errorf("%d layers, signed: %d verified, %d rejected, %v", n, len(verified), len(rejected), err)
		}
	}
	sha512 := ocispec.Descriptor{Digest: digest.SHA512.FromString("a")}
	if err := signImage(t.Context(), newMemory(), sha512, key, claim("test")); err == nil {
		t.Error("signed a sha512 digest")
	}
}

// Tags have no compare-and-swap: who writes in between takes our signature away, and it has to come back.
func TestSignImageSurvivesOverwriting(t *testing.T) {
	t.Parallel()
	store, subject, key := newMemory(), artifact("a"), newKey(t)
	store.beforeTag = func(m *memory) { delete(m.tags, signatureForm.tag(subject.Digest)) }
	mustSignImage(t, store, subject, key, claim("test"))
	verified, _, err := VerifyImage(t.Context(), store, subject, verifierOf(t, map[string]*Key{"a": key}))
	if err != nil || len(verified) != 1 {
		t.Errorf("%+v, %v", verified, err)
	}
}

func TestSignImageAtOnce(t *testing.T) {
	t.Parallel()
	store, subject := newMemory(), artifact("a")
	keys := map[string]*Key{"a": newKey(t), "b": newKey(t)}
	var group sync.WaitGroup
	for _, key := range keys {
		group.Go(func() {
			if err := signImage(t.Context(), store, subject, key, claim("test")); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	verified, _, err := VerifyImage(t.Context(), store, subject, verifierOf(t, keys))
	if err != nil || len(verified) == 0 {
		t.Errorf("%d signatures of two signers, %v", len(verified), err)
	}
	// Registries have no compare-and-swap: a writer that read before the other one wrote may overwrite what the other one has
	// read back already. The next run of both puts that right.
	for _, key := range keys {
		mustSignImage(t, store, subject, key, claim("test"))
	}
	if verified, _, err = VerifyImage(t.Context(), store, subject, verifierOf(t, keys)); err != nil || len(verified) != 2 {
		t.Errorf("after the next run %d signatures of two signers, %v", len(verified), err)
	}
}

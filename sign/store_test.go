package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// memory is a Store that keeps what it is given, true or not: what a registry may hold after a stranger wrote to it.
type memory struct {
	mu        sync.Mutex
	blobs     map[digest.Digest][]byte
	tags      map[string]digest.Digest
	referrers map[digest.Digest][]ocispec.Descriptor
	err       error // every read fails with it
	beforeTag func(*memory)
}

func newMemory() *memory {
	return &memory{
		blobs:     map[digest.Digest][]byte{},
		tags:      map[string]digest.Digest{},
		referrers: map[digest.Digest][]ocispec.Descriptor{},
	}
}

func (m *memory) Name() string { return "registry.test/acme/app" }

func (m *memory) put(data []byte) digest.Digest {
	d := digest.FromBytes(data)
	m.blobs[d] = data
	return d
}

func (m *memory) get(d digest.Digest) ([]byte, error) {
	if m.err != nil {
		return nil, m.err
	}
	data, ok := m.blobs[d]
	if !ok {
		return nil, fmt.Errorf("%s: %w", d, oci.ErrNotFound)
	}
	return data, nil
}

func (m *memory) Referrers(_ context.Context, subject ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	var found []ocispec.Descriptor
	for _, d := range m.referrers[subject.Digest] {
		undescribed := d.ArtifactType == "" || d.ArtifactType == ocispec.MediaTypeEmptyJSON // a registry's client reads the manifest
		if artifactType == "" || artifactType == d.ArtifactType || undescribed {
			found = append(found, d)
		}
	}
	return found, nil
}

func (m *memory) Manifest(_ context.Context, reference string) (ocispec.Descriptor, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.tags[reference]
	if !ok {
		d = digest.Digest(reference)
	}
	data, err := m.get(d)
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}, data, err
}

func (m *memory) Blob(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.get(desc.Digest)
}

func (m *memory) Attach(_ context.Context, subject ocispec.Descriptor, referrers ...oci.Referrer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, referrer := range referrers {
		desc, err := referrer.Descriptor(subject)
		if err != nil {
			return err
		}
		manifest := ocispec.Manifest{ArtifactType: referrer.ArtifactType, Annotations: referrer.Annotations, Subject: &subject}
		for _, l := range referrer.Layers {
			m.put(l.Data)
			manifest.Layers = append(manifest.Layers, l.Descriptor())
		}
		raw, err := json.Marshal(manifest)
		if err != nil {
			return err
		}
		m.blobs[desc.Digest] = raw
		m.referrers[subject.Digest] = append(m.referrers[subject.Digest], desc)
	}
	return nil
}

func (m *memory) PushTagged(_ context.Context, tag, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range blobs {
		m.put(b.Data)
	}
	m.tags[tag] = m.put(manifest)
	if hook := m.beforeTag; hook != nil {
		m.beforeTag = nil
		hook(m)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: m.tags[tag], Size: int64(len(manifest))}, nil
}

// artifact is a subject to sign; nothing here reads it.
func artifact(name string) ocispec.Descriptor {
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: int64(len(name)),
	}
}

func claim(stage string) Claim {
	return Claim{
		Pipeline: "codeai", Stage: stage, Release: "git-0123456789012345678901234567890123456789",
		Repository: "registry.test/acme/app",
	}
}

// newKey makes an unencrypted key: scrypt costs tests more than signing does.
func newKey(t testing.TB) *Key {
	t.Helper()
	key, err := OpenKey(t.Context(), writeKey(t, newPrivateKey(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func verifierOf(t testing.TB, keys map[string]*Key) *Verifier {
	t.Helper()
	var ids []Identity
	for name, key := range keys {
		ids = append(ids, Identity{Name: name, PublicKey: key.PublicKey()})
	}
	v, err := NewVerifier(ids...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func mustAttest(t testing.TB, store Store, subject ocispec.Descriptor, signer Signer, s Statement) ocispec.Descriptor {
	t.Helper()
	bundle, err := Attest(t.Context(), store, subject, signer, s)
	if err != nil {
		t.Fatal(err)
	}
	referrer, err := bundle.asReferrer(subject.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: bundle.Referrer,
		ArtifactType: referrer.ArtifactType, Annotations: referrer.Annotations,
	}
}

package oci

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/strictjson"
)

// Blob is content with its media type: a config, a layer, or the payload of a referrer.
type Blob struct {
	MediaType string
	Data      []byte
	// Annotations are those of the blob's descriptor in a manifest.
	Annotations map[string]string
}

// Descriptor returns the descriptor by which manifests name the blob.
func (b Blob) Descriptor() ocispec.Descriptor {
	d := describe(b.MediaType, b.Data)
	d.Annotations = b.Annotations
	return d
}

func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

// Referrer is a manifest that is attached to another one: a signature, an attestation.
type Referrer struct {
	// ArtifactType is the media type by which referrers are looked for.
	ArtifactType string
	// Config is the empty JSON object of the image specification when nil.
	Config *Blob
	// Layers are the content; the empty JSON object if empty.
	Layers []Blob
	// Annotations are in the manifest and in the list of referrers.
	Annotations map[string]string
	// Listed says that it is probably attached already: it is written only if it is not listed.
	Listed bool
}

// Descriptor returns what lists of the subject's referrers show of the referrer, once it is attached.
func (r Referrer) Descriptor(subject ocispec.Descriptor) (ocispec.Descriptor, error) {
	p, err := r.pack(subject)
	return p.desc, err
}

// Blobs returns what the referrer's manifest names.
func (r Referrer) Blobs() []Blob {
	empty := Blob{MediaType: ocispec.MediaTypeEmptyJSON, Data: []byte("{}")}
	blobs := []Blob{*cmp.Or(r.Config, &empty)}
	if blobs = append(blobs, r.Layers...); len(r.Layers) == 0 {
		blobs = append(blobs, empty)
	}
	return blobs
}

// packed is the manifest of a referrer, its descriptor as lists of referrers show it, and the blobs that it names.
type packed struct {
	desc     ocispec.Descriptor
	manifest []byte
	blobs    []Blob
	listed   bool // it is not written before the list lacks it
}

func (r Referrer) pack(subject ocispec.Descriptor) (packed, error) {
	blobs := r.Blobs()
	to := plain(subject)
	m := ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: r.ArtifactType,
		Config:       blobs[0].Descriptor(),
		Subject:      &to,
		Annotations:  r.Annotations,
	}
	for _, layer := range blobs[1:] {
		m.Layers = append(m.Layers, layer.Descriptor())
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return packed{}, fmt.Errorf("referrer of %s: %w", subject.Digest, err)
	}
	if len(raw) > MaxManifestSize {
		return packed{}, fmt.Errorf("referrer of %s: the manifest is larger than %d bytes", subject.Digest, MaxManifestSize)
	}
	desc := describe(m.MediaType, raw)
	desc.ArtifactType, desc.Annotations = r.ArtifactType, r.Annotations
	return packed{desc, raw, blobs, r.Listed}, nil
}

// plain strips a descriptor to what identifies content.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

// Manifest is the manifest of an artifact, checked to have the form that [Pack] gives it.
type Manifest struct {
	// Descriptor describes the manifest itself.
	Descriptor ocispec.Descriptor
	// Annotations are the manifest's.
	Annotations map[string]string
	// Config and Layer describe the two blobs.
	Config, Layer ocispec.Descriptor
}

// ParseManifest reads the manifest that desc describes. Every deviation from the form of an artifact is an error.
func ParseManifest(desc ocispec.Descriptor, raw []byte) (Manifest, error) {
	fail := func(format string, args ...any) (Manifest, error) {
		return Manifest{}, fmt.Errorf("manifest %s: %s", desc.Digest, fmt.Sprintf(format, args...))
	}
	if err := verify(desc, raw); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	if desc.MediaType != ocispec.MediaTypeImageManifest {
		return fail("media type is %q, not %q", desc.MediaType, ocispec.MediaTypeImageManifest)
	}
	var m ocispec.Manifest
	if err := strictjson.Decode(raw, &m); err != nil { // registries and clusters read it, too
		return Manifest{}, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	switch {
	case m.SchemaVersion != 2 || m.MediaType != ocispec.MediaTypeImageManifest:
		return fail("it declares schema version %d and media type %q", m.SchemaVersion, m.MediaType)
	case m.ArtifactType != "":
		return fail("it has the artifact type %q, and an artifact has none", m.ArtifactType)
	case m.Subject != nil:
		return fail("it refers to the subject %s, and an artifact has none", m.Subject.Digest)
	case m.Config.MediaType != ocispec.MediaTypeImageConfig:
		return fail("config media type is %q, not %q", m.Config.MediaType, ocispec.MediaTypeImageConfig)
	case len(m.Layers) != 1:
		return fail("it has %d layers, not exactly one", len(m.Layers))
	case m.Layers[0].MediaType != ocispec.MediaTypeImageLayerGzip:
		return fail("layer media type is %q, not %q", m.Layers[0].MediaType, ocispec.MediaTypeImageLayerGzip)
	case len(m.Config.URLs)+len(m.Layers[0].URLs) > 0:
		return fail("it names URLs for its blobs, which the registry has")
	}
	return Manifest{Descriptor: plain(desc), Annotations: m.Annotations, Config: m.Config, Layer: m.Layers[0]}, nil
}

// verify returns an error unless desc describes data.
func verify(desc ocispec.Descriptor, data []byte) error {
	if err := desc.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", desc.Digest, err)
	}
	got := desc.Digest.Algorithm().FromBytes(data)
	if int64(len(data)) != desc.Size {
		err := fmt.Errorf("%s: %d bytes, expected %d", desc.Digest, len(data), desc.Size)
		if got == desc.Digest {
			return unfitError{err} // what names it is wrong
		}
		return err
	}
	if got != desc.Digest {
		return fmt.Errorf("content has digest %s, expected %s", got, desc.Digest)
	}
	return nil
}

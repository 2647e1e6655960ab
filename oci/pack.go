package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// gzipLevel is a level number, not a name, so that it does not move.
	gzipLevel = 6
	// gzipOS is «unknown» of RFC 1952, 2.3.1.
	gzipOS = 255
	// layerTitle names the file that `oras pull` writes; it silently skips a layer without a title.
	layerTitle = "manifests.tar.gz"
)

// Digests identify an artifact.
type Digests struct {
	Digest  digest.Digest `json:"digest"`  // of the manifest
	Content digest.Digest `json:"content"` // of the uncompressed layer: the tree, however it is compressed and annotated
}

// Artifact is a packed tree, ready to be pushed.
type Artifact struct {
	// Descriptor describes Manifest.
	Descriptor ocispec.Descriptor
	// ContentDigest is the sha256 of the uncompressed layer.
	ContentDigest digest.Digest
	// Manifest, Config and Layer are the stored bytes.
	Manifest, Config, Layer []byte
}

// Layer is the layer of a packed tree.
type Layer struct {
	// ContentDigest is the sha256 of the uncompressed layer.
	ContentDigest digest.Digest
	data          []byte
}

// Pack makes the artifact of tree, in the form of the package documentation. The annotations become the manifest's.
func Pack(tree fs.FS, annotations map[string]string) (Artifact, error) {
	layer, err := PackLayer(tree)
	if err != nil {
		return Artifact{}, err
	}
	return layer.Artifact(annotations)
}

// PackLayer packs tree.
func PackLayer(tree fs.FS) (Layer, error) {
	var layer bytes.Buffer
	tarDigest := sha256.New()
	zw, err := gzip.NewWriterLevel(&layer, gzipLevel)
	if err != nil {
		return Layer{}, fmt.Errorf("pack: %w", err)
	}
	// The zero Time is not the zero of the header: this encoder would write year 1.
	zw.ModTime, zw.OS = time.Unix(0, 0), gzipOS
	if err := writeTar(io.MultiWriter(zw, tarDigest), tree); err != nil {
		return Layer{}, err
	}
	if err := zw.Close(); err != nil {
		return Layer{}, fmt.Errorf("pack: %w", err)
	}
	if layer.Len() > MaxBlobSize {
		return Layer{}, fmt.Errorf("pack: the compressed layer is larger than %d bytes", MaxBlobSize)
	}
	return Layer{digest.NewDigest(digest.SHA256, tarDigest), bytes.Clone(layer.Bytes())}, nil // without the room to grow, as it is kept
}

// Artifact makes the artifact of a layer. The annotations become the manifest's.
func (l Layer) Artifact(annotations map[string]string) (Artifact, error) {
	config := ocispec.Image{Platform: ocispec.Platform{Architecture: "unknown", OS: "unknown"}}
	if s, ok := annotations[ocispec.AnnotationCreated]; ok {
		created, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return Artifact{}, fmt.Errorf("pack: annotation %s: %w", ocispec.AnnotationCreated, err)
		}
		created = created.UTC()
		config.Created = &created
	}
	a := Artifact{Layer: l.data, ContentDigest: l.ContentDigest}
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{a.ContentDigest}}
	var err error
	if a.Config, err = json.Marshal(config); err != nil {
		return Artifact{}, fmt.Errorf("pack: config: %w", err)
	}
	blobs := a.Blobs()
	a.Manifest, err = json.Marshal(ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      blobs[0].Descriptor(),
		Layers:      []ocispec.Descriptor{blobs[1].Descriptor()},
		Annotations: annotations,
	})
	if err != nil {
		return Artifact{}, fmt.Errorf("pack: manifest: %w", err)
	}
	if len(a.Manifest) > MaxManifestSize {
		return Artifact{}, fmt.Errorf("pack: the manifest is larger than %d bytes", MaxManifestSize)
	}
	a.Descriptor = describe(ocispec.MediaTypeImageManifest, a.Manifest)
	return a, nil
}

// Blobs returns config and layer, in this order.
func (a Artifact) Blobs() []Blob {
	return []Blob{
		{MediaType: ocispec.MediaTypeImageConfig, Data: a.Config},
		{
			MediaType: ocispec.MediaTypeImageLayerGzip, Data: a.Layer,
			Annotations: map[string]string{ocispec.AnnotationTitle: layerTitle},
		},
	}
}

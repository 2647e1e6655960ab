package publish

import (
	"context"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// store makes the writes to a stage's repository, and remembers whether it made any. In a dry run it makes none.
type store struct {
	*oci.Repository
	dry   bool
	wrote atomic.Bool
}

// PushArtifact writes an artifact, without a tag.
func (s *store) PushArtifact(ctx context.Context, a oci.Artifact) error {
	s.wrote.Store(true)
	if s.dry {
		return nil
	}
	return s.Repository.PushArtifact(ctx, a)
}

// Attach implements [sign.Store].
func (s *store) Attach(ctx context.Context, subject ocispec.Descriptor, referrer oci.Referrer) (ocispec.Descriptor, error) {
	s.wrote.Store(true)
	if s.dry {
		return referrer.Descriptor(subject)
	}
	return s.Repository.Attach(ctx, subject, referrer)
}

// PushManifest implements [sign.Store].
func (s *store) PushManifest(ctx context.Context, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error) {
	s.wrote.Store(true)
	if s.dry {
		return oci.Blob{MediaType: mediaType, Data: manifest}.Descriptor(), nil
	}
	return s.Repository.PushManifest(ctx, mediaType, manifest, blobs...)
}

// Tag implements [sign.Store].
func (s *store) Tag(ctx context.Context, desc ocispec.Descriptor, tag string) error {
	s.wrote.Store(true)
	if s.dry {
		return nil
	}
	return s.Repository.Tag(ctx, desc, tag)
}

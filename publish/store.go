package publish

import (
	"context"
	"sync/atomic"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// Store makes the writes to a stage's repository, and remembers whether it made any. In a dry run it makes none.
type Store struct {
	*oci.Repository
	dry   bool
	wrote atomic.Bool
}

// NewStore writes to a repository, or in a dry run does not.
func NewStore(repository *oci.Repository, dry bool) *Store {
	return &Store{Repository: repository, dry: dry}
}

// Wrote reports whether anything was written, or would have been.
func (s *Store) Wrote() bool { return s.wrote.Load() }

// PushArtifact writes an artifact, without a tag.
func (s *Store) PushArtifact(ctx context.Context, a oci.Artifact) error {
	s.wrote.Store(true)
	if s.dry {
		return nil
	}
	return s.Repository.PushArtifact(ctx, a)
}

// Attach implements [sign.Store].
func (s *Store) Attach(ctx context.Context, subject ocispec.Descriptor, referrer oci.Referrer) (ocispec.Descriptor, error) {
	s.wrote.Store(true)
	if s.dry {
		return referrer.Descriptor(subject)
	}
	return s.Repository.Attach(ctx, subject, referrer)
}

// PushManifest implements [sign.Store].
func (s *Store) PushManifest(ctx context.Context, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error) {
	s.wrote.Store(true)
	if s.dry {
		return oci.Blob{MediaType: mediaType, Data: manifest}.Descriptor(), nil
	}
	return s.Repository.PushManifest(ctx, mediaType, manifest, blobs...)
}

// Tag implements [sign.Store].
func (s *Store) Tag(ctx context.Context, desc ocispec.Descriptor, tag string) error {
	s.wrote.Store(true)
	if s.dry {
		return nil
	}
	return s.Repository.Tag(ctx, desc, tag)
}

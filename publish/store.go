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

// PushBlobs implements [sign.FirstStore].
func (s *Store) PushBlobs(ctx context.Context, blobs ...oci.Blob) error {
	return s.write(func() error { return s.Repository.PushBlobs(ctx, blobs...) })
}

// PushArtifact writes an artifact, without a tag.
func (s *Store) PushArtifact(ctx context.Context, a oci.Artifact) error {
	return s.write(func() error { return s.Repository.PushArtifact(ctx, a) })
}

// Attach implements [sign.Store].
func (s *Store) Attach(ctx context.Context, subject ocispec.Descriptor, referrers ...oci.Referrer) error {
	return s.write(func() error { return s.Repository.Attach(ctx, subject, referrers...) })
}

// AttachFirst implements [sign.FirstStore].
func (s *Store) AttachFirst(ctx context.Context, subject ocispec.Descriptor, referrers ...oci.Referrer) error {
	return s.write(func() error { return s.Repository.AttachFirst(ctx, subject, referrers...) })
}

// PushTagged implements [sign.Store].
func (s *Store) PushTagged(ctx context.Context, tag, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error) {
	return oci.Blob{MediaType: mediaType, Data: manifest}.Descriptor(), s.write(func() error {
		_, err := s.Repository.PushTagged(ctx, tag, mediaType, manifest, blobs...)
		return err
	})
}

// Tag points tags at an artifact.
func (s *Store) Tag(ctx context.Context, desc ocispec.Descriptor, tags ...string) error {
	return s.write(func() error { return s.Repository.Tag(ctx, desc, tags...) })
}

func (s *Store) write(do func() error) error {
	s.wrote.Store(true)
	if s.dry {
		return nil
	}
	return do()
}

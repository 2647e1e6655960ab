package sign

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// Reader is a repository that can be verified; *oci.Repository is one. An absent tag or digest is oci.ErrNotFound, and bytes
// have the digest that they were asked for by.
type Reader interface {
	// Referrers lists the manifests whose subject is the given one; an empty artifact type asks for all.
	Referrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error)
	// Manifest reads a manifest by tag or digest.
	Manifest(ctx context.Context, reference string) (ocispec.Descriptor, []byte, error)
	// Blob reads a blob by its descriptor.
	Blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
}

// Store is a repository that can be signed in.
type Store interface {
	Reader
	// Name returns the repository as statements name it, such as ghcr.io/acme/app.
	Name() string
	// Attach writes a referrer and returns when readers can find it.
	Attach(ctx context.Context, subject ocispec.Descriptor, referrer oci.Referrer) (ocispec.Descriptor, error)
	// PushManifest writes a manifest after the blobs that it names.
	PushManifest(ctx context.Context, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error)
	// Tag points a tag at a manifest of this repository.
	Tag(ctx context.Context, desc ocispec.Descriptor, tag string) error
}

var _ Store = (*oci.Repository)(nil)

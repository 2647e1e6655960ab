package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/redact"
)

// maxIndexDepth bounds how deep indexes are nested.
const maxIndexDepth = 4

// dockerHub is the name of Docker Hub in references and credentials.
const dockerHub = "docker.io"

// ErrReference is returned for text that is not an image reference.
var ErrReference = errors.New("invalid image reference")

// Images looks up application images of any image builder. References are docker's: nginx:1.27 is
// docker.io/library/nginx:1.27.
type Images struct{ client *Client }

// NewImages returns a look-up of images in the registries that client reaches.
func NewImages(client *Client) *Images { return &Images{client} }

// Resolve returns the digest that an image reference points to now. The error is [ErrNotFound] if no such image exists.
func (i *Images) Resolve(ctx context.Context, reference string) (digest.Digest, error) {
	repository, tagOrDigest, err := i.open(reference)
	if err != nil {
		return "", err
	}
	desc, _, err := repository.Manifest(ctx, tagOrDigest)
	return desc.Digest, explainImage(err, reference)
}

// Revision returns the org.opencontainers.image.revision in the annotations of an image's manifest or index, or in the
// labels of its configuration; of an index without one, that of its first image. It is empty without any.
func (i *Images) Revision(ctx context.Context, reference string) (string, error) {
	repository, tagOrDigest, err := i.open(reference)
	if err != nil {
		return "", err
	}
	revision, err := revisionOf(ctx, repository, tagOrDigest, maxIndexDepth)
	return revision, explainImage(err, reference)
}

// Repository opens the repository of an image reference, in which the image's referrers are found.
func (i *Images) Repository(reference string) (*Repository, error) {
	repository, _, err := i.open(reference)
	return repository, err
}

// open returns the repository and the tag or digest of a reference, as docker reads it.
func (i *Images) open(reference string) (*Repository, string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, "", fmt.Errorf("%w %q: write HOST/PATH:TAG", ErrReference, redact.URL(reference))
	}
	host := ref.Context().RegistryStr()
	if host == name.DefaultRegistry {
		host = dockerHub
	}
	repository, err := i.client.Repository(host + "/" + ref.Context().RepositoryStr())
	return repository, ref.Identifier(), err
}

func revisionOf(ctx context.Context, repository *Repository, tagOrDigest string, depth int) (string, error) {
	_, raw, err := repository.Manifest(ctx, tagOrDigest)
	if err != nil {
		return "", err
	}
	// The fields of images and of indexes. Docker's own formats have the same names.
	var manifest struct {
		Annotations map[string]string    `json:"annotations"`
		Manifests   []ocispec.Descriptor `json:"manifests"`
		Config      *ocispec.Descriptor  `json:"config"`
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return "", fmt.Errorf("manifest %s: %w", repository.Reference(tagOrDigest), err)
	}
	revision := manifest.Annotations[ocispec.AnnotationRevision]
	switch {
	case revision != "":
		return revision, nil
	case len(manifest.Manifests) > 0 && depth == 0:
		return "", fmt.Errorf("manifest %s: indexes are nested more than %d deep", repository.Reference(tagOrDigest), maxIndexDepth)
	case len(manifest.Manifests) > 0:
		return revisionOf(ctx, repository, manifest.Manifests[0].Digest.String(), depth-1)
	case manifest.Config == nil:
		return "", nil
	}
	config, err := repository.Blob(ctx, *manifest.Config)
	if err != nil {
		return "", err
	}
	var image ocispec.Image
	if err := json.Unmarshal(config, &image); err != nil {
		return "", nil //nolint:nilerr // the configuration of something else than an image has no labels
	}
	return image.Config.Labels[ocispec.AnnotationRevision], nil
}

// explainImage adds what may have caused a missing image. Other errors name the image already.
func explainImage(err error, reference string) error {
	ref, parseErr := name.ParseReference(reference)
	switch missing := errors.Is(err, ErrNotFound); {
	case missing && parseErr == nil && !strings.HasSuffix(reference, ref.Identifier()):
		return fmt.Errorf("image %s: %w in its registry with the tag %s: write REPOSITORY:TAG", reference, ErrNotFound, ref.Identifier())
	case missing:
		return fmt.Errorf("image %s: %w in its registry; was it pushed?", reference, ErrNotFound)
	}
	return err
}

package oci

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Images looks application images up: not our artifacts, but what they deploy, in whatever form they were built.
// References are read as docker reads them, so that nginx:1.27 is docker.io/library/nginx:1.27.
type Images struct {
	options []remote.Option
}

// NewImages looks images up with Docker's credentials.
func NewImages(userAgent string) *Images {
	return &Images{options: []remote.Option{
		remote.WithAuthFromKeychain(authn.DefaultKeychain),
		remote.WithUserAgent(userAgent),
		remote.WithTransport(httpsOrLoopback{remote.DefaultTransport}),
	}}
}

// Resolve returns the digest (sha256:<64 hex>) that an image reference points to now. The error is [ErrNotFound] where
// there is no such image.
func (i *Images) Resolve(ctx context.Context, reference string) (string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", reference, err)
	}
	desc, err := remote.Get(ref, i.with(ctx)...)
	if err != nil {
		return "", explainImage(err, reference)
	}
	return desc.Digest.String(), nil
}

// Revision returns the org.opencontainers.image.revision of an image: from the annotations of its manifest or index, or
// from the labels of its configuration; of an index without one, that of its first image. It is empty where there is
// none.
func (i *Images) Revision(ctx context.Context, reference string) (string, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return "", fmt.Errorf("image %q: %w", reference, err)
	}
	revision, err := i.revision(ctx, ref)
	if err != nil {
		return "", explainImage(err, reference)
	}
	return revision, nil
}

func (i *Images) revision(ctx context.Context, ref name.Reference) (string, error) {
	desc, err := remote.Get(ref, i.with(ctx)...)
	if err != nil {
		return "", err
	}
	if desc.MediaType.IsIndex() {
		index, err := desc.ImageIndex()
		if err != nil {
			return "", err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return "", err
		}
		if revision := manifest.Annotations[ocispec.AnnotationRevision]; revision != "" || len(manifest.Manifests) == 0 {
			return revision, nil
		}
		return i.revision(ctx, ref.Context().Digest(manifest.Manifests[0].Digest.String()))
	}
	if !desc.MediaType.IsImage() {
		return "", nil
	}
	image, err := desc.Image()
	if err != nil {
		return "", err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return "", err
	}
	if revision := manifest.Annotations[ocispec.AnnotationRevision]; revision != "" || !manifest.Config.MediaType.IsConfig() {
		return revision, nil
	}
	config, err := image.ConfigFile()
	if err != nil {
		return "", err
	}
	return config.Config.Labels[ocispec.AnnotationRevision], nil
}

func (i *Images) with(ctx context.Context) []remote.Option {
	return append([]remote.Option{remote.WithContext(ctx)}, i.options...)
}

// explainImage adds the image to an error, and makes absence ErrNotFound.
func explainImage(err error, reference string) error {
	var refused *transport.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return fmt.Errorf("image %s: %w in its registry; was it pushed?", reference, ErrNotFound)
	}
	return fmt.Errorf("image %s: %w", reference, err)
}

// httpsOrLoopback refuses plain HTTP to other machines, which go-containerregistry would speak in private networks.
type httpsOrLoopback struct{ next http.RoundTripper }

func (t httpsOrLoopback) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	if ip := net.ParseIP(host); req.URL.Scheme == "http" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("plain HTTP is spoken to loopback addresses only, not to %s", host)
	}
	return t.next.RoundTrip(req)
}

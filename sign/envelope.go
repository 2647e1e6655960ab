package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/oci"
)

const (
	// envelopeMediaType is a layer of the older form of attestations, one DSSE envelope each, under the tag sha256-<hex>.att:
	// https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md
	envelopeMediaType = "application/vnd.dsse.envelope.v1+json"

	// MaxEnvelopes is how many attestations of the older form a digest may have.
	MaxEnvelopes = 100
)

// FindEnvelopes reads the attestations of a digest in the older form, which `cosign attest` writes unless it is asked for
// bundles. What comes back is proven as other bundles are; Referrer is the digest of the envelope. None is no error; more than
// MaxEnvelopes are one, and so is a registry that fails.
func FindEnvelopes(ctx context.Context, store Reader, subject ocispec.Descriptor) ([]Bundle, error) {
	tag := attestationTag(subject.Digest)
	_, raw, err := store.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the attestations of %s: %w", subject.Digest, err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("read the attestations of %s: manifest of %s: %w", subject.Digest, tag, err)
	}
	if len(manifest.Layers) > MaxEnvelopes {
		return nil, fmt.Errorf("read the attestations of %s: %s holds %d, at most %d are read", subject.Digest, tag, len(manifest.Layers), MaxEnvelopes)
	}
	bundles := make([]Bundle, len(manifest.Layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	for i, l := range manifest.Layers {
		bundles[i].Referrer = l.Digest
		switch {
		case l.MediaType != envelopeMediaType:
			bundles[i].Problem = fmt.Sprintf("layer of type %.100q, not an attestation", l.MediaType)
		case l.Size > MaxBundleSize:
			bundles[i].Problem = fmt.Sprintf("the attestation has %d bytes, at most %d are read", l.Size, MaxBundleSize)
		default:
			group.Go(func() error {
				envelope, err := store.Blob(ctx, l)
				switch {
				case errors.Is(err, oci.ErrNotFound):
					bundles[i].Problem = "its envelope is gone"
				case err != nil:
					return err
				case !isObject(envelope):
					bundles[i].Problem = "not a DSSE envelope"
				default:
					bundles[i].JSON = bundleOf(envelope)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the attestations of %s: %w", subject.Digest, err)
	}
	return bundles, nil
}

// attestationTag is where cosign looks for the older attestations of a digest: sha256-<hex>.att.
func attestationTag(artifact digest.Digest) string {
	return strings.Replace(artifact.String(), ":", "-", 1) + ".att"
}

// bundleOf is an envelope, a JSON object, as a bundle of a signature by a key that is not named.
func bundleOf(envelope []byte) []byte {
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{}},"dsseEnvelope":%s}`, BundleMediaType, envelope)
}

package sign

import (
	"context"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// FindEnvelopes reads the attestations of a digest in the older form, which `cosign attest` writes unless it is asked for
// bundles. They are returned as bundles of a signature by a key that is not named; Referrer is the digest of the envelope.
// No attestation is not an error; more than MaxEnvelopes are one, and so is a registry that fails.
func FindEnvelopes(ctx context.Context, store Reader, subject ocispec.Descriptor) ([]Bundle, error) {
	layers, err := attestationForm.read(ctx, store, subject.Digest, nil)
	if err != nil {
		return nil, err
	}
	var bundles []Bundle
	for _, l := range layers {
		b := Bundle{Referrer: l.desc.Digest, Problem: l.problem}
		switch {
		case b.Problem != "":
		case !isObject(l.payload):
			b.Problem = "not a DSSE envelope"
		default:
			b.JSON = fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{}},"dsseEnvelope":%s}`, BundleMediaType, l.payload)
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

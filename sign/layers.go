package sign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	cosign "github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/types"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/oci"
)

// form is one of the older forms of what is attached to a digest: the layers of a manifest that cosign finds by the tag
// sha256-<hex>.<suffix>. They are not read by cosign's pkg/oci/remote, which has a registry client of its own, fails as a
// whole if one payload is lost, and does not end with a context.
type form struct {
	what, item string // for messages
	suffix     string
	mediaType  string // of a layer
	maxSize    int64  // of a layer
}

// maxLayers bounds the layers of such a manifest that are read: anybody who may write to the registry can add any number.
const maxLayers = 100

var (
	// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
	signatureForm = form{
		what: "signatures", item: "a simple signing payload", suffix: cosign.SignatureTagSuffix,
		mediaType: types.SimpleSigningMediaType, maxSize: 64 << 10, // ours have some 400 bytes
	}
	// https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md
	attestationForm = form{
		what: "attestations", item: "an attestation", suffix: cosign.AttestationTagSuffix,
		mediaType: types.DssePayloadType, maxSize: MaxBundleSize,
	}
)

// tag returns the tag that names the manifest of a digest.
func (f form) tag(artifact digest.Digest) string { return oci.FallbackTag(artifact) + "." + f.suffix }

// layer is one entry of such a manifest. Nothing in it is proven.
type layer struct {
	manifest digest.Digest      // that it was read from; "" for one that is not written yet
	config   ocispec.Descriptor // of that manifest
	desc     ocispec.Descriptor
	payload  []byte
	problem  string // why the payload was not read
	gone     bool   // the repository has lost the payload
}

// read reads the manifest under the tag, and the payloads of its layers unless they are known, of very many those of
// the last ones. It returns no layers if the tag does not exist, or nobody can read what it names.
func (f form) read(ctx context.Context, store Reader, artifact digest.Digest, known ...[]byte) ([]layer, error) {
	fail := func(err error) ([]layer, error) {
		return nil, fmt.Errorf("read the %s of %s: %w", f.what, artifact, err)
	}
	desc, raw, err := store.Manifest(ctx, f.tag(artifact))
	if errors.Is(err, oci.ErrNotFound) || oci.Unfit(err) {
		return nil, nil
	} else if err != nil {
		return fail(err)
	}
	var manifest ocispec.Manifest
	if json.Unmarshal(raw, &manifest) != nil {
		return nil, nil // nobody can read it
	}
	payloads := map[digest.Digest][]byte{}
	for _, payload := range known {
		payloads[digest.FromBytes(payload)] = payload
	}
	unread := len(manifest.Layers) - maxLayers
	layers := make([]layer, len(manifest.Layers))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	for i, d := range manifest.Layers {
		l := &layers[i]
		l.manifest, l.config, l.desc = desc.Digest, manifest.Config, d
		switch {
		case i < unread:
			l.problem = fmt.Sprintf("%s holds %d layers, and %d are read", f.tag(artifact), len(manifest.Layers), maxLayers)
		case d.MediaType != f.mediaType:
			l.problem = fmt.Sprintf("layer of type %.100q, not %s", d.MediaType, f.item)
		case d.Size > f.maxSize:
			l.problem = fmt.Sprintf("the payload has %d bytes, at most %d are read", d.Size, f.maxSize)
		case payloads[d.Digest] != nil:
			l.payload = payloads[d.Digest]
		default:
			group.Go(func() (err error) {
				l.payload, err = store.Blob(ctx, d)
				switch {
				case errors.Is(err, oci.ErrNotFound):
					l.problem, l.gone, err = "its payload is gone", true, nil
				case oci.Unfit(err):
					l.problem, l.gone, err = fmt.Sprintf("its payload cannot be read: %v", err), true, nil
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return fail(err)
	}
	return layers, nil
}

// FindEnvelopes reads the attestations of a digest in the older form, which `cosign attest` writes unless it is asked for
// bundles. They are returned as bundles, of a signature by a key that is not named or with a certificate; Referrer is the digest of
// the envelope.
// No attestation is not an error, but a registry that fails is one.
func FindEnvelopes(ctx context.Context, store Reader, subject ocispec.Descriptor) ([]Bundle, error) {
	layers, err := attestationForm.read(ctx, store, subject.Digest)
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
			if b.JSON, err = olderEnvelope(l); err != nil {
				b.Problem = err.Error()
			}
		}
		bundles = append(bundles, b)
	}
	return bundles, nil
}

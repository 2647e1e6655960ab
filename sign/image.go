package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/lockage/lockage/oci"
)

const (
	// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
	simpleSigningMediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	annotationSignature    = "dev.cosignproject.cosign/signature"

	maxSignatures  = 30       // layers of a .sig manifest
	maxPayloadSize = 64 << 10 // of one of them; ours have some 400 bytes

	// Two signers that write at once overwrite each other's manifest; each looks again and repeats.
	maxSignAttempts = 8
)

// VerifiedImage is a simple signing signature, the older form, by a trusted identity for the artifact that was asked for.
type VerifiedImage struct {
	digest      digest.Digest
	repository  string
	annotations map[string]string
	identity    string
	fingerprint string
}

// Digest is the artifact's.
func (v VerifiedImage) Digest() digest.Digest { return v.digest }

// Repository is the docker-reference that was signed.
func (v VerifiedImage) Repository() string { return v.repository }

// Claim is what the signed annotations say of the artifact. What they lack is empty.
func (v VerifiedImage) Claim() Claim { return claimOf(v.annotations) }

// Identity is the name of the identity that signed.
func (v VerifiedImage) Identity() string { return v.identity }

// KeyFingerprint is the fingerprint of the key that signed, see [PublicKey.Fingerprint].
func (v VerifiedImage) KeyFingerprint() string { return v.fingerprint }

// SignImage writes a simple signing signature beside those that others wrote for the same digest. A key has one
// signature there: it is left alone if it says the same, and replaced if not.
func SignImage(ctx context.Context, store Store, subject ocispec.Descriptor, signer Signer, claim Claim) error { //nolint:revive // sign.Image would read as a thing, and it is one: see [Image]
	own, err := NewVerifier(signer.Identity())
	if err != nil {
		return err
	}
	text, err := simplePayload(subject.Digest, claim)
	if err != nil {
		return fmt.Errorf("sign %s: %w", subject.Digest, err)
	}
	var mine *signatureLayer // signed once, in the first attempt that finds it missing
	for range maxSignAttempts {
		layers, err := readSignatures(ctx, store, subject.Digest, mine)
		if err != nil {
			return err
		}
		kept, done := withoutOwn(layers, own, text)
		if done {
			return nil
		}
		if len(kept) >= maxSignatures {
			return fmt.Errorf("sign %s@%s: its tag %s holds %d signatures already, and no more are read", store.Name(), subject.Digest, signatureTag(subject.Digest), len(kept))
		}
		if mine == nil {
			annotations, err := signer.SignPayload(ctx, text)
			if err != nil {
				return fmt.Errorf("sign %s: %w", subject.Digest, err)
			}
			mine = &signatureLayer{desc: ocispec.Descriptor{
				MediaType:   simpleSigningMediaType,
				Digest:      digest.FromBytes(text),
				Size:        int64(len(text)),
				Annotations: annotations,
			}, payload: text}
		}
		if err := writeSignatures(ctx, store, subject.Digest, append(kept, *mine)); err != nil {
			return fmt.Errorf("sign %s@%s: %w", store.Name(), subject.Digest, err)
		}
	}
	return fmt.Errorf("sign %s@%s: others kept overwriting %s; try again", store.Name(), subject.Digest, signatureTag(subject.Digest))
}

// withoutOwn leaves out the layers that own signed, unless one of them is a signature of just this payload: then there
// is nothing to do. It also leaves out what was lost: nobody can verify it, and registries refuse a manifest that names it.
func withoutOwn(layers []signatureLayer, own *Verifier, text []byte) (kept []signatureLayer, done bool) {
	for _, layer := range layers {
		if layer.gone {
			continue
		}
		if sig, err := layer.signature(); err == nil {
			if _, ok := own.bySignature(layer.payload, sig); ok {
				if bytes.Equal(layer.payload, text) {
					return nil, true
				}
				continue
			}
		}
		kept = append(kept, layer)
	}
	return kept, false
}

// VerifyImage reads the simple signing signatures of a digest and proves what can be proven by the verifier's identities.
// The signed digest must be the artifact's: a signature copied from another artifact's tag is rejected.
func VerifyImage(ctx context.Context, store Reader, subject ocispec.Descriptor, verifier *Verifier) ([]VerifiedImage, []Rejected, error) {
	layers, err := readSignatures(ctx, store, subject.Digest, nil)
	if err != nil {
		return nil, nil, err
	}
	var verified []VerifiedImage
	var rejected []Rejected
	for _, layer := range layers {
		proof, err := verifier.verifyLayer(subject.Digest, layer)
		if err != nil {
			rejected = append(rejected, Rejected{Referrer: layer.manifest, Reason: err.Error()})
			continue
		}
		verified = append(verified, proof)
	}
	return verified, rejected, nil
}

func (v *Verifier) verifyLayer(artifact digest.Digest, layer signatureLayer) (VerifiedImage, error) {
	if layer.problem != "" {
		return VerifiedImage{}, errors.New(layer.problem)
	}
	sig, err := layer.signature()
	if err != nil {
		return VerifiedImage{}, err
	}
	by, ok := v.bySignature(layer.payload, sig)
	if !ok {
		return VerifiedImage{}, fmt.Errorf("not signed by %s", v.names())
	}
	var p payload.SimpleContainerImage
	if err := json.Unmarshal(layer.payload, &p); err != nil {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but it is not a simple signing payload: %w", by.name, err)
	}
	if p.Critical.Type != payload.CosignSignatureType {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but as %.80q", by.name, p.Critical.Type)
	}
	if got := p.Critical.Image.DockerManifestDigest; got != artifact.String() {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but for another artifact than %s", by.name, artifact)
	}
	annotations := make(map[string]string, len(p.Optional))
	for k, value := range p.Optional {
		if s, ok := value.(string); ok {
			annotations[k] = s
		}
	}
	return VerifiedImage{
		digest:      artifact,
		repository:  p.Critical.Identity.DockerReference,
		annotations: annotations,
		identity:    by.name,
		fingerprint: by.fingerprint,
	}, nil
}

// simplePayload is what is signed: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
func simplePayload(artifact digest.Digest, claim Claim) ([]byte, error) {
	if err := checkDigest(artifact); err != nil {
		return nil, err
	}
	p := payload.SimpleContainerImage{
		Critical: payload.Critical{
			Identity: payload.Identity{DockerReference: claim.Repository},
			Image:    payload.Image{DockerManifestDigest: artifact.String()},
			Type:     payload.CosignSignatureType,
		},
		Optional: make(map[string]any),
	}
	for k, v := range claim.annotations() {
		p.Optional[k] = v
	}
	return json.Marshal(p)
}

// signatureTag is where cosign looks for the signatures of a digest: sha256-<hex>.sig.
func signatureTag(artifact digest.Digest) string {
	return artifact.Algorithm().String() + "-" + artifact.Encoded() + ".sig"
}

// signatureLayer is one signature: the payload in a blob, the signature in the annotations of its descriptor.
type signatureLayer struct {
	manifest digest.Digest // the manifest that it was read from
	desc     ocispec.Descriptor
	payload  []byte
	problem  string // why the payload was not read
	gone     bool   // the repository has lost the payload
}

func (l signatureLayer) signature() ([]byte, error) {
	sig, err := base64.StdEncoding.DecodeString(l.desc.Annotations[annotationSignature])
	if err != nil || len(sig) == 0 {
		return nil, errors.New("no signature stands in its annotations")
	}
	return sig, nil
}

// readSignatures reads the manifest under the tag, none if there is no such tag. A payload that was just written is not
// read again.
func readSignatures(ctx context.Context, store Reader, artifact digest.Digest, written *signatureLayer) ([]signatureLayer, error) {
	tag := signatureTag(artifact)
	desc, raw, err := store.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read the signatures of %s: %w", artifact, err)
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(raw, &manifest); err != nil {
		return nil, fmt.Errorf("read the signatures of %s: manifest of %s: %w", artifact, tag, err)
	}
	if len(manifest.Layers) > maxSignatures {
		return nil, fmt.Errorf("read the signatures of %s: %s holds %d, at most %d are read", artifact, tag, len(manifest.Layers), maxSignatures)
	}
	layers := make([]signatureLayer, 0, len(manifest.Layers))
	for _, l := range manifest.Layers {
		layer := signatureLayer{manifest: desc.Digest, desc: l}
		switch {
		case l.MediaType != simpleSigningMediaType:
			layer.problem = fmt.Sprintf("layer of type %.100q, not a simple signing payload", l.MediaType)
		case l.Size > maxPayloadSize:
			layer.problem = fmt.Sprintf("the payload has %d bytes, at most %d are read", l.Size, maxPayloadSize)
		case written != nil && l.Digest == written.desc.Digest:
			layer.payload = written.payload
		default:
			layer.payload, err = store.Blob(ctx, l)
			if errors.Is(err, oci.ErrNotFound) {
				layer.problem, layer.gone = "its payload is gone", true
			} else if err != nil {
				return nil, fmt.Errorf("read the signatures of %s: %w", artifact, err)
			}
		}
		layers = append(layers, layer)
	}
	return layers, nil
}

// writeSignatures puts a manifest of these layers under the tag.
func writeSignatures(ctx context.Context, store Store, artifact digest.Digest, layers []signatureLayer) error {
	config := ocispec.Image{RootFS: ocispec.RootFS{Type: "layers"}}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var blobs []oci.Blob
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.desc.Digest) // not compressed
		manifest.Layers = append(manifest.Layers, l.desc)
		if l.manifest == "" { // the others are in the repository
			blobs = append(blobs, oci.Blob{MediaType: l.desc.MediaType, Data: l.payload})
		}
	}
	configText, err := json.Marshal(config)
	if err != nil {
		return err
	}
	manifest.Config = ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(configText), Size: int64(len(configText)),
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	blobs = append(blobs, oci.Blob{MediaType: ocispec.MediaTypeImageConfig, Data: configText})
	desc, err := store.PushManifest(ctx, manifest.MediaType, text, blobs...)
	if err != nil {
		return err
	}
	return store.Tag(ctx, desc, signatureTag(artifact))
}

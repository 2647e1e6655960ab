package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/lockage/lockage/oci"
)

// maxSignAttempts bounds the repetitions of SignImage: two signers that write at once overwrite each other's manifest, and
// each reads it again and repeats.
const maxSignAttempts = 8

// VerifiedImage is a simple signing signature, the older form, by a trusted identity for the artifact that was asked for.
// Its subject's name is the docker-reference that was signed.
type VerifiedImage struct{ proof }

// ImageSignature is a simple signing signature as it is written: a payload, and the annotations that hold its signature.
type ImageSignature struct {
	Payload     []byte            `json:"payload"`
	Annotations map[string]string `json:"annotations"`
}

// NewImageSignature signs an artifact in the older form, without writing it anywhere.
func NewImageSignature(ctx context.Context, signer Signer, artifact digest.Digest, claim Claim) (ImageSignature, error) {
	text, err := simplePayload(artifact, claim)
	if err != nil {
		return ImageSignature{}, fmt.Errorf("sign %s: %w", artifact, err)
	}
	annotations, err := signer.SignPayload(ctx, text)
	return ImageSignature{text, annotations}, err
}

func (s ImageSignature) blob() oci.Blob {
	return oci.Blob{MediaType: signatureForm.mediaType, Data: s.Payload, Annotations: s.Annotations}
}

// layer returns the signature as an entry of the manifest that holds it.
func (s ImageSignature) layer() layer {
	return layer{desc: s.blob().Descriptor(), payload: s.Payload}
}

// SignImage is [NewImageSignature] and [AttachImage].
func SignImage(ctx context.Context, store Store, subject ocispec.Descriptor, signer Signer, claim Claim) error { //nolint:revive // sign.Image would read as a thing, and it is one: see [Image]
	own, err := NewVerifier(signer.Identity())
	if err != nil {
		return err
	}
	signature, err := NewImageSignature(ctx, signer, subject.Digest, claim)
	if err != nil {
		return err
	}
	return AttachImage(ctx, store, subject, own, signature)
}

// AttachImage writes a simple signing signature by a trusted key beside those that others wrote for the same digest. A key
// has one signature there: AttachImage keeps it if it says the same, and replaces it if not. Of very many it keeps the last ones.
func AttachImage(ctx context.Context, store Store, subject ocispec.Descriptor, trusted *Verifier, signature ImageSignature) error {
	mine, tag := signature.layer(), signatureForm.tag(subject.Digest)
	fail := func(err error) error { return fmt.Errorf("sign %s@%s: %w", store.Name(), subject.Digest, err) }
	by, err := trusted.signerOf(mine)
	if err != nil {
		return fail(err)
	}
	for attempt := range maxSignAttempts {
		layers, err := signatureForm.read(ctx, store, subject.Digest, mine.payload)
		if err != nil {
			return err
		}
		kept, done := withoutOwn(layers, by, mine.payload)
		if done && attempt == 0 { // its payload was not read
			_, err := store.Blob(ctx, mine.desc)
			if done = err == nil; err != nil && !errors.Is(err, oci.ErrNotFound) {
				return fail(err)
			}
		}
		if done {
			return nil
		}
		kept = kept[max(0, len(kept)+1-maxLayers):] // nobody would read this one otherwise
		if err := writeSignatures(ctx, store, tag, append(kept, mine)); err != nil {
			return fail(err)
		}
	}
	return fail(fmt.Errorf("others kept overwriting %s; try again", tag))
}

// TrustsImage reports whether a trusted identity made a simple signing signature.
func (v *Verifier) TrustsImage(signature ImageSignature) bool {
	_, err := v.signerOf(signature.layer())
	return err == nil
}

// withoutOwn leaves out the layers that own signed, and is done if one of them is a signature of this payload. It also
// leaves out what was lost: nobody can verify it, and registries refuse a manifest that names it.
func withoutOwn(layers []layer, own trusted, text []byte) (kept []layer, done bool) {
	key := &Verifier{trusted: []trusted{own}}
	for _, l := range layers {
		_, err := key.signerOf(l)
		switch {
		case err == nil:
			done = done || bytes.Equal(l.payload, text)
		case !l.gone:
			kept = append(kept, l)
		}
	}
	return kept, done
}

// VerifyImage reads the simple signing signatures of a digest and proves what can be proven by the verifier's identities.
// The signed digest must be the artifact's: a signature copied from another artifact's tag is rejected.
func VerifyImage(ctx context.Context, store Reader, subject ocispec.Descriptor, verifier *Verifier) ([]VerifiedImage, []Rejected, error) {
	layers, err := signatureForm.read(ctx, store, subject.Digest, nil)
	if err != nil {
		return nil, nil, err
	}
	var verified []VerifiedImage
	var rejected []Rejected
	for _, l := range layers {
		v, err := verifier.verifyLayer(subject.Digest, l)
		if err != nil {
			rejected = append(rejected, Rejected{Referrer: l.manifest, Reason: err.Error()})
			continue
		}
		verified = append(verified, v)
	}
	return verified, rejected, nil
}

func (v *Verifier) verifyLayer(artifact digest.Digest, l layer) (VerifiedImage, error) {
	by, err := v.signerOf(l)
	if err != nil {
		return VerifiedImage{}, err
	}
	// Not payload.Cosign: it does not read references that no registry has, such as those of image layouts.
	var p payload.SimpleContainerImage
	if err := Decode(l.payload, &p); err != nil {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but it is not a simple signing payload: %w", by.name, err)
	}
	if p.Critical.Type != payload.CosignSignatureType {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but as %.80q", by.name, p.Critical.Type)
	}
	if got := p.Critical.Image.DockerManifestDigest; got != artifact.String() {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but for another artifact than %s", by.name, artifact)
	}
	subject := Subject{Name: p.Critical.Identity.DockerReference, Digest: artifact, Annotations: texts(p.Optional)}
	return VerifiedImage{by.proves(subject)}, nil
}

// signerOf finds the trusted identity that signed a layer's payload.
func (v *Verifier) signerOf(l layer) (trusted, error) {
	if l.problem != "" {
		return trusted{}, errors.New(l.problem)
	}
	sig, err := base64.StdEncoding.DecodeString(l.desc.Annotations[static.SignatureAnnotationKey])
	if err != nil || len(sig) == 0 {
		return trusted{}, errors.New("its annotations hold no signature")
	}
	for _, t := range v.trusted {
		if t.signatures.VerifySignature(bytes.NewReader(sig), bytes.NewReader(l.payload)) == nil {
			return t, nil
		}
	}
	return trusted{}, fmt.Errorf("not signed by %s", v.names())
}

// simplePayload returns what is signed: https://github.com/containers/image/blob/main/docs/containers-signature.5.md
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

// writeSignatures puts a manifest of these layers, whose last one is new, under the tag. Those that could not be read are kept as
// they are, which cosign's pkg/oci/mutate cannot do. Where there are others, the manifest's configuration stays what it was, and the
// payload is not sent if one of them has it too: two keys that sign one claim sign the same bytes.
func writeSignatures(ctx context.Context, store Store, tag string, layers []layer) error {
	mine := layers[len(layers)-1]
	payload := oci.Blob{MediaType: mine.desc.MediaType, Data: mine.payload}
	text, err := json.Marshal(ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{mine.desc.Digest}}}) // not compressed
	if err != nil {
		return err
	}
	blobs := []oci.Blob{payload, {MediaType: ocispec.MediaTypeImageConfig, Data: text}}
	config := blobs[1].Descriptor()
	shared := false
	if layers[0].config.Digest != "" {
		config, blobs = layers[0].config, blobs[:1]
		shared = slices.ContainsFunc(layers[:len(layers)-1], func(l layer) bool { return l.desc.Digest == mine.desc.Digest })
	}
	manifest, err := signatureManifest(layers, config)
	if err != nil {
		return err
	}
	if shared {
		if _, err = store.PushTagged(ctx, tag, ocispec.MediaTypeImageManifest, manifest); err == nil {
			return nil
		} // if the registry has lost it, it refuses the manifest
	}
	_, err = store.PushTagged(ctx, tag, ocispec.MediaTypeImageManifest, manifest, blobs...)
	return err
}

func signatureManifest(layers []layer, config ocispec.Descriptor) ([]byte, error) {
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, l.desc)
	}
	return json.Marshal(manifest)
}

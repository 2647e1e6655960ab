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

	"github.com/lockage/lockage/internal/strictjson"
	"github.com/lockage/lockage/oci"
)

// maxSignAttempts bounds the repetitions of AttachImages: two signers that write at once overwrite each other's manifest, and
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
	if annotations == nil {
		text = nil
	}
	return ImageSignature{text, annotations}, err
}

// None reports whether the signer has no signature in the older form, see [Signer].
func (s ImageSignature) None() bool { return s.Annotations == nil }

// Bundle returns a signature with a certificate as a Sigstore bundle of its payload, in JSON; nil for one by a key.
func (s ImageSignature) Bundle() ([]byte, error) {
	m, mediaType, err := material(s.Annotations)
	if err != nil || m == nil {
		return nil, err
	}
	sig, err := base64.StdEncoding.DecodeString(s.Annotations[static.SignatureAnnotationKey])
	if err != nil {
		return nil, err
	}
	return compactJSON(payloadBundle(s.Payload, m, mediaType, sig))
}

func (s ImageSignature) blob() oci.Blob {
	return oci.Blob{MediaType: signatureForm.mediaType, Data: s.Payload, Annotations: s.Annotations}
}

// layer returns the signature as an entry of the manifest that holds it.
func (s ImageSignature) layer() layer {
	return layer{desc: s.blob().Descriptor(), payload: s.Payload}
}

// AttachImages writes simple signing signatures beside those that others wrote for the same digest: of those that are given, the
// first by each of the verifiers. A key has one signature there: it stays if it says the same, and is replaced if not. Of very
// many the last ones are kept.
func AttachImages(ctx context.Context, store Store, subject ocispec.Descriptor, by []*Verifier, signatures ...ImageSignature) error {
	tag := signatureForm.tag(subject.Digest)
	fail := func(err error) error { return fmt.Errorf("sign %s@%s: %w", store.Name(), subject.Digest, err) }
	mine := firstOf(by, signatures)
	if len(mine) == 0 {
		return nil
	}
	var texts [][]byte
	for _, m := range mine {
		texts = append(texts, m.payload)
	}
	for attempt := range maxSignAttempts {
		layers, err := signatureForm.read(ctx, store, subject.Digest, texts...)
		if err != nil {
			return err
		}
		var missing []own
		for _, m := range mine {
			if kept, done := withoutOwn(layers, m.by, m.payload); !done {
				layers, missing = kept, append(missing, m)
			}
		}
		if len(missing) == 0 && attempt == 0 { // payloads were not read
			if layers, missing, err = withoutLost(ctx, store, layers, mine); err != nil {
				return fail(err)
			}
		}
		if len(missing) == 0 {
			return nil
		}
		layers = layers[max(0, len(layers)+len(missing)-maxLayers):] // nobody would read these otherwise
		if err := writeSignatures(ctx, store, tag, layers, missing); err != nil {
			return fail(err)
		}
	}
	return fail(fmt.Errorf("others kept overwriting %s; try again", tag))
}

// own is a signature to write, and the key that made it.
type own struct {
	layer
	by trusted
}

// firstOf returns the first signature by each of the verifiers.
func firstOf(by []*Verifier, signatures []ImageSignature) (mine []own) {
	for _, v := range by {
		for _, s := range signatures {
			if key, _, _, err := v.signerOf(s.layer()); err == nil {
				mine = append(mine, own{s.layer(), key})
				break
			}
		}
	}
	return mine
}

// withoutLost leaves out the layers of those signatures whose payload the repository lost, and returns these.
func withoutLost(ctx context.Context, store Store, layers []layer, mine []own) (kept []layer, lost []own, err error) {
	there := map[digest.Digest]bool{} // whether it is
	for _, m := range mine {
		if _, asked := there[m.desc.Digest]; !asked {
			_, err := store.Blob(ctx, m.desc)
			if there[m.desc.Digest] = err == nil; err != nil && !errors.Is(err, oci.ErrNotFound) {
				return nil, nil, err
			}
		}
		if !there[m.desc.Digest] {
			layers, _ = withoutOwn(layers, m.by, nil)
			lost = append(lost, m)
		}
	}
	return layers, lost, nil
}

// TrustsImage reports whether a trusted identity made a simple signing signature.
func (v *Verifier) TrustsImage(signature ImageSignature) bool {
	_, ok := v.SignerOfImage(signature)
	return ok
}

// SignerOfImage returns who made a simple signing signature, if it was a trusted identity.
func (v *Verifier) SignerOfImage(signature ImageSignature) (Author, bool) {
	_, by, _, err := v.signerOf(signature.layer())
	return by, err == nil
}

// withoutOwn leaves out the layers that own signed, and is done if one of them is a signature of this payload. It also
// leaves out what was lost: nobody can verify it, and registries refuse a manifest that names it.
func withoutOwn(layers []layer, own trusted, text []byte) (kept []layer, done bool) {
	key := &Verifier{trusted: []trusted{own}}
	for _, l := range layers {
		_, _, _, err := key.signerOf(l)
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
	layers, err := signatureForm.read(ctx, store, subject.Digest)
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
	by, author, at, err := v.signerOf(l)
	if err != nil {
		return VerifiedImage{}, err
	}
	// Not payload.Cosign: it does not read references that no registry has, such as those of image layouts.
	var p payload.SimpleContainerImage
	if err := strictjson.Decode(l.payload, &p); err != nil {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but it is not a simple signing payload: %w", by.Name, err)
	}
	if p.Critical.Type != payload.CosignSignatureType {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but as %.80q", by.Name, p.Critical.Type)
	}
	if got := p.Critical.Image.DockerManifestDigest; got != artifact.String() {
		return VerifiedImage{}, fmt.Errorf("%s signed it, but for another artifact than %s", by.Name, artifact)
	}
	subject := Subject{Name: p.Critical.Identity.DockerReference, Digest: artifact, Annotations: texts(p.Optional)}
	return VerifiedImage{by.proves(subject, author, at)}, nil
}

// signerOf finds the trusted identity that signed a layer's payload, who that was, and when.
func (v *Verifier) signerOf(l layer) (trusted, Author, Time, error) {
	fail := func(err error) (trusted, Author, Time, error) { return trusted{}, Author{}, Time{}, err }
	if l.problem != "" {
		return fail(errors.New(l.problem))
	}
	sig, err := base64.StdEncoding.DecodeString(l.desc.Annotations[static.SignatureAnnotationKey])
	if err != nil || len(sig) == 0 {
		return fail(errors.New("its annotations hold no signature"))
	}
	m, mediaType, err := material(l.desc.Annotations)
	if err != nil {
		return fail(err)
	}
	if m != nil {
		return v.certifiedLayer(l, m, mediaType, sig)
	}
	for _, t := range v.trusted {
		if t.signatures != nil && t.signatures.VerifySignature(bytes.NewReader(sig), bytes.NewReader(l.payload)) == nil {
			return t, t.author, Time{}, nil
		}
	}
	return fail(fmt.Errorf("not signed by %s", v.names()))
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

// writeSignatures puts a manifest of these layers and new ones under the tag. Those that could not be read are kept as they are,
// which cosign's pkg/oci/mutate cannot do. Where there are others, the manifest's configuration stays what it was, and payloads
// are not sent if others have them too: two keys that sign one claim sign the same bytes.
func writeSignatures(ctx context.Context, store Store, tag string, layers []layer, mine []own) error {
	text, err := json.Marshal(ocispec.Image{RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{mine[0].desc.Digest}}}) // not compressed
	if err != nil {
		return err
	}
	config := oci.Blob{MediaType: ocispec.MediaTypeImageConfig, Data: text}
	named, shared := config.Descriptor(), len(layers) > 0
	var blobs []oci.Blob
	if shared && layers[0].config.Digest != "" {
		named = layers[0].config
	} else {
		blobs = append(blobs, config)
	}
	for _, m := range mine {
		shared = shared && slices.ContainsFunc(layers, func(l layer) bool { return l.desc.Digest == m.desc.Digest })
		blobs = append(blobs, oci.Blob{MediaType: m.desc.MediaType, Data: m.payload})
	}
	for _, m := range mine {
		layers = append(layers, m.layer)
	}
	manifest, err := signatureManifest(layers, named)
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

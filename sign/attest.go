package sign

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

const (
	// BundleMediaType is the type of a Sigstore bundle, as a layer and as the artifact type of the referrer.
	BundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

	// https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md
	annotationContent = "dev.sigstore.bundle.content"
	contentDSSE       = "dsse-envelope"

	// AnnotationPredicateType is the annotation of a referrer that repeats the predicate type of its bundle. It is not
	// signed: use it only to pass over statements of other types.
	AnnotationPredicateType = "dev.sigstore.bundle.predicateType"

	// annotationKey is the annotation that repeats the hint to the key. It is not signed either: it says what to read first.
	annotationKey = "dev.lockage.key"
)

// Sign signs a statement, without attaching it anywhere.
func Sign(ctx context.Context, signer Signer, statement Statement) (Bundle, error) {
	payload, err := statement.payload()
	if err != nil {
		return Bundle{}, err
	}
	text, err := signer.SignStatement(ctx, payload)
	return Bundle{JSON: text, predicateType: statement.PredicateType, key: signer.Identity().Author().hint(), about: statement.Subject.Digest, fresh: true}, err
}

// Attest signs a statement and attaches it to its subject as a referrer. It attaches the same statement again if asked to:
// ask [Verify] first. It refuses a statement about another digest.
func Attest(ctx context.Context, store Store, subject ocispec.Descriptor, signer Signer, statement Statement) (Bundle, error) {
	if statement.Subject.Digest != subject.Digest {
		return Bundle{}, fmt.Errorf("attest %s@%s: the statement is about %s", store.Name(), subject.Digest, statement.Subject.Digest)
	}
	bundle, err := Sign(ctx, signer, statement)
	if err != nil {
		return bundle, fmt.Errorf("attest %s@%s: %w", store.Name(), subject.Digest, err)
	}
	attached, err := Attach(ctx, store, subject, bundle)
	if err != nil {
		return bundle, err
	}
	return attached[0], nil
}

// Attach attaches signed statements to the artifact that they are about, and returns them with their referrers. What is
// attached already stays as it is.
func Attach(ctx context.Context, store Store, subject ocispec.Descriptor, bundles ...Bundle) ([]Bundle, error) {
	fail := func(err error) ([]Bundle, error) {
		return nil, fmt.Errorf("attest %s@%s: %w", store.Name(), subject.Digest, err)
	}
	referrers, err := asReferrers(subject.Digest, bundles)
	if err != nil {
		return fail(err)
	}
	var listed []ocispec.Descriptor
	// What was signed just now is not attached yet, and the store reads the list after it is.
	signed := slices.ContainsFunc(bundles, func(b Bundle) bool { return b.fresh })
	if !signed {
		if listed, err = store.Referrers(ctx, subject, BundleMediaType); err != nil {
			return fail(fmt.Errorf("list its signatures: %w", err))
		}
	}
	attached := slices.Clone(bundles)
	var missing []oci.Referrer
	for i, referrer := range referrers {
		desc, err := referrer.Descriptor(subject)
		if err != nil {
			return fail(err)
		}
		attached[i].Referrer = desc.Digest
		if !slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
			referrer.Listed = signed && !attached[i].fresh
			missing = append(missing, referrer)
		}
	}
	if len(missing) > 0 {
		if err := store.Attach(ctx, subject, missing...); err != nil {
			return fail(err)
		}
	}
	return attached, nil
}

// First are the first statements about a new artifact.
type First struct {
	Artifact oci.Artifact
	Bundles  []Bundle
	Images   []ImageSignature // in the older form, at most one
}

// AttachFirst pushes an artifact that nobody else knows yet, and attaches the first statements about it, with as few requests as possible.
func AttachFirst(ctx context.Context, store FirstStore, f First) error {
	subject := f.Artifact.Descriptor
	fail := func(err error) error { return fmt.Errorf("attest %s@%s: %w", store.Name(), subject.Digest, err) }
	referrers, err := asReferrers(subject.Digest, f.Bundles)
	if err != nil {
		return fail(err)
	}
	blobs := f.Artifact.Blobs()
	var layers []layer
	for _, image := range f.Images {
		blobs, layers = append(blobs, image.blob()), append(layers, image.layer())
	}
	// Readers look at the layers alone: the artifact's configuration serves as that of its signatures.
	manifest, err := signatureManifest(layers, f.Artifact.Blobs()[0].Descriptor())
	if err != nil {
		return fail(err)
	}
	for _, referrer := range referrers {
		blobs = append(blobs, referrer.Blobs()...)
	}
	if err := store.PushBlobs(ctx, blobs...); err != nil { // all at once; what follows sends none of them again
		return fail(err)
	}
	if err := store.PushArtifact(ctx, f.Artifact); err != nil {
		return fail(err)
	}
	if err := store.AttachFirst(ctx, subject, referrers...); err != nil {
		return fail(err)
	}
	if len(layers) == 0 {
		return nil
	}
	if _, err := store.PushTagged(ctx, signatureForm.tag(subject.Digest), ocispec.MediaTypeImageManifest, manifest); err != nil {
		return fail(err)
	}
	return nil
}

// Referrers returns the digests of the referrers that statements about an artifact are attached as. Those about something else have none.
func Referrers(artifact ocispec.Descriptor, bundles []Bundle) []digest.Digest {
	var digests []digest.Digest
	for _, b := range bundles {
		b.glance(artifact.Digest)
		if referrer, err := b.asReferrer(artifact.Digest); err == nil {
			if desc, err := referrer.Descriptor(artifact); err == nil {
				digests = append(digests, desc.Digest)
			}
		}
	}
	return digests
}

func asReferrers(artifact digest.Digest, bundles []Bundle) (referrers []oci.Referrer, err error) {
	referrers = make([]oci.Referrer, len(bundles))
	for i, b := range bundles {
		if referrers[i], err = b.asReferrer(artifact); err != nil {
			return nil, err
		}
	}
	return referrers, nil
}

// asReferrer returns the bundle as a referrer of the artifact that it is about.
func (b Bundle) asReferrer(artifact digest.Digest) (oci.Referrer, error) {
	if b.about != artifact {
		parsed, author, err := parseBundle(b.JSON)
		if err != nil {
			return oci.Referrer{}, err
		}
		statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
		if err != nil {
			return oci.Referrer{}, err
		}
		b.predicateType, b.key = statement.PredicateType, author.hint
	}
	return oci.Referrer{
		ArtifactType: BundleMediaType,
		Layers:       []oci.Blob{{MediaType: BundleMediaType, Data: b.JSON}},
		Annotations: map[string]string{
			annotationContent:       contentDSSE,
			AnnotationPredicateType: b.predicateType,
			annotationKey:           b.key,
		},
	}, nil
}

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
	// Attach writes referrers and returns when readers can find them.
	Attach(ctx context.Context, subject ocispec.Descriptor, referrers ...oci.Referrer) error
	// PushTagged writes a manifest to a tag, after the blobs that it names.
	PushTagged(ctx context.Context, tag, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error)
}

// FirstStore is a repository that a new artifact comes to.
type FirstStore interface {
	Store
	PushBlobs(ctx context.Context, blobs ...oci.Blob) error
	PushArtifact(ctx context.Context, artifact oci.Artifact) error
	// AttachFirst is Attach to an artifact that has no referrers, and that nobody else knows.
	AttachFirst(ctx context.Context, subject ocispec.Descriptor, referrers ...oci.Referrer) error
}

var _ FirstStore = (*oci.Repository)(nil)

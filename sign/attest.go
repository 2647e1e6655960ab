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
	return Bundle{JSON: text, predicateType: statement.PredicateType, key: signer.Identity().PublicKey.hint()}, err
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
	listed, err := store.Referrers(ctx, subject, BundleMediaType)
	if err != nil {
		return fail(fmt.Errorf("list its signatures: %w", err))
	}
	missing := map[int]oci.Referrer{} // by the bundle's index
	attached := slices.Clone(bundles)
	for i, b := range bundles {
		referrer, err := b.asReferrer(subject.Digest)
		if err != nil {
			return fail(err)
		}
		desc, err := referrer.Descriptor(subject)
		if err != nil {
			return fail(err)
		}
		attached[i].Referrer = desc.Digest
		if !slices.ContainsFunc(listed, func(d ocispec.Descriptor) bool { return d.Digest == desc.Digest }) {
			missing[i] = referrer
		}
	}
	// One after the other: some registries lose one of two referrers that are written to one subject at a time.
	for i := range attached {
		if referrer, ok := missing[i]; ok {
			desc, err := store.Attach(ctx, subject, referrer)
			if err != nil {
				return fail(err)
			}
			attached[i].Referrer = desc.Digest
		}
	}
	return attached, nil
}

// asReferrer returns the bundle as a referrer of the artifact that it is about.
func (b Bundle) asReferrer(artifact digest.Digest) (oci.Referrer, error) {
	if b.predicateType == "" {
		parsed, hint, err := parseBundle(b.JSON)
		if err != nil {
			return oci.Referrer{}, err
		}
		statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
		if err != nil {
			return oci.Referrer{}, err
		}
		b.predicateType, b.key = statement.PredicateType, hint
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
	// Attach writes a referrer and returns when readers can find it.
	Attach(ctx context.Context, subject ocispec.Descriptor, referrer oci.Referrer) (ocispec.Descriptor, error)
	// PushManifest writes a manifest after the blobs that it names.
	PushManifest(ctx context.Context, mediaType string, manifest []byte, blobs ...oci.Blob) (ocispec.Descriptor, error)
	// Tag points a tag at a manifest of this repository.
	Tag(ctx context.Context, desc ocispec.Descriptor, tag string) error
}

var _ Store = (*oci.Repository)(nil)

package publish

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// Writer makes the writes of a publication.
type Writer interface {
	// Push stores an artifact under its digest.
	Push(ctx context.Context, a oci.Artifact) error
	// Attest attaches a signed statement to its subject.
	Attest(ctx context.Context, subject ocispec.Descriptor, statement sign.Statement) error
	// Sign writes the older form of a signature, unless it is there.
	Sign(ctx context.Context, subject ocispec.Descriptor, claim sign.Claim) error
	// Tag lets a tag name an artifact, and tells whether the registry knows now.
	Tag(ctx context.Context, desc ocispec.Descriptor, tag string) (written bool, err error)
}

// NewWriter writes to a repository and signs with the signer that open gives. It is asked for before the first write,
// and not at all where everything is there: opening a key takes its time.
func NewWriter(repository *oci.Repository, open func(context.Context) (sign.Signer, error)) Writer {
	return writer{repository, open}
}

type writer struct {
	repository *oci.Repository
	open       func(context.Context) (sign.Signer, error)
}

func (w writer) Push(ctx context.Context, a oci.Artifact) error {
	if _, err := w.open(ctx); err != nil {
		return err // before anything is written that nobody will sign
	}
	return w.repository.PushArtifact(ctx, a)
}

func (w writer) Attest(ctx context.Context, subject ocispec.Descriptor, statement sign.Statement) error {
	signer, err := w.open(ctx)
	if err != nil {
		return err
	}
	_, err = sign.Attest(ctx, w.repository, subject, signer, statement)
	return err
}

func (w writer) Sign(ctx context.Context, subject ocispec.Descriptor, claim sign.Claim) error {
	signer, err := w.open(ctx)
	if err != nil {
		return err
	}
	return sign.SignImage(ctx, w.repository, subject, signer, claim)
}

func (w writer) Tag(ctx context.Context, desc ocispec.Descriptor, tag string) (bool, error) {
	err := w.repository.Tag(ctx, desc, tag)
	return err == nil, err
}

// Nowhere is the Writer of a dry run: it drops everything, and needs no key.
type Nowhere struct{}

var _ Writer = Nowhere{}

// Push implements [Writer].
func (Nowhere) Push(context.Context, oci.Artifact) error { return nil }

// Attest implements [Writer].
func (Nowhere) Attest(context.Context, ocispec.Descriptor, sign.Statement) error { return nil }

// Sign implements [Writer].
func (Nowhere) Sign(context.Context, ocispec.Descriptor, sign.Claim) error { return nil }

// Tag implements [Writer].
func (Nowhere) Tag(context.Context, ocispec.Descriptor, string) (bool, error) { return false, nil }

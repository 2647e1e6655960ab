package publish

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// writer makes the writes to a registry.
type writer interface {
	Push(ctx context.Context, a oci.Artifact) error
	Attest(ctx context.Context, subject ocispec.Descriptor, statement sign.Statement) error
	// Sign writes the older form of a signature, unless it exists.
	Sign(ctx context.Context, subject ocispec.Descriptor, claim sign.Claim) error
	// Tag points a tag at an artifact, and reports whether the registry was changed.
	Tag(ctx context.Context, desc ocispec.Descriptor, tag string) (written bool, err error)
}

// signedWriter writes to a repository. It opens the signer before the first write, and not at all if nothing is missing:
// opening a key takes time.
type signedWriter struct {
	repository *oci.Repository
	open       func(context.Context) (sign.Signer, error)
}

func (w signedWriter) Push(ctx context.Context, a oci.Artifact) error {
	if _, err := w.open(ctx); err != nil {
		return err // before a write that would remain unsigned
	}
	return w.repository.PushArtifact(ctx, a)
}

func (w signedWriter) Attest(ctx context.Context, subject ocispec.Descriptor, statement sign.Statement) error {
	signer, err := w.open(ctx)
	if err != nil {
		return err
	}
	_, err = sign.Attest(ctx, w.repository, subject, signer, statement)
	return err
}

func (w signedWriter) Sign(ctx context.Context, subject ocispec.Descriptor, claim sign.Claim) error {
	signer, err := w.open(ctx)
	if err != nil {
		return err
	}
	return sign.SignImage(ctx, w.repository, subject, signer, claim)
}

func (w signedWriter) Tag(ctx context.Context, desc ocispec.Descriptor, tag string) (bool, error) {
	err := w.repository.Tag(ctx, desc, tag)
	return err == nil, err
}

// dryRun is the writer of a dry run: it writes nothing, and needs no key.
type dryRun struct{}

func (dryRun) Push(context.Context, oci.Artifact) error                         { return nil }
func (dryRun) Attest(context.Context, ocispec.Descriptor, sign.Statement) error { return nil }
func (dryRun) Sign(context.Context, ocispec.Descriptor, sign.Claim) error       { return nil }
func (dryRun) Tag(context.Context, ocispec.Descriptor, string) (written bool, err error) {
	return false, nil
}

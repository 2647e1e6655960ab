package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// MaxParts bounds the manifests and blobs that one manifest names of those that are copied.
	MaxParts = 500

	maxNested = 4 // indexes of a copy that name each other
)

var errNested = unfitError{fmt.Errorf("indexes name each other more than %d deep", maxNested)}

// parts are what a manifest names, whatever program wrote it.
type parts struct {
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Blobs     []ocispec.Descriptor `json:"blobs"` // of the artifact manifests that image-spec 1.1 dropped
	Manifests []ocispec.Descriptor `json:"manifests"`
}

func partsOf(manifest []byte) (blobs, manifests []ocispec.Descriptor, err error) {
	var p parts
	if err := json.Unmarshal(manifest, &p); err != nil {
		return nil, nil, unfitError{err}
	}
	if p.Config != nil {
		blobs = append(blobs, *p.Config)
	}
	blobs = append(append(blobs, p.Layers...), p.Blobs...)
	if len(blobs)+len(p.Manifests) > MaxParts {
		return nil, nil, unfitError{fmt.Errorf("it names more than %d blobs and manifests", MaxParts)}
	}
	for _, named := range slices.Concat(blobs, p.Manifests) {
		if err := named.Digest.Validate(); err != nil {
			return nil, nil, unfitError{fmt.Errorf("it names %q: %w", named.Digest, err)}
		}
		if named.Size < 0 || named.Size > MaxBlobSize {
			return nil, nil, unfitError{fmt.Errorf("it names a blob of %d bytes; at most %d are copied", named.Size, MaxBlobSize)}
		}
	}
	return blobs, p.Manifests, nil
}

// Copy copies a manifest of another repository, with all that it names, byte for byte: what is there already is not sent again, and
// within one registry blobs are mounted. Tags and referrers are not copied.
func (r *Repository) Copy(ctx context.Context, from *Repository, manifest digest.Digest) error {
	desc, raw, err := r.copyParts(ctx, from, manifest, 0)
	if err == nil {
		_, err = r.push(ctx, desc, raw, nil)
	}
	return err
}

// copyParts copies what a manifest names, and returns the manifest.
func (r *Repository) copyParts(ctx context.Context, from *Repository, manifest digest.Digest, depth int) (ocispec.Descriptor, []byte, error) {
	desc, raw, err := from.Manifest(ctx, manifest.String())
	if err != nil {
		return desc, nil, err
	}
	blobs, manifests, err := partsOf(raw)
	if err == nil && len(manifests) > 0 && depth == maxNested {
		err = errNested
	}
	if err != nil {
		return desc, nil, from.explained(err, "copy", manifest.String())
	}
	for _, m := range manifests {
		below, raw, err := r.copyParts(ctx, from, m.Digest, depth+1)
		if err == nil {
			_, err = r.push(ctx, below, raw, nil)
		}
		if err != nil {
			return desc, nil, err
		}
	}
	for _, b := range blobs {
		if err := r.copyBlob(ctx, from, b); err != nil {
			return desc, nil, err
		}
	}
	return desc, raw, nil
}

// copyBlob copies a blob unless it is there.
func (r *Repository) copyBlob(ctx context.Context, from *Repository, desc ocispec.Descriptor) error {
	exists, err := r.backend.hasBlob(ctx, desc)
	if err == nil && !exists {
		exists, err = r.backend.mount(ctx, desc, from.backend)
	}
	if err != nil || exists {
		return r.explained(err, "push blob", desc.Digest.String())
	}
	data, err := from.Blob(ctx, desc)
	if err != nil {
		return err
	}
	return r.explained(r.backend.pushBlob(ctx, plain(desc), data), "push blob", desc.Digest.String())
}

// CopyReferrers copies manifests that are attached to a subject in another repository, and returns once they are listed here. The
// subject must be here already, and the other repository must have them whole.
func (r *Repository) CopyReferrers(ctx context.Context, from *Repository, subject ocispec.Descriptor, referrers ...digest.Digest) error {
	var all []packed
	for _, d := range referrers {
		desc, raw, err := r.copyParts(ctx, from, d, 0)
		if err != nil {
			return err
		}
		desc.ArtifactType, desc.Annotations, _ = referrerFields(raw)
		all = append(all, packed{desc: desc, manifest: raw})
	}
	if len(all) == 0 {
		return nil
	}
	return r.explained(r.backend.attach(ctx, plain(subject), false, all), "push referrer of", subject.Digest.String())
}

// Copyable reports whether a manifest is here with all that it names, is attached to a subject, "" for any or none, and can be copied by its
// form. That a list or a tag names it proves nothing of this.
func (r *Repository) Copyable(ctx context.Context, manifest, subject digest.Digest) (bool, error) {
	raw, err := r.read(ctx, manifest, false, 0)
	if Unfit(err) || isNotFound(err) {
		return false, nil
	}
	if err != nil || subject == "" {
		return err == nil, err
	}
	_, _, named := referrerFields(raw)
	return named == subject, nil
}

// ReadBack reads a manifest, and all that it names, from the registry, whatever this client has read or written before, and checks the
// bytes against their digests.
func (r *Repository) ReadBack(ctx context.Context, manifest digest.Digest) error {
	_, err := r.read(ctx, manifest, true, 0)
	return err
}

// read reads a manifest and all that it names, and returns the manifest.
func (r *Repository) read(ctx context.Context, manifest digest.Digest, again bool, depth int) ([]byte, error) {
	if again {
		r.backend.forget(true, manifest)
	}
	_, raw, err := r.Manifest(ctx, manifest.String())
	if err != nil {
		return nil, err
	}
	blobs, manifests, err := partsOf(raw)
	if err == nil && len(manifests) > 0 && depth == maxNested {
		err = errNested
	}
	if err != nil {
		return nil, r.explained(err, "read", manifest.String())
	}
	for _, b := range blobs {
		if again {
			r.backend.forget(false, b.Digest)
		}
		if _, err := r.Blob(ctx, b); err != nil {
			return nil, err
		}
	}
	for _, m := range manifests {
		if _, err := r.read(ctx, m.Digest, again, depth+1); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// mount makes a blob of another repository of the registry one of this. The blob is sent if the registry does not do that.
func (r *remoteRepository) mount(ctx context.Context, desc ocispec.Descriptor, from backend) (mounted bool, err error) {
	source, ok := from.(*remoteRepository)
	if !ok || source.host != r.host || r.known.mountless.Load() {
		return false, nil
	}
	_, mounted, err = r.mountOf(ctx, desc, source.id.path)
	return mounted, err
}

func (r *remoteRepository) forget(manifest bool, d digest.Digest) {
	r.client.contents.Drop(r.key(manifest, d))
}

package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// blobWorkers bounds the blobs of one manifest that are written at a time.
const blobWorkers = 8

// backend is a registry or a layout. Arguments are valid; errors satisfy isNotFound if a thing is missing.
type backend interface {
	// resolve returns media type, digest and size of a manifest.
	resolve(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, error)
	// manifest returns a manifest of at most MaxManifestSize, not yet verified.
	manifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error)
	// blob returns a blob of at most desc.Size bytes, not yet verified.
	blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error)
	// hasBlob reports whether a blob exists; false if that cannot be asked.
	hasBlob(ctx context.Context, desc ocispec.Descriptor) (bool, error)
	// mount makes a blob of another repository one of this, without its bytes, and reports whether it did.
	mount(ctx context.Context, desc ocispec.Descriptor, from backend) (bool, error)
	// forget makes the next read of a manifest, or blob, a request.
	forget(manifest bool, d digest.Digest)
	// pushBlob stores a blob unless it exists.
	pushBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error
	// pushManifest stores a manifest under its digest and under tags, the last one last.
	pushManifest(ctx context.Context, desc ocispec.Descriptor, data []byte, tags ...string) error
	// tag makes tags name a manifest that exists, the last one last.
	tag(ctx context.Context, desc ocispec.Descriptor, tags ...string) error
	// tags calls page with tags after last, in the order of the repository, until page returns false.
	tags(ctx context.Context, last string, page func([]string) (more bool, err error)) error
	// referrers lists at most MaxReferrers, none if subject is missing. It may leave out those of another type.
	referrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) ([]ocispec.Descriptor, error)
	// attach stores the manifests of referrers and makes them appear among those of subject. Alone says that nobody else writes to
	// that list, and that it is empty; without it, they stay there although others write, and their empty blob may not be there.
	attach(ctx context.Context, subject ocispec.Descriptor, alone bool, referrers []packed) error
	// deleteManifest deletes a manifest by its digest, and with it all of its tags.
	deleteManifest(ctx context.Context, d digest.Digest) error
	// deleteTag deletes a tag and leaves the manifest.
	deleteTag(ctx context.Context, tag string) error
	// delist removes manifests from the list of a subject's referrers, if the registry does not do that by itself.
	delist(ctx context.Context, subject digest.Digest, gone []digest.Digest) error
	// outlive reports whether the referrers of a manifest stay when it is deleted.
	outlive(ctx context.Context, subject ocispec.Descriptor) (bool, error)
}

// Repository is one repository of a registry or one image layout. It is safe for concurrent use.
type Repository struct {
	name    string
	host    string // empty for layouts
	backend backend
}

// Name returns the name in signed statements: "host/path", or "oci-layout:DIR", as the repository was opened.
func (r *Repository) Name() string { return r.name }

// Reference returns "name:tag" or "name@digest", and the name alone without either.
func (r *Repository) Reference(tagOrDigest string) string {
	if tagOrDigest == "" {
		return r.name
	}
	if strings.Contains(tagOrDigest, ":") {
		return r.name + "@" + tagOrDigest
	}
	return r.name + ":" + tagOrDigest
}

// Resolve returns media type, digest and size of the manifest that a tag or digest names, or [ErrNotFound].
func (r *Repository) Resolve(ctx context.Context, tagOrDigest string) (desc ocispec.Descriptor, err error) {
	defer r.explain(&err, "resolve", tagOrDigest)
	if _, err := checkTagOrDigest(tagOrDigest); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err = r.backend.resolve(ctx, tagOrDigest)
	return plain(desc), err
}

// Lookup returns the digest of the manifest that a tag names; "" if the tag does not exist.
func (r *Repository) Lookup(ctx context.Context, tag string) (digest.Digest, error) {
	desc, err := r.Resolve(ctx, tag)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return desc.Digest, err
}

// Manifest returns the manifest that a tag or digest names, of at most [MaxManifestSize] bytes, and its descriptor. The
// bytes have the digest of the descriptor, which is the requested one if tagOrDigest is a digest.
func (r *Repository) Manifest(ctx context.Context, tagOrDigest string) (desc ocispec.Descriptor, raw []byte, err error) {
	defer r.explain(&err, "read manifest", tagOrDigest)
	isDigest, err := checkTagOrDigest(tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	desc, raw, err = r.backend.manifest(ctx, tagOrDigest)
	if isDigest {
		desc.Digest = digest.Digest(tagOrDigest)
	}
	if err == nil {
		err = verify(desc, raw)
	}
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return plain(desc), raw, nil
}

// Blob returns the blob that desc describes, verified. It refuses those larger than [MaxBlobSize].
func (r *Repository) Blob(ctx context.Context, desc ocispec.Descriptor) (data []byte, err error) {
	defer r.explain(&err, "read blob", desc.Digest.String())
	if err := desc.Digest.Validate(); err != nil {
		return nil, unfitError{err}
	}
	if desc.Size < 0 || desc.Size > MaxBlobSize {
		return nil, unfitError{fmt.Errorf("its size is %d bytes; at most %d are read", desc.Size, MaxBlobSize)}
	}
	if data, err = r.backend.blob(ctx, desc); err == nil {
		err = verify(desc, data)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// PushArtifact stores an artifact under its digest: blobs first, the manifest last. No tag is touched.
func (r *Repository) PushArtifact(ctx context.Context, a Artifact) error {
	_, err := r.PushManifest(ctx, a.Descriptor.MediaType, a.Manifest, a.Blobs()...)
	return err
}

// PushManifest stores any manifest under its digest, after the blobs that it names. For manifests with a subject see
// [Repository.Attach].
func (r *Repository) PushManifest(ctx context.Context, mediaType string, manifest []byte, blobs ...Blob) (ocispec.Descriptor, error) {
	return r.push(ctx, describe(mediaType, manifest), manifest, blobs)
}

// PushTagged is [Repository.PushManifest] to a tag.
func (r *Repository) PushTagged(ctx context.Context, tag, mediaType string, manifest []byte, blobs ...Blob) (ocispec.Descriptor, error) {
	return r.push(ctx, describe(mediaType, manifest), manifest, blobs, tag)
}

func (r *Repository) push(ctx context.Context, desc ocispec.Descriptor, manifest []byte, blobs []Blob, tags ...string) (_ ocispec.Descriptor, err error) {
	defer r.explain(&err, "push", desc.Digest.String())
	if len(manifest) > MaxManifestSize {
		return desc, fmt.Errorf("the manifest is larger than %d bytes", MaxManifestSize)
	}
	if err := checkTags(tags); err != nil {
		return desc, err
	}
	if err := r.PushBlobs(ctx, blobs...); err != nil {
		return desc, err
	}
	return desc, r.backend.pushManifest(ctx, desc, manifest, tags...)
}

// PushBlobs stores blobs that manifests will name, those that this process did not store before.
func (r *Repository) PushBlobs(ctx context.Context, blobs ...Blob) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(blobWorkers)
	begun := map[digest.Digest]bool{}
	for _, b := range blobs {
		d := b.Descriptor()
		if begun[d.Digest] {
			continue
		}
		begun[d.Digest] = true
		group.Go(func() error {
			return r.explained(r.backend.pushBlob(ctx, d, b.Data), "push blob", d.Digest.String())
		})
	}
	return group.Wait()
}

// Tag makes tags name the manifest desc, which must be in the repository, the last tag last. It does not read what they name
// before: registries whose tags are immutable may refuse even a push that changes nothing.
func (r *Repository) Tag(ctx context.Context, desc ocispec.Descriptor, tags ...string) error {
	err := checkTags(tags)
	if err == nil {
		err = r.backend.tag(ctx, desc, tags...)
	}
	return r.explained(err, "tag "+desc.Digest.String()+" as", strings.Join(tags, ", "))
}

// Tags returns the sorted tags that begin with prefix. Registries list in lexical order, so it starts near the prefix and
// stops behind it; one with another order is read whole. More than [MaxTags] are an error.
func (r *Repository) Tags(ctx context.Context, prefix string) (tags []string, err error) {
	defer r.explain(&err, "list tags", prefix)
	// The prefix less one byte sorts before its tags, and is a tag by the grammar, as some registries want.
	if last := prefix[:max(0, len(prefix)-1)]; last != "" && checkTag(last) == nil {
		found, ordered, err := r.scanTags(ctx, last, prefix)
		// Nothing found may also mean a registry that knows no such tag to start from.
		if err == nil && ordered && len(found) > 0 {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	found, _, err := r.scanTags(ctx, "", prefix)
	if isNotFound(err) {
		return nil, nil // the repository begins with the first push
	}
	return found, err
}

// scanTags lists from last on. It stops behind the prefix as long as the tags come in order, and says whether they did.
func (r *Repository) scanTags(ctx context.Context, last, prefix string) (found []string, ordered bool, err error) {
	ordered, seen := true, 0
	err = r.backend.tags(ctx, last, func(page []string) (bool, error) {
		if seen += len(page); seen > MaxTags {
			return false, fmt.Errorf("more than %d tags", MaxTags)
		}
		for _, tag := range page {
			ordered = ordered && tag > last
			last = tag
			if strings.HasPrefix(tag, prefix) {
				found = append(found, tag)
			}
		}
		return !ordered || last < prefix || strings.HasPrefix(last, prefix), nil
	})
	slices.Sort(found)
	return slices.Compact(found), ordered, err
}

// Referrers lists the manifests attached to subject that have the artifact type, all if it is empty, with artifact type and
// annotations in their descriptors. They come from the referrers API, or from the fallback tag if the registry lacks the
// API. A missing subject has no referrers. More than [MaxReferrers] are an error.
func (r *Repository) Referrers(ctx context.Context, subject ocispec.Descriptor, artifactType string) (all []ocispec.Descriptor, err error) {
	defer r.explain(&err, "list referrers", subject.Digest.String())
	if err := subject.Digest.Validate(); err != nil {
		return nil, err
	}
	if all, err = r.backend.referrers(ctx, plain(subject), artifactType); err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return d.Digest.Validate() != nil })
	// Other tools' fallback indexes may name the manifest and no more, or give the type of its config.
	undescribed := 0
	for i, d := range all {
		if d.ArtifactType != "" && d.ArtifactType != ocispec.MediaTypeEmptyJSON {
			continue
		}
		if undescribed++; undescribed > maxUndescribed {
			break
		}
		_, raw, err := r.Manifest(ctx, d.Digest.String())
		if isNotFound(err) || Unfit(err) {
			continue // listed, and deleted since
		}
		if err != nil {
			return nil, err
		}
		all[i].ArtifactType, all[i].Annotations, _ = referrerFields(raw)
	}
	return slices.DeleteFunc(all, func(d ocispec.Descriptor) bool {
		return artifactType != "" && d.ArtifactType != artifactType
	}), nil
}

// referrerFields reads what lists of referrers show of a manifest, and its subject; nothing of other bytes.
func referrerFields(raw []byte) (artifactType string, annotations map[string]string, subject digest.Digest) {
	var m ocispec.Manifest
	if json.Unmarshal(raw, &m) != nil {
		return "", nil, ""
	}
	if m.Subject != nil {
		subject = m.Subject.Digest
	}
	return cmp.Or(m.ArtifactType, m.Config.MediaType), m.Annotations, subject // image-spec v1.1, guidelines for artifact usage
}

// Attach stores referrers of subject and returns once they are listed. Attaching the same twice changes nothing.
func (r *Repository) Attach(ctx context.Context, subject ocispec.Descriptor, referrers ...Referrer) error {
	return r.attach(ctx, subject, false, referrers)
}

// AttachFirst is [Repository.Attach] to a subject that nobody else knows yet, and that has no referrers: it asks nothing.
func (r *Repository) AttachFirst(ctx context.Context, subject ocispec.Descriptor, referrers ...Referrer) error {
	return r.attach(ctx, subject, true, referrers)
}

func (r *Repository) attach(ctx context.Context, subject ocispec.Descriptor, alone bool, referrers []Referrer) (err error) {
	defer r.explain(&err, "push referrer of", subject.Digest.String())
	if err := subject.Digest.Validate(); err != nil {
		return err
	}
	var blobs []Blob
	all := make([]packed, len(referrers))
	for i, referrer := range referrers {
		if all[i], err = referrer.pack(subject); err != nil {
			return err
		}
		if referrer.Listed && !alone {
			continue
		}
		for _, b := range all[i].blobs {
			// The statements of hydration name the same empty blob: it is sent if the registry refuses what names it.
			if alone || b.MediaType != ocispec.MediaTypeEmptyJSON {
				blobs = append(blobs, b)
			}
		}
	}
	if err := r.PushBlobs(ctx, blobs...); err != nil {
		return err
	}
	return r.backend.attach(ctx, plain(subject), alone, all)
}

// ReadArtifact returns the manifest of the artifact that a tag or digest names. See [ParseManifest] for what it refuses.
func (r *Repository) ReadArtifact(ctx context.Context, tagOrDigest string) (Manifest, error) {
	desc, raw, err := r.Manifest(ctx, tagOrDigest)
	if err != nil {
		return Manifest{}, err
	}
	m, err := ParseManifest(desc, raw)
	return m, r.explained(err, "read artifact", tagOrDigest)
}

// ReadTree returns the files of the artifact that a tag or digest names. See [Repository.ReadArtifact] and [Repository.Pull].
func (r *Repository) ReadTree(ctx context.Context, tagOrDigest string) (*Tree, error) {
	m, err := r.ReadArtifact(ctx, tagOrDigest)
	if err != nil {
		return nil, err
	}
	return r.Pull(ctx, m)
}

// Whole returns the descriptor of an artifact that is there with all its blobs, and else [ErrNotFound].
func (r *Repository) Whole(ctx context.Context, artifact digest.Digest) (ocispec.Descriptor, error) {
	m, err := r.ReadArtifact(ctx, artifact.String())
	if err == nil {
		_, err = r.Blob(ctx, m.Config)
	}
	if err == nil {
		_, err = r.Blob(ctx, m.Layer)
	}
	return m.Descriptor, err
}

// Pull returns the files of an artifact, whose digests are those in its manifest and config; see [Unpack].
func (r *Repository) Pull(ctx context.Context, m Manifest) (_ *Tree, err error) {
	defer r.explain(&err, "pull", m.Descriptor.Digest.String())
	raw, err := r.Blob(ctx, m.Config)
	if err != nil {
		return nil, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("config %s: %w", m.Config.Digest, err)
	}
	if n := len(config.RootFS.DiffIDs); n != 1 {
		return nil, fmt.Errorf("config %s: it has %d diff_ids, not exactly one", m.Config.Digest, n)
	}
	layer, err := r.Blob(ctx, m.Layer)
	if err != nil {
		return nil, err
	}
	return Unpack(bytes.NewReader(layer), m.Layer, config.RootFS.DiffIDs[0])
}

// ErrDeleteRefused is returned if a registry deletes nothing, by design or configuration. A lack of permission is another
// error.
var ErrDeleteRefused = errors.New("the registry does not delete manifests")

// nothing is a digest that no manifest has: it is that of no valid JSON.
const nothing = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// CheckDelete returns [ErrDeleteRefused] if the repository does not even delete a manifest that does not exist.
func (r *Repository) CheckDelete(ctx context.Context) error {
	return explain(unlessMissing(r.backend.deleteManifest(ctx, nothing)), "delete from", r.name, r.host)
}

// DeleteManifest deletes the manifest that has a digest, and with it every tag that names it. Blobs stay for the registry's
// garbage collection. A missing manifest counts as deleted. See [ErrDeleteRefused].
func (r *Repository) DeleteManifest(ctx context.Context, d digest.Digest) error {
	err := d.Validate()
	if err == nil {
		err = unlessMissing(r.backend.deleteManifest(ctx, d))
	}
	return r.explained(err, "delete", d.String())
}

// DeleteTag deletes a tag and leaves the manifest that it names. A missing tag counts as deleted. Some registries delete
// tags with their manifest only: the error is [ErrDeleteRefused] then.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	err := checkTag(tag)
	if err == nil {
		err = unlessMissing(r.backend.deleteTag(ctx, tag))
	}
	return r.explained(err, "delete tag", tag)
}

func unlessMissing(err error) error {
	if isNotFound(err) {
		return nil
	}
	return err
}

// DeleteReferrers deletes manifests attached to subject one by one, and removes them from its list before the last one
// goes: an interrupted run leaves no list of missing manifests. A manifest with another subject is not deleted, since
// anybody who can write the fallback index can list it. The subject may be gone already.
func (r *Repository) DeleteReferrers(ctx context.Context, subject digest.Digest, referrers ...digest.Digest) (err error) {
	defer r.explain(&err, "delete referrers of", subject.String())
	if err := subject.Validate(); err != nil {
		return err
	}
	for i, d := range referrers {
		_, raw, err := r.Manifest(ctx, d.String())
		if err != nil && !isNotFound(err) {
			return err
		}
		if i == len(referrers)-1 {
			if err := unlessMissing(r.backend.delist(ctx, subject, referrers)); err != nil {
				return err
			}
		}
		if err != nil {
			continue
		}
		if _, _, named := referrerFields(raw); named != subject {
			continue
		}
		if err := r.DeleteManifest(ctx, d); err != nil {
			return err
		}
	}
	if len(referrers) == 0 {
		return unlessMissing(r.backend.delist(ctx, subject, referrers))
	}
	return nil
}

// ReferrersOutlive reports whether the referrers of a manifest certainly stay when it is deleted: in image layouts, and in
// registries without the referrers API, where the fallback tag keeps what it lists. Registries with the API may delete
// referrers with their subject, at once or when they collect garbage.
func (r *Repository) ReferrersOutlive(ctx context.Context, subject ocispec.Descriptor) (bool, error) {
	stay, err := r.backend.outlive(ctx, plain(subject))
	return stay, r.explained(err, "list referrers", subject.Digest.String())
}

// explain is deferred: it wraps the error that a method returns.
func (r *Repository) explain(err *error, op, tagOrDigest string) {
	*err = r.explained(*err, op, tagOrDigest)
}

func (r *Repository) explained(err error, op, tagOrDigest string) error {
	return explain(err, op, r.Reference(tagOrDigest), r.host)
}

package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// ErrDeleteRefused is returned if a repository deletes nothing: its registry does not offer it, or is configured not to. A
// lack of permission is another error.
var ErrDeleteRefused = errors.New("the registry does not delete manifests")

// nothing is a digest that no manifest has: it is that of no valid JSON.
const nothing = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// CheckDelete asks whether the repository deletes manifests, by deleting one that does not exist. The error is
// [ErrDeleteRefused] if it does not.
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

// DeleteReferrers deletes manifests that are attached to subject, one after the other, and removes them from its list
// before the last one goes: an interrupted run leaves no list of missing manifests. A manifest with another subject is
// removed from the list and not deleted, since anybody who can write the fallback index can list anything in it. The
// subject may be gone already.
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

// FallbackTag returns the tag under which registries without the referrers API list the referrers of subject.
func FallbackTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

func (r *remoteRepository) deleteManifest(ctx context.Context, d digest.Digest) error {
	r.pushed.Delete(d) // tagging it would bring it back
	return r.deleteReference(ctx, d.String())
}

func (r *remoteRepository) deleteTag(ctx context.Context, tag string) error {
	return r.deleteReference(ctx, tag)
}

// deleteReference speaks distribution-spec v1.1, «Deleting Manifests» and «Deleting tags». oras-go knows no deletion of a
// tag, and reads before it deletes.
func (r *remoteRepository) deleteReference(ctx context.Context, tagOrDigest string) error {
	ref := r.repo.Reference
	ctx = auth.AppendRepositoryScope(ctx, ref, auth.ActionPull, auth.ActionDelete)
	u := url.URL{Scheme: "https", Host: ref.Host(), Path: "/v2/" + ref.Repository + "/manifests/" + tagOrDigest}
	if r.repo.PlainHTTP {
		u.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, u.String(), nil)
	if err != nil {
		return err
	}
	resp, err := r.client.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxManifestSize))
	if resp.StatusCode < http.StatusMultipleChoices {
		return nil // done, even if the answer is cut
	}
	if err != nil {
		return err
	}
	failed := &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
	var answer struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.Unmarshal(raw, &answer) == nil {
		failed.Errors = answer.Errors
	}
	if refusesDelete(failed) {
		return fmt.Errorf("%w: %w", ErrDeleteRefused, failed)
	}
	return failed
}

// refusesDelete reports whether an answer means that every delete fails: 405 by the specification, or 400 with the code
// UNSUPPORTED.
func refusesDelete(e *errcode.ErrorResponse) bool {
	switch e.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest:
		return slices.ContainsFunc(e.Errors, func(e errcode.Error) bool { return e.Code == errcode.ErrorCodeUnsupported })
	}
	return false
}

// delist rewrites the index under the fallback tag, or deletes it with the last entry, and deletes the index that it
// replaces. A registry with the API has an index only if an older client wrote one.
func (r *remoteRepository) delist(ctx context.Context, subject digest.Digest, gone []digest.Digest) error {
	defer r.lockIndex(subject)()
	tag := FallbackTag(subject)
	desc, index, err := r.readIndex(ctx, subject)
	if errors.Is(err, errNoIndex) {
		return nil // it lists nothing
	}
	if err != nil {
		return err
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return slices.Contains(gone, d.Digest) })
	switch {
	case len(index.Manifests) == before && before > 0:
		return nil
	case len(index.Manifests) > 0:
		if err := r.pushIndex(ctx, index, tag); err != nil {
			return err
		}
	default:
		if err := r.deleteTag(ctx, tag); err != nil && !isNotFound(err) && !errors.Is(err, ErrDeleteRefused) {
			return err
		}
	}
	return r.deleteManifest(ctx, desc.Digest)
}

func (r *remoteRepository) outlive(ctx context.Context, subject ocispec.Descriptor) (bool, error) {
	_, api, err := r.findReferrers(ctx, subject)
	return !api, err
}

func (l *layout) deleteManifest(ctx context.Context, d digest.Digest) error {
	return l.remove(ctx, func(index *ocispec.Index) {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(o ocispec.Descriptor) bool { return o.Digest == d })
	})
}

func (l *layout) deleteTag(ctx context.Context, tag string) error {
	return l.remove(ctx, func(index *ocispec.Index) { removeTag(index, tag) })
}

// remove changes the index of a layout that exists, and creates none.
func (l *layout) remove(ctx context.Context, change func(*ocispec.Index)) error {
	if _, err := l.readIndex(); err != nil {
		return err
	}
	return l.write(ctx, func() error { return l.updateIndex(change) })
}

// delist does nothing: a manifest that left the index is not listed.
func (l *layout) delist(context.Context, digest.Digest, []digest.Digest) error { return nil }

func (l *layout) outlive(context.Context, ocispec.Descriptor) (bool, error) { return true, nil }

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// ErrDeleteRefused says that a repository deletes nothing: its registry does not offer it, or was told not to. What
// the account may not do is another error.
var ErrDeleteRefused = errors.New("the registry does not delete manifests")

// deleter is what registries and layouts do differently about deleting.
type deleter interface {
	// deleteManifest deletes a manifest by its digest, and with it all of its tags.
	deleteManifest(ctx context.Context, d digest.Digest) error
	// deleteTag deletes a tag and leaves the manifest.
	deleteTag(ctx context.Context, tag string) error
	// delist takes manifests off the list of a subject's referrers, where the registry does not do that by itself.
	delist(ctx context.Context, subject digest.Digest, gone []digest.Digest) error
	// outlive tells whether what is attached to a manifest stays when that is deleted.
	outlive(ctx context.Context, subject ocispec.Descriptor) (bool, error)
}

func (r *Repository) deleter() (deleter, error) {
	d, ok := r.backend.(deleter)
	if !ok {
		return nil, ErrDeleteRefused
	}
	return d, nil
}

// nothing is a digest that no manifest has: it is that of no valid JSON.
const nothing = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// CheckDelete asks whether the repository deletes manifests, by deleting one that is not there. The error is
// [ErrDeleteRefused] where it does not.
func (r *Repository) CheckDelete(ctx context.Context) error {
	err := r.delete(func(b deleter) error { return b.deleteManifest(ctx, nothing) })
	return explain(err, "delete from", r.name, r.host)
}

// DeleteManifest deletes the manifest that has a digest, and with it every tag that names it. Blobs stay for the
// registry's garbage collection. What is not there is deleted already. See [ErrDeleteRefused].
func (r *Repository) DeleteManifest(ctx context.Context, d digest.Digest) error {
	err := d.Validate()
	if err == nil {
		err = r.delete(func(b deleter) error { return b.deleteManifest(ctx, d) })
	}
	return r.explain(err, "delete", d.String())
}

// DeleteTag deletes a tag and leaves the manifest that it names. What is not there is deleted already. Some
// registries delete tags with their manifest only: the error is [ErrDeleteRefused] there.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	err := checkTag(tag)
	if err == nil {
		err = r.delete(func(b deleter) error { return b.deleteTag(ctx, tag) })
	}
	return r.explain(err, "delete tag", tag)
}

// delete takes for done what was done already.
func (r *Repository) delete(do func(deleter) error) error {
	b, err := r.deleter()
	if err == nil {
		err = do(b)
	}
	if isNotFound(err) {
		return nil
	}
	return err
}

// DeleteReferrers deletes manifests that are attached to subject, one after the other, and takes them off its list before
// the last one goes: a run that is cut short leaves no list of which nothing is there. One whose manifest names another
// subject is taken off and not deleted: whoever can write the fallback index can list anything there. The subject need
// not be there any more.
func (r *Repository) DeleteReferrers(ctx context.Context, subject digest.Digest, referrers ...digest.Digest) error {
	return r.explain(r.deleteReferrers(ctx, subject, referrers), "delete what is attached to", subject.String())
}

func (r *Repository) deleteReferrers(ctx context.Context, subject digest.Digest, referrers []digest.Digest) error {
	if err := subject.Validate(); err != nil {
		return err
	}
	delist := func() error {
		return r.delete(func(b deleter) error { return b.delist(ctx, subject, referrers) })
	}
	for i, d := range referrers {
		_, raw, err := r.manifest(ctx, d.String())
		if err != nil && !isNotFound(err) {
			return r.explain(err, "read manifest", d.String())
		}
		if i == len(referrers)-1 {
			if err := delist(); err != nil {
				return err
			}
		}
		if err != nil {
			continue
		}
		if _, _, named := referrerFields(raw); named.Digest != subject {
			continue
		}
		if err := r.DeleteManifest(ctx, d); err != nil {
			return err
		}
	}
	if len(referrers) == 0 {
		return delist()
	}
	return nil
}

// ReferrersOutlive tells whether what is attached to a manifest certainly stays when that is deleted: in image layouts,
// and in registries without the referrers API, where a subject is nothing but a word in a manifest and the fallback tag
// keeps what it lists. Registries with the API may delete referrers with their subject, at once or when they collect garbage.
func (r *Repository) ReferrersOutlive(ctx context.Context, subject ocispec.Descriptor) (bool, error) {
	b, err := r.deleter()
	if err != nil {
		return false, err
	}
	stay, err := b.outlive(ctx, *plain(subject))
	return stay, r.explain(err, "list referrers", subject.Digest.String())
}

// FallbackTag is the tag under which registries without the referrers API list what is attached to subject.
func FallbackTag(subject digest.Digest) string {
	return subject.Algorithm().String() + "-" + subject.Encoded()
}

func (r *remoteRepository) deleteManifest(ctx context.Context, d digest.Digest) error {
	r.mu.Lock()
	delete(r.pushed, d) // tagging it would bring it back
	r.mu.Unlock()
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
		return nil // it is done, whatever became of the answer
	}
	if err != nil {
		return err
	}
	failed := &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
	var said struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.Unmarshal(raw, &said) == nil {
		failed.Errors = said.Errors
	}
	if refusesDelete(failed) {
		return fmt.Errorf("%w: %w", ErrDeleteRefused, failed)
	}
	return failed
}

// refusesDelete tells whether an answer means that no delete would do: by the specification 405, or 400 with the code
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

// delist rewrites the index under the fallback tag, or deletes it with the last entry. The index that it replaces goes
// too. Where the registry has the API there is none, unless an older client wrote one.
func (r *remoteRepository) delist(ctx context.Context, subject digest.Digest, gone []digest.Digest) error {
	lock := r.indexLock(subject)
	lock.Lock()
	defer lock.Unlock()

	tag := FallbackTag(subject)
	desc, raw, err := r.manifest(ctx, tag)
	if err != nil {
		return err
	}
	if desc.MediaType != ocispec.MediaTypeImageIndex || desc.Digest == subject {
		return nil // it lists nothing
	}
	if err := verify(desc, raw); err != nil {
		return err
	}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	if err := json.Unmarshal(raw, &index); err != nil {
		return fmt.Errorf("tag %s: %w", tag, err)
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool { return slices.Contains(gone, d.Digest) })
	switch {
	case len(index.Manifests) == before && before > 0:
		return nil
	case len(index.Manifests) > 0:
		if raw, err = json.Marshal(index); err != nil {
			return err
		}
		rest := describe(ocispec.MediaTypeImageIndex, raw)
		if err := r.writer.Manifests().PushReference(ctx, rest, bytes.NewReader(raw), tag); err != nil {
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
	return l.remove(ctx, func(index *ocispec.Index) {
		i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool { return refName(d) == tag })
		if i < 0 {
			return
		}
		named := *plain(index.Manifests[i])
		index.Manifests = slices.Delete(index.Manifests, i, i+1)
		if !contains(index.Manifests, named) {
			index.Manifests = append(index.Manifests, named)
		}
	})
}

// remove changes the index of a layout that is there, and makes none.
func (l *layout) remove(ctx context.Context, change func(*ocispec.Index)) error {
	if _, err := l.readIndex(); err != nil {
		return err
	}
	return l.write(ctx, func() error { return l.updateIndex(change) })
}

// delist has nothing to do: what left the index is listed nowhere.
func (l *layout) delist(context.Context, digest.Digest, []digest.Digest) error { return nil }

func (l *layout) outlive(context.Context, ocispec.Descriptor) (bool, error) { return true, nil }

package oci

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"

	"github.com/lockage/lockage/internal/retry"
)

// manifestTypes is what a registry may answer with for a manifest.
var manifestTypes = strings.Join([]string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.oci.artifact.manifest.v1+json",
}, ", ")

// remoteRepository is a repository of a registry.
type remoteRepository struct {
	host   string
	known  *host
	client *Client
	id     repositoryID

	fallback atomic.Bool // the repository is known to lack the referrers API
	api      atomic.Bool // or to have it
	headless atomic.Bool // HEAD does not describe manifests
	listable atomic.Bool // the account may list the tags

	indexing sync.Map // digest.Digest → *sync.Mutex: one writer a subject
	blobs    sync.Map // digest.Digest → *sentBlob: blobs that this process has sent or found
}

func newRemote(name string, client *Client) (*remoteRepository, error) {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return nil, err
	}
	base := &url.URL{Scheme: schemeOf(ref.Registry), Host: ref.Host(), Path: "/v2/" + ref.Repository + "/"}
	id := repositoryID{name: ref.Registry + "/" + ref.Repository, path: ref.Repository, base: base}
	return &remoteRepository{host: ref.Registry, known: client.host(ref.Registry), client: client, id: id}, nil
}

// resolve asks by HEAD, and by GET if the registry refuses that or does not name the digest, which it only should, or a size.
func (r *remoteRepository) resolve(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, error) {
	if !r.headless.Load() {
		a, err := r.do(ctx, call{method: http.MethodHead, url: r.manifestURL(tagOrDigest), actions: toPull, header: map[string]string{"Accept": manifestTypes}})
		if err != nil && !headRefused(err) {
			return ocispec.Descriptor{}, err
		}
		named := digest.Digest(a.header.Get("Docker-Content-Digest"))
		if named == "" && strings.Contains(tagOrDigest, ":") && strings.Contains(manifestTypes, mediaType(a.header)) {
			named = digest.Digest(tagOrDigest)
		}
		if err == nil && a.size > 0 && mediaType(a.header) != "" && named.Validate() == nil {
			if strings.Contains(tagOrDigest, ":") && named != digest.Digest(tagOrDigest) {
				return ocispec.Descriptor{}, fmt.Errorf("the registry names the digest %s", named)
			}
			return ocispec.Descriptor{MediaType: mediaType(a.header), Digest: named, Size: a.size}, nil
		}
	}
	desc, raw, err := r.readManifest(ctx, tagOrDigest)
	if err == nil {
		r.headless.Store(true)
		err = verify(desc, raw)
	}
	return desc, err
}

// headRefused reports whether a registry, or a proxy before it, refuses HEAD, or may say more to GET.
func headRefused(err error) bool {
	status := statusOf(err)
	return status >= http.StatusBadRequest && status < http.StatusInternalServerError && status != http.StatusNotFound && status != http.StatusUnauthorized &&
		status != http.StatusTooManyRequests || status == http.StatusNotImplemented
}

func (r *remoteRepository) manifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	if raw, ok := r.client.contents.Get(r.key(true, digest.Digest(tagOrDigest))); ok {
		return describe(mediaTypeOf(raw), raw), raw, nil
	}
	desc, raw, err := r.readManifest(ctx, tagOrDigest)
	if err == nil && verify(desc, raw) == nil {
		r.keepManifest(desc, raw)
	}
	return desc, raw, err
}

// readManifest reads a manifest. Its digest is the one that the registry names, else that of the bytes.
func (r *remoteRepository) readManifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	a, err := r.do(ctx, call{
		method: http.MethodGet, url: r.manifestURL(tagOrDigest), actions: toPull, header: map[string]string{"Accept": manifestTypes}, limit: MaxManifestSize,
		digest: digest.Digest(tagOrDigest),
	})
	if err != nil {
		return ocispec.Descriptor{}, nil, r.unlessHidden(ctx, err)
	}
	desc := describe(mediaType(a.header), a.body)
	if !strings.Contains(manifestTypes, desc.MediaType) {
		// A server of files does not know it, and a login page has a digest too.
		if !isManifest(a.body) {
			return ocispec.Descriptor{}, nil, fmt.Errorf("the answer is not a manifest (content type %q): is there a proxy or a login page before the registry?", desc.MediaType)
		}
		desc.MediaType = cmp.Or(mediaTypeOf(a.body), desc.MediaType)
	}
	if named := digest.Digest(a.header.Get("Docker-Content-Digest")); named.Validate() == nil {
		desc.Digest = named
	}
	return desc, a.body, nil
}

// unlessHidden makes a 403 for a manifest «not found» if the account may list the tags, or the repository does not exist: some
// registries (Artifactory) answer so for what they lack.
func (r *remoteRepository) unlessHidden(ctx context.Context, err error) error {
	if statusOf(err) != http.StatusForbidden {
		return err
	}
	if !r.listable.Load() {
		_, listErr := r.do(ctx, call{method: http.MethodGet, url: r.at("tags/list", pageQuery(1, "")), actions: toPull, limit: maxListSize})
		if listErr != nil && !isNotFound(listErr) {
			return err
		}
		r.listable.Store(listErr == nil)
	}
	return fmt.Errorf("%w (%w)", ErrNotFound, err)
}

// key is that of a manifest or blob among the client's contents.
func (r *remoteRepository) key(manifest bool, d digest.Digest) contentKey {
	return contentKey{r.id.name, manifest, d}
}

// keepManifest keeps a manifest that states its own type.
func (r *remoteRepository) keepManifest(desc ocispec.Descriptor, raw []byte) {
	if mediaTypeOf(raw) == desc.MediaType {
		r.client.contents.Put(r.key(true, desc.Digest), raw, len(raw))
	}
}

// mediaTypeOf returns the media type that a manifest says it has.
func mediaTypeOf(manifest []byte) string {
	var m struct {
		MediaType string `json:"mediaType"`
	}
	_ = json.Unmarshal(manifest, &m)
	return m.MediaType
}

// isManifest reports whether bytes are those of a manifest, which all state the version of their schema.
func isManifest(raw []byte) bool {
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	return json.Unmarshal(raw, &m) == nil && m.SchemaVersion > 0
}

func (r *remoteRepository) blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if data, ok := r.client.contents.Get(r.key(false, desc.Digest)); ok {
		return data, nil
	}
	a, err := r.do(ctx, call{method: http.MethodGet, url: r.at("blobs/"+desc.Digest.String(), nil), actions: toPull, limit: desc.Size, digest: desc.Digest})
	if err == nil && verify(desc, a.body) == nil {
		r.client.contents.Put(r.key(false, desc.Digest), a.body, len(a.body))
	}
	return a.body, err
}

func (r *remoteRepository) pushManifest(ctx context.Context, desc ocispec.Descriptor, data []byte, tags ...string) error {
	var err error
	if len(tags) == 0 {
		err = r.putManifest(ctx, desc, data, desc.Digest.String())
	} else {
		err = r.pushTags(ctx, desc, data, tags)
	}
	if err == nil {
		r.keepManifest(desc, data)
	}
	return err
}

// putManifest writes a manifest under its digest or a tag: again, if the registry does not know a blob yet that it took.
func (r *remoteRepository) putManifest(ctx context.Context, desc ocispec.Descriptor, data []byte, tagOrDigest string) error {
	put := call{
		method: http.MethodPut, url: r.manifestURL(tagOrDigest), actions: toPush, header: map[string]string{"Content-Type": desc.MediaType}, body: data,
	}
	a, err := r.do(ctx, put)
	for attempt, wait := 1, blobWait; attempt < blobAttempts && hasCode(err, "MANIFEST_BLOB_UNKNOWN") && r.hasSent(data); attempt, wait = attempt+1, wait*2 {
		if waiting := retry.Sleep(ctx, wait); waiting != nil {
			return waiting
		}
		a, err = r.do(ctx, put)
	}
	if named := digest.Digest(a.header.Get("Docker-Content-Digest")); err == nil && named.Validate() == nil && named != desc.Digest {
		err = fmt.Errorf("the registry stored it under the digest %s", named)
	}
	if err == nil && a.header.Get("OCI-Subject") != "" {
		r.fallback.Store(false) // it lists the manifest, and may have refused the question for one moment only
	}
	return err
}

// tag pushes the manifest again, to the tags.
func (r *remoteRepository) tag(ctx context.Context, desc ocispec.Descriptor, tags ...string) error {
	read, raw, err := r.manifest(ctx, desc.Digest.String())
	if err == nil {
		err = verify(ocispec.Descriptor{Digest: desc.Digest, Size: read.Size}, raw)
	}
	if err != nil {
		return err
	}
	return r.pushTags(ctx, describe(read.MediaType, raw), raw, tags)
}

// pages counts the pages and the entries of a list.
type pages struct{ seen, entries int }

// add counts a page, and returns an error if the registry goes on to send pages with next to nothing in them.
func (p *pages) add(entries int) error {
	p.seen++
	p.entries += entries
	if p.seen > maxThinPages+p.entries/minPerPage {
		return fmt.Errorf("the registry has sent %d pages with %d entries, and names another page", p.seen, p.entries)
	}
	return nil
}

// tagPages are the numbers of tags that a listing asks for at a time, one after the other if the registry refuses it; 0 is the
// registry's own.
var tagPages = []int{1000, 100, 10, 0}

func (r *remoteRepository) tags(ctx context.Context, last string, page func([]string) (bool, error)) error {
	size := &r.known.page
	first := int(size.Load())
	var refusal error
	for i := first; i < len(tagPages); i++ {
		err := r.listTags(ctx, r.at("tags/list", pageQuery(tagPages[i], last)), page)
		if status := statusOf(err); !slices.Contains([]int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, status) {
			if err == nil {
				size.Store(int32(i)) //nolint:gosec // an index of tagPages
			}
			return err
		} else if refusal == nil {
			refusal = err
		}
	}
	return refusal
}

// listTags reads from one page on.
func (r *remoteRepository) listTags(ctx context.Context, at *url.URL, page func([]string) (bool, error)) error {
	var pages pages
	for at != nil {
		a, err := r.do(ctx, call{method: http.MethodGet, url: at, actions: toPull, limit: maxListSize})
		if err != nil {
			return err
		}
		var list struct {
			Tags []string `json:"tags"`
		}
		if err := json.Unmarshal(a.body, &list); err != nil {
			return fmt.Errorf("the list of tags: %w", err)
		}
		if err := pages.add(len(list.Tags)); err != nil {
			return err
		}
		if more, err := page(list.Tags); err != nil || !more {
			return err
		}
		if at, err = a.next(); err != nil {
			return err
		}
	}
	return nil
}

func (r *remoteRepository) deleteManifest(ctx context.Context, d digest.Digest) error {
	r.client.contents.Drop(r.key(true, d)) // tagging it would bring it back
	return r.deleteReference(ctx, d.String())
}

func (r *remoteRepository) deleteTag(ctx context.Context, tag string) error {
	return r.deleteReference(ctx, tag)
}

// deleteReference is distribution-spec v1.1, «Content Management».
func (r *remoteRepository) deleteReference(ctx context.Context, tagOrDigest string) error {
	_, err := r.do(ctx, call{method: http.MethodDelete, url: r.manifestURL(tagOrDigest), actions: toDelete})
	var failed *refused
	if errors.As(err, &failed) && refusesDelete(failed) {
		return fmt.Errorf("%w: %w", ErrDeleteRefused, failed)
	}
	return err
}

func (r *remoteRepository) manifestURL(tagOrDigest string) *url.URL {
	return r.at("manifests/"+tagOrDigest, nil)
}

// refusesDelete reports whether every delete fails: 405 by the specification, or 400 with the code UNSUPPORTED.
func refusesDelete(e *refused) bool {
	switch e.status {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest:
		return e.has("UNSUPPORTED")
	}
	return false
}

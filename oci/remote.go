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
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
)

const (
	// uploadAttempts bounds how often a blob is sent from the beginning: a broken session cannot be resumed.
	uploadAttempts = 3
	// tagPage is how many tags a listing asks for at a time.
	tagPage = 1000
	// smallBlob is the size up to which sending costs less than asking first, in bytes.
	smallBlob = 1 << 20
)

// remoteRepository is a repository of a registry.
type remoteRepository struct {
	host   string
	client *Client
	// repo reads, and detects whether the registry has the referrers API.
	repo *remote.Repository
	// writer assumes the API, and so leaves the fallback index to list.
	writer *remote.Repository

	fallback  atomic.Bool // the registry is known to lack the referrers API
	api       atomic.Bool // or to have it
	detecting sync.Once

	indexing sync.Map // digest.Digest → *sync.Mutex: one writer a subject
	blobs    sync.Map // digest.Digest → *sentBlob: blobs that this process has sent or found
}

func newRemote(name string, client *Client) (*remoteRepository, error) {
	r := &remoteRepository{client: client}
	for _, target := range []**remote.Repository{&r.repo, &r.writer} {
		repo, err := remote.NewRepository(name)
		if err != nil {
			return nil, err
		}
		repo.Client = client.http
		repo.PlainHTTP = loopback.Is(repo.Reference.Registry)
		repo.MaxMetadataBytes = maxListSize
		repo.TagListPageSize, repo.ReferrerListMaxPages = tagPage, maxPages
		repo.HandleWarning = func(w remote.Warning) { client.warn(repo.Reference.Registry + ": " + w.Text) }
		*target = repo
	}
	r.host = r.repo.Reference.Registry
	return r, r.writer.SetReferrersCapability(true)
}

func (r *remoteRepository) resolve(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, error) {
	return r.repo.Manifests().Resolve(ctx, tagOrDigest)
}

func (r *remoteRepository) manifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	if raw, ok := r.client.contents.Get(r.key(true, digest.Digest(tagOrDigest))); ok {
		return describe(mediaTypeOf(raw), raw), raw, nil
	}
	desc, body, err := r.repo.Manifests().FetchReference(ctx, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	raw, err := readBounded(body, MaxManifestSize)
	if err == nil && verify(desc, raw) == nil {
		r.keepManifest(desc, raw)
	}
	return desc, raw, err
}

// key is that of a manifest or blob among the client's contents.
func (r *remoteRepository) key(manifest bool, d digest.Digest) contentKey {
	return contentKey{r.repo.Reference.Registry + "/" + r.repo.Reference.Repository, manifest, d}
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

func (r *remoteRepository) blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	if data, ok := r.client.contents.Get(r.key(false, desc.Digest)); ok {
		return data, nil
	}
	body, err := r.repo.Blobs().Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	data, err := readBounded(body, desc.Size)
	if err == nil && verify(desc, data) == nil {
		r.client.contents.Put(r.key(false, desc.Digest), data, len(data))
	}
	return data, err
}

// readBounded reads and closes body; more than limit bytes are an error.
func readBounded(body io.ReadCloser, limit int64) ([]byte, error) {
	data, err := bounded.Read(body, limit)
	return data, errors.Join(err, body.Close())
}

func (r *remoteRepository) pushBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	known, _ := r.blobs.LoadOrStore(desc.Digest, new(sentBlob))
	blob, _ := known.(*sentBlob)
	blob.mu.Lock()
	defer blob.mu.Unlock()
	if blob.there {
		return nil
	}
	err := r.sendBlob(ctx, desc, data)
	if blob.there = err == nil; blob.there {
		r.client.contents.Put(r.key(false, desc.Digest), data, len(data))
	}
	return err
}

// sentBlob is a blob that one goroutine sends while the others wait: all referrers share the empty config.
type sentBlob struct {
	mu    sync.Mutex
	there bool
}

func (r *remoteRepository) sendBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	for attempt := 1; ; attempt++ {
		if desc.Size > smallBlob || attempt > 1 {
			exists, err := r.repo.Blobs().Exists(ctx, desc)
			if err != nil || exists {
				return err
			}
		}
		err := r.repo.Blobs().Push(ctx, desc, bytes.NewReader(data))
		if err == nil || attempt == uploadAttempts || !uploadLost(err) {
			return err
		}
	}
}

// uploadLost reports whether the registry may have dropped the upload session after one of its requests failed.
func uploadLost(err error) bool {
	return slices.Contains([]int{http.StatusNotFound, http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable}, statusOf(err))
}

func (r *remoteRepository) pushManifest(ctx context.Context, desc ocispec.Descriptor, data []byte, tags ...string) error {
	var err error
	if len(tags) == 0 {
		err = r.writer.Manifests().Push(ctx, desc, bytes.NewReader(data))
	} else {
		err = r.pushTags(ctx, desc, data, tags)
	}
	if err == nil {
		r.keepManifest(desc, data)
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

// errStop ends a listing that has seen enough.
var errStop = errors.New("stop")

func (r *remoteRepository) tags(ctx context.Context, last string, page func([]string) (bool, error)) error {
	var pages pages
	err := r.repo.Tags(ctx, last, func(tags []string) error {
		if err := pages.add(len(tags)); err != nil {
			return err
		}
		more, err := page(tags)
		if err == nil && !more {
			return errStop
		}
		return err
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return err
}

func (r *remoteRepository) deleteManifest(ctx context.Context, d digest.Digest) error {
	r.client.contents.Drop(r.key(true, d)) // tagging it would bring it back
	return r.deleteReference(ctx, d.String())
}

func (r *remoteRepository) deleteTag(ctx context.Context, tag string) error {
	return r.deleteReference(ctx, tag)
}

// deleteReference is distribution-spec v1.1, «Content Management». oras-go deletes no tags, and reads before it deletes.
func (r *remoteRepository) deleteReference(ctx context.Context, tagOrDigest string) error {
	ctx = auth.AppendRepositoryScope(ctx, r.repo.Reference, auth.ActionPull, auth.ActionDelete)
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, r.manifestURL(tagOrDigest), nil)
	if err != nil {
		return err
	}
	_, err = r.do(req)
	var failed *errcode.ErrorResponse
	if errors.As(err, &failed) && refusesDelete(failed) {
		return fmt.Errorf("%w: %w", ErrDeleteRefused, failed)
	}
	return err
}

func (r *remoteRepository) manifestURL(tagOrDigest string) string {
	ref := r.repo.Reference
	u := url.URL{Scheme: "https", Host: ref.Host(), Path: "/v2/" + ref.Repository + "/manifests/" + tagOrDigest}
	if r.repo.PlainHTTP {
		u.Scheme = "http"
	}
	return u.String()
}

// do makes a request that oras-go does not know, and returns the header of the answer.
func (r *remoteRepository) do(req *http.Request) (http.Header, error) {
	resp, err := r.client.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, MaxManifestSize))
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp.Header, nil // done, even if the answer is cut
	}
	if err != nil {
		return nil, err
	}
	failed := &errcode.ErrorResponse{Method: req.Method, URL: req.URL, StatusCode: resp.StatusCode}
	var answer struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.Unmarshal(raw, &answer) == nil {
		failed.Errors = answer.Errors
	}
	return nil, failed
}

// refusesDelete reports whether every delete fails: 405 by the specification, or 400 with the code UNSUPPORTED.
func refusesDelete(e *errcode.ErrorResponse) bool {
	switch e.StatusCode {
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	case http.StatusBadRequest:
		return slices.ContainsFunc(e.Errors, func(e errcode.Error) bool { return e.Code == errcode.ErrorCodeUnsupported })
	}
	return false
}

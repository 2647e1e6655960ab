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
	smallBlob = 64 << 10
	// maxKept bounds a manifest that is kept for being tagged, in bytes.
	maxKept = 64 << 10
)

// remoteRepository is a repository of a registry.
type remoteRepository struct {
	host   string
	client *Client
	// repo reads, and detects whether the registry has the referrers API.
	repo *remote.Repository
	// writer assumes the API, and so leaves the fallback index to list.
	writer *remote.Repository

	fallback atomic.Bool // the registry is known to lack the referrers API

	indexing sync.Map // digest.Digest → *sync.Mutex: one writer a subject
	blobs    sync.Map // digest.Digest → *sentBlob: blobs that this process has sent or found
	pushed   sync.Map // digest.Digest → []byte, manifests: to tag one is to push it again, by another name
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
	desc, body, err := r.repo.Manifests().FetchReference(ctx, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	raw, err := readBounded(body, MaxManifestSize)
	return desc, raw, err
}

func (r *remoteRepository) blob(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
	body, err := r.repo.Blobs().Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	return readBounded(body, desc.Size)
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
	blob.there = err == nil
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

func (r *remoteRepository) pushManifest(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	if err := r.writer.Manifests().Push(ctx, desc, bytes.NewReader(data)); err != nil {
		return err
	}
	if len(data) <= maxKept {
		r.pushed.Store(desc.Digest, data)
	}
	return nil
}

func (r *remoteRepository) tag(ctx context.Context, desc ocispec.Descriptor, tag string) error {
	if pushed, ok := r.pushed.Load(desc.Digest); ok {
		raw, _ := pushed.([]byte)
		return r.writer.Manifests().PushReference(ctx, desc, bytes.NewReader(raw), tag)
	}
	return r.writer.Manifests().Tag(ctx, desc, tag)
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
	r.pushed.Delete(d) // tagging it would bring it back
	return r.deleteReference(ctx, d.String())
}

func (r *remoteRepository) deleteTag(ctx context.Context, tag string) error {
	return r.deleteReference(ctx, tag)
}

// deleteReference is distribution-spec v1.1, «Content Management». oras-go deletes no tags, and reads before it deletes.
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

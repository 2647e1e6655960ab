package oci

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// uploadAttempts bounds how often a blob is sent from the beginning: a broken session cannot be resumed. Each way is taken twice.
	uploadAttempts = 4
	// smallBlob is the size up to which sending costs less than asking first, in bytes.
	smallBlob = 1 << 20
	// blobAttempts bounds how often a manifest is written whose blobs the registry took and does not know yet, and blobWait is the first
	// pause, which doubles.
	blobAttempts = 6
	blobWait     = 100 * time.Millisecond

	octets = "application/octet-stream"
)

// sentBlob is a blob that one goroutine sends while the others wait: all referrers share the empty config.
type sentBlob struct {
	mu    sync.Mutex
	there bool
}

func (r *remoteRepository) pushBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	known, _ := r.blobs.LoadOrStore(desc.Digest, new(sentBlob))
	blob, _ := known.(*sentBlob)
	blob.mu.Lock()
	defer blob.mu.Unlock()
	if blob.there {
		return nil
	}
	err := r.shareBlob(ctx, desc, data)
	if blob.there = err == nil; blob.there {
		r.client.contents.Put(r.key(false, desc.Digest), data, len(data))
	}
	return err
}

// hasSent reports whether this process has sent, or found, all blobs that a manifest names.
func (r *remoteRepository) hasSent(manifest []byte) bool {
	blobs, _, err := partsOf(manifest)
	return err == nil && !slices.ContainsFunc(blobs, func(b ocispec.Descriptor) bool {
		known, ok := r.blobs.Load(b.Digest)
		if !ok {
			return true
		}
		blob, _ := known.(*sentBlob)
		blob.mu.Lock()
		defer blob.mu.Unlock()
		return !blob.there
	})
}

// shareBlob sends a blob that no repository of the registry got in this run yet, and mounts others from the one that has it.
func (r *remoteRepository) shareBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) (err error) {
	loaded, _ := r.known.blobs.LoadOrStore(desc.Digest, new(source))
	there, _ := loaded.(*source)
	did, waiting := there.sent.do(ctx, func() {
		if err = r.sendBlob(ctx, desc, data, ""); err == nil {
			there.path = r.id.path
		}
	})
	if !did && waiting == nil {
		err = r.sendBlob(ctx, desc, data, there.path)
	}
	return cmp.Or(err, waiting)
}

// sendBlob uploads with as few requests as the registry allows, and every other time in three, as Docker does. From is a repository
// that has the blob; "" for none.
func (r *remoteRepository) sendBlob(ctx context.Context, desc ocispec.Descriptor, data []byte, from string) error {
	if from != "" && !r.mounts(from) {
		from = ""
	}
	for attempt := 1; ; attempt++ {
		if from == "" && desc.Size > smallBlob || attempt > 1 {
			exists, err := r.hasBlob(ctx, desc)
			if err != nil || exists {
				return err
			}
		}
		err := r.upload(ctx, desc, data, from, attempt)
		if err == nil || attempt == uploadAttempts || !uploadRefused(err) {
			return err
		}
	}
}

// hasBlob reports whether a blob exists; false if the registry does not answer HEAD.
func (r *remoteRepository) hasBlob(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	_, err := r.do(ctx, call{method: http.MethodHead, url: r.at("blobs/"+desc.Digest.String(), nil), actions: toPull})
	if headRefused(err) || isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// upload is distribution-spec, «Pushing blobs».
func (r *remoteRepository) upload(ctx context.Context, desc ocispec.Descriptor, data []byte, from string, attempt int) (err error) {
	var to *url.URL
	done := false
	if attempt == 1 && from != "" {
		to, done, err = r.mountOf(ctx, desc, from)
	}
	switch {
	case to != nil || done || err != nil:
	case attempt > 1:
		to, err = r.begin(ctx, nil, nil)
	default:
		to, err = r.beginWith(ctx, desc, data)
	}
	if err != nil || to == nil {
		return err
	}
	send := call{method: http.MethodPut, actions: toPush, header: map[string]string{"Content-Type": octets}, body: data}
	if attempt%2 == 0 {
		send.method, send.url = http.MethodPatch, to
		sent, err := r.do(ctx, send)
		if err != nil {
			return err
		}
		if sent.header.Get("Location") != "" { // else where it was sent
			if to, err = sent.location(); err != nil {
				return err
			}
		}
		send.method, send.body = http.MethodPut, nil
	}
	send.url = withDigest(to, desc.Digest.String())
	_, err = r.do(ctx, send)
	return err
}

// begin begins an upload, and returns where it goes on; nil if what the query asks for made that needless.
func (r *remoteRepository) begin(ctx context.Context, query url.Values, data []byte) (*url.URL, error) {
	c := call{method: http.MethodPost, url: r.at("blobs/uploads/", query), actions: toPush, body: data}
	if data != nil {
		c.header = map[string]string{"Content-Type": octets}
	}
	a, err := r.do(ctx, c)
	if err != nil || query != nil && a.status == http.StatusCreated {
		return nil, err
	}
	return a.location()
}

// beginWith begins the upload of a blob, with a small one in the same request if the registry takes that. The first small blob finds
// out, and others wait for it. The specification lets registries ignore it; one that says to have the blob is asked for it.
func (r *remoteRepository) beginWith(ctx context.Context, desc ocispec.Descriptor, data []byte) (to *url.URL, err error) {
	whole := url.Values{"digest": {desc.Digest.String()}}
	found := false
	if desc.Size <= smallBlob {
		_, waiting := r.known.uploading.do(ctx, func() {
			if to, err = r.begin(ctx, whole, data); err == nil && to == nil {
				found, err = r.hasBlob(ctx, desc)
				r.known.whole.Store(found)
			}
			found = found || to != nil
		})
		err = cmp.Or(err, waiting)
	}
	switch {
	case found || err != nil && statusOf(err) == 0:
		return to, err
	case desc.Size <= smallBlob && r.known.whole.Load():
		return r.begin(ctx, whole, data)
	}
	return r.begin(ctx, nil, nil)
}

// mounts reports whether blobs of another repository, which was written to, are mounted: not if the registry refused that, nor where it takes
// a token of both repositories, which costs more than it saves.
func (r *remoteRepository) mounts(from string) bool {
	return !r.known.mountless.Load() && !r.client.auth.takesTokens(r.host+"/"+from)
}

// mountOf makes a blob of another repository of the registry one of this (distribution-spec, «Mounting a blob from another repository»),
// and reports whether it did. A registry that does not, or may not, is not asked again; it may begin an upload instead.
func (r *remoteRepository) mountOf(ctx context.Context, desc ocispec.Descriptor, from string) (to *url.URL, done bool, err error) {
	to, err = r.begin(ctx, url.Values{"mount": {desc.Digest.String()}, "from": {from}}, nil)
	if done = to == nil && err == nil; !done {
		r.known.mountless.Store(true)
	}
	if statusOf(err) != 0 {
		err = nil
	}
	return to, done, err
}

// uploadRefused reports whether the registry may have dropped the upload session after one of its requests failed, or may want the
// content in another one.
func uploadRefused(err error) bool {
	return slices.Contains([]int{
		http.StatusNotFound, http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable,
		http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented,
	}, statusOf(err))
}

package oci

import (
	"context"
	"net/http"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// uploadAttempts bounds how often a blob is sent from the beginning: a broken session cannot be resumed.
	uploadAttempts = 3
	// smallBlob is the size up to which sending costs less than asking first, in bytes.
	smallBlob = 1 << 20

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
	err := r.sendBlob(ctx, desc, data)
	if blob.there = err == nil; blob.there {
		r.client.contents.Put(r.key(false, desc.Digest), data, len(data))
	}
	return err
}

// sendBlob uploads in one request after that which begins, and the second time in two, as Docker does.
func (r *remoteRepository) sendBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	for attempt := 1; ; attempt++ {
		if desc.Size > smallBlob || attempt > 1 {
			exists, err := r.hasBlob(ctx, desc)
			if err != nil || exists {
				return err
			}
		}
		err := r.upload(ctx, desc, data, attempt%2 == 0)
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
func (r *remoteRepository) upload(ctx context.Context, desc ocispec.Descriptor, data []byte, separately bool) error {
	begun, err := r.do(ctx, call{method: http.MethodPost, url: r.at("blobs/uploads/", nil), actions: toPush})
	if err != nil {
		return err
	}
	to, err := begun.location()
	if err != nil {
		return err
	}
	send := call{method: http.MethodPut, actions: toPush, header: map[string]string{"Content-Type": octets}, body: data}
	if separately {
		send.method, send.url = http.MethodPatch, to
		sent, err := r.do(ctx, send)
		if err != nil {
			return err
		}
		if to, err = sent.location(); err != nil {
			return err
		}
		send.method, send.body = http.MethodPut, nil
	}
	send.url = withDigest(to, desc.Digest.String())
	_, err = r.do(ctx, send)
	return err
}

// uploadRefused reports whether the registry may have dropped the upload session after one of its requests failed, or may want the
// content in another one.
func uploadRefused(err error) bool {
	return slices.Contains([]int{
		http.StatusNotFound, http.StatusBadRequest, http.StatusRequestedRangeNotSatisfiable,
		http.StatusMethodNotAllowed, http.StatusLengthRequired, http.StatusUnsupportedMediaType, http.StatusNotImplemented,
	}, statusOf(err))
}

package oci

import (
	"context"
	"sync"
	"sync/atomic"
)

// host is what a run finds out about a registry. Its repositories share it.
type host struct {
	tags        tagging
	page        atomic.Int32 // index of tagPages
	asking      first        // the first question for referrers
	noReferrers atomic.Bool  // it does not know the path of the referrers API

	uploading first       // the first upload of a small blob
	whole     atomic.Bool // it takes a blob with the request that begins the upload
	mountless atomic.Bool // it does not mount blobs of other repositories
	blobs     sync.Map    // digest.Digest → *source
}

// source is a repository that a blob was sent to first. Others mount it from there.
type source struct {
	sent first
	path string // "" if that failed
}

// host returns what is known of a host.
func (c *Client) host(name string) *host {
	loaded, _ := c.hosts.LoadOrStore(name, new(host))
	known, _ := loaded.(*host)
	return known
}

// first is what one caller does while the others wait.
type first struct {
	mu   sync.Mutex
	done chan struct{} // nil before it begins, closed when it ended
}

// do calls find if no caller did, and reports whether it did; if not, it waits until that ended.
func (f *first) do(ctx context.Context, find func()) (did bool, err error) {
	f.mu.Lock()
	done := f.done
	if done == nil {
		f.done = make(chan struct{})
	}
	f.mu.Unlock()
	if done == nil {
		defer close(f.done)
		find()
		return true, nil
	}
	select {
	case <-done:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

package oci

import (
	"sync"

	"github.com/opencontainers/go-digest"
)

// maxContents bounds the blobs and manifests that a client keeps, in bytes.
const maxContents = 32 << 20

// contents are blobs and manifests that were read from repositories or written to them, so that no run reads one twice. Those that
// were not asked for lately are dropped. They are looked up by digest, and verified again.
type contents struct {
	mu             sync.Mutex
	recent, before map[contentKey][]byte
	size           int // of recent
}

type contentKey struct {
	repository string
	manifest   bool
	digest     digest.Digest
}

func (c *contents) get(key contentKey) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.recent[key]
	if !ok {
		if data, ok = c.before[key]; ok {
			c.add(key, data)
		}
	}
	return data, ok
}

func (c *contents) put(key contentKey, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.recent[key]; !ok && len(data) <= maxContents/8 {
		c.add(key, data)
	}
}

func (c *contents) add(key contentKey, data []byte) {
	if c.size += len(data); c.recent == nil || c.size > maxContents/2 {
		c.before, c.recent, c.size = c.recent, map[contentKey][]byte{}, len(data)
	}
	c.recent[key] = data
}

func (c *contents) drop(key contentKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.recent, key) // its size counts on
	delete(c.before, key)
}

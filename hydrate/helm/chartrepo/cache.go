package chartrepo

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/cachefile"
)

// cache keeps archives under their digests, and notes which is which.
//
//	archives/<sha256 of the archive>.tgz
//	notes/<sha256 of repository, name and version>   the archive's sha256, in hexadecimal
type cache struct {
	dir string

	mu    sync.Mutex
	known map[pin]string // of this run, those without a digest in their index included
}

func (c *cache) archive(sum string) string {
	return filepath.Join(c.dir, "charts", "archives", sum+".tgz")
}

func (c *cache) note(p pin) string {
	sum := sha256.Sum256([]byte(p.repository + "\n" + p.name + "\n" + p.version))
	return filepath.Join(c.dir, "charts", "notes", hex.EncodeToString(sum[:]))
}

// get returns the archive of p, or nil if it is missing or damaged.
func (c *cache) get(p pin) ([]byte, error) {
	c.mu.Lock()
	sum := c.known[p]
	c.mu.Unlock()
	if sum == "" {
		note, err := read(c.note(p), 2*sha256.Size+1)
		if err != nil {
			return nil, err
		}
		sum = strings.TrimSpace(string(note))
	}
	return c.find(sum)
}

// find returns the archive of a digest, or nil if it is missing or damaged.
func (c *cache) find(sum string) ([]byte, error) {
	if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size {
		return nil, nil
	}
	data, err := read(c.archive(sum), MaxArchiveBytes)
	if err != nil || digest(data) != sum {
		return nil, err // the next fetch replaces a damaged one
	}
	return data, nil
}

// put keeps an archive, for later runs if it is lasting.
func (c *cache) put(p pin, data []byte, lasting bool) error {
	sum := digest(data)
	if err := write(c.archive(sum), data); err != nil {
		return err
	}
	c.mu.Lock()
	c.known[p] = sum
	c.mu.Unlock()
	if !lasting {
		return nil
	}
	return write(c.note(p), []byte(sum+"\n"))
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// read returns nil for a file that is missing or larger than limit.
func read(name string, limit int64) ([]byte, error) {
	data, err := bounded.File(name, limit)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, bounded.ErrTooLarge) {
		return nil, nil
	}
	return data, cacheError(err)
}

func write(name string, data []byte) error { return cacheError(cachefile.Write(name, data)) }

func cacheError(err error) error { return cachefile.Explain("chart cache", err) }

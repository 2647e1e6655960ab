package git

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/cachefile"
)

// objectCache keeps what was fetched from one remote: small replies as loose objects, large ones as the pack that came.
type objectCache struct {
	dir       string
	packs     *store
	deflaters sync.Pool // of *zlib.Writer: a new one takes a megabyte
}

func openCache(dir string) (*objectCache, error) {
	for _, sub := range []string{filepath.Join("objects", "pack"), "tips"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, cacheError(dir, err)
		}
	}
	return &objectCache{dir: dir, packs: newStore(dir)}, nil
}

func cacheError(dir string, err error) error { return cachefile.Explain("object cache "+dir, err) }

func (c *objectCache) path(id plumbing.Hash) string { return c.packs.loose(id) }

// read returns an object, or errMissing. It removes damaged objects, so that they are fetched again.
func (c *objectCache) read(id plumbing.Hash) (encoded, error) {
	obj, err := readLoose(c.path(id), id)
	switch {
	case err == nil:
		return obj, nil
	case errors.Is(err, bounded.ErrTooLarge):
		return obj, fmt.Errorf("object %s: %w", id, err)
	case !errors.Is(err, fs.ErrNotExist):
		if err := os.Remove(c.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return encoded{}, cacheError(c.dir, err)
		}
	}
	obj, err = c.packs.read(id)
	if err != nil && !errors.Is(err, errMissing) && !errors.Is(err, bounded.ErrTooLarge) {
		// One pack is damaged, and go-git does not name it.
		if err := c.drop(allPacks, allTips); err != nil {
			return encoded{}, err
		}
		return encoded{}, errMissing
	}
	return obj, err
}

func (c *objectCache) has(id plumbing.Hash) bool { return c.packs.has(id) }

// readLoose reads one file in the format of git's loose objects and checks it.
func readLoose(file string, id plumbing.Hash) (encoded, error) {
	f, err := os.Open(file)
	if err != nil {
		return encoded{}, err
	}
	defer func() { _ = f.Close() }()
	obj, err := decodeLoose(f)
	if err == nil && obj.id() != id {
		err = fmt.Errorf("%s does not hold object %s", file, id)
	}
	return obj, err
}

func decodeLoose(r io.Reader) (encoded, error) {
	o, err := objfile.NewReader(r)
	if err != nil {
		return encoded{}, err
	}
	defer func() { _ = o.Close() }()
	kind, size, err := o.Header() // the object's id covers its size
	if err != nil {
		return encoded{}, err
	}
	data, err := bounded.ReadSized(o, size, MaxObjectBytes)
	return encoded{kind: kind, data: data}, err
}

// write stores one object. Concurrent writers write the same bytes.
func (c *objectCache) write(obj encoded) error {
	file := c.path(obj.id())
	if _, err := os.Lstat(file); err == nil {
		return nil
	}
	z, ok := c.deflaters.Get().(*zlib.Writer)
	if !ok {
		z, _ = zlib.NewWriterLevel(io.Discard, zlib.BestSpeed) // as git does; the level is valid
	}
	defer c.deflaters.Put(z)
	var buf bytes.Buffer // writing to it never fails
	z.Reset(&buf)
	_, _ = fmt.Fprintf(z, "%s %d\x00", obj.kind, len(obj.data))
	_, _ = z.Write(obj.data)
	_ = z.Close()
	return cacheError(c.dir, cachefile.Write(file, buf.Bytes()))
}

// addPack stores the objects of a pack (gitformat-pack(5)).
func (c *objectCache) addPack(r io.Reader) error {
	tmp, err := os.MkdirTemp(c.dir, "tmp-")
	if err != nil {
		return cacheError(c.dir, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	f, err := os.Create(filepath.Join(tmp, "incoming"))
	if err != nil {
		return cacheError(c.dir, err)
	}
	defer func() { _ = f.Close() }()

	src := &failureRecorder{r: r}
	n, err := io.Copy(f, io.LimitReader(src, maxPackBytes+1))
	if src.err != nil {
		return src.err // of the network, worth repeating
	}
	if err != nil {
		return cacheError(c.dir, err)
	}
	if n > maxPackBytes {
		return fmt.Errorf("the server sent more than %d bytes", int64(maxPackBytes))
	}
	count, size, err := measurePack(io.NewSectionReader(f, 0, n))
	if err != nil {
		return err
	}
	pack := io.NewSectionReader(f, 0, n)
	if count <= maxLoosePack && size <= maxLooseBytes {
		return c.unpack(pack)
	}
	return c.keepPack(tmp, pack)
}

// unpack stores the objects of a small pack one by one.
func (c *objectCache) unpack(r io.ReadSeeker) error {
	objects := memory.NewStorage()
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(r), objects)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(); err != nil {
		return fmt.Errorf("the server's pack cannot be read: %w", err)
	}
	for _, obj := range objects.Objects {
		r, err := obj.Reader()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(r, maxLooseBytes))
		if err != nil {
			return err
		}
		if err := c.write(encoded{kind: obj.Type(), data: data}); err != nil {
			return err
		}
	}
	return nil
}

// keepPack indexes a large pack and then moves both into place, the index last: readers look for it.
func (c *objectCache) keepPack(tmp string, r io.Reader) error {
	staged := filesystem.NewStorage(osfs.New(tmp), cache.NewObjectLRUDefault())
	if err := packfile.UpdateObjectStorage(staged, r); err != nil {
		return cacheError(c.dir, fmt.Errorf("the server's pack cannot be kept: %w", err))
	}
	packs, err := filepath.Glob(filepath.Join(tmp, "objects", "pack", "pack-*.pack"))
	if err != nil || len(packs) != 1 {
		return fmt.Errorf("object cache %s: the server's pack was not kept", c.dir)
	}
	for _, ext := range []string{".pack", ".idx"} {
		from := strings.TrimSuffix(packs[0], ".pack") + ext
		if err := os.Rename(from, filepath.Join(c.dir, "objects", "pack", filepath.Base(from))); err != nil {
			return cacheError(c.dir, err)
		}
	}
	return nil
}

// Patterns of files to drop.
const (
	allPacks = "objects/pack/pack-*"
	allTips  = "tips/*" // all claims of complete histories
)

func (c *objectCache) drop(patterns ...string) error {
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(c.dir, filepath.FromSlash(pattern)))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return cacheError(c.dir, err)
			}
		}
	}
	return nil
}

// tips returns commits whose whole history is in the cache, newest claim first.
func (c *objectCache) tips() []plumbing.Hash {
	entries, err := os.ReadDir(filepath.Join(c.dir, "tips"))
	if err != nil {
		return nil
	}
	var found []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && plumbing.IsHash(e.Name()) {
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	var ids []plumbing.Hash
	for i, tip := range found {
		if i >= maxTips {
			_ = os.Remove(filepath.Join(c.dir, "tips", tip.Name()))
		} else if id := plumbing.NewHash(tip.Name()); c.has(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *objectCache) addTips(ids []plumbing.Hash) error {
	for _, id := range ids {
		if err := cachefile.Write(filepath.Join(c.dir, "tips", id.String()), nil); err != nil {
			return cacheError(c.dir, err)
		}
	}
	return nil
}

// measurePack checks a pack's frame and sums up the inflated sizes, so that no server can make us inflate without bound.
func measurePack(r io.Reader) (objects int, size int64, err error) {
	scanner := packfile.NewScanner(r)
	_, count, err := scanner.Header()
	if err != nil {
		return 0, 0, fmt.Errorf("the server's pack cannot be read: %w", err)
	}
	if count > maxPackObjects {
		return 0, 0, fmt.Errorf("the server's pack holds %d objects, above the limit of %d", count, maxPackObjects)
	}
	for range count {
		h, err := scanner.NextObjectHeader()
		if err != nil {
			return 0, 0, fmt.Errorf("the server's pack cannot be read: %w", err)
		}
		length := h.Length
		if h.Type.IsDelta() && length <= maxPackedObject {
			head := &prefix{max: 32}
			if _, _, err := scanner.NextObject(head); err != nil {
				return 0, 0, fmt.Errorf("the server's pack cannot be read: %w", err)
			}
			length = max(length, deltaTarget(head.Bytes()))
		}
		if length < 0 || length > maxPackedObject {
			return 0, 0, fmt.Errorf("the server's pack holds an object of %d bytes, above the limit of %d", length, int64(maxPackedObject))
		}
		size += length
	}
	return int(count), size, nil
}

// deltaTarget reads the second of the two sizes that a delta begins with.
func deltaTarget(delta []byte) int64 {
	_, n := binary.Uvarint(delta)
	size, m := binary.Uvarint(delta[max(n, 0):])
	if n < 0 || m < 0 || size > maxPackedObject {
		return maxPackedObject + 1
	}
	return int64(size)
}

// failureRecorder keeps the reader's error, to distinguish it from the writer's.
type failureRecorder struct {
	r   io.Reader
	err error
}

func (f *failureRecorder) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

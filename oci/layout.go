package oci

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/wholefile"
)

// layout is an image layout (image-spec v1.1). Its index lists every manifest: once a tag under
// org.opencontainers.image.ref.name, or without. oras-go's store rewrites the index in place and from memory, so that two
// processes lose each other's tags.
type layout struct {
	dir string
	// archive has the files of a layout that is one tar file; nil for a folder.
	archive func() (*archive, error)
	// mu excludes the goroutines of this process, which share the file lock.
	mu sync.Mutex
	// manifests caches the fields of manifests that lists of referrers show.
	manifests sync.Map // digest.Digest → listing
	// known is the index as it was read or written last: with many stages, reading it again would cost more than all else here.
	known atomic.Pointer[knownIndex]

	waitingMu sync.Mutex
	waiting   []*indexChange
}

type knownIndex struct {
	raw   []byte
	index ocispec.Index
}

type listing struct {
	subject digest.Digest
	desc    ocispec.Descriptor
}

func newLayout(dir string) *layout {
	l := &layout{dir: dir}
	if strings.HasSuffix(dir, archiveSuffix) {
		l.archive = sync.OnceValues(func() (*archive, error) { return openArchive(dir) })
	}
	return l
}

// read reads a file of the layout, by its path there. The error is ErrNotFound if it does not exist.
func (l *layout) read(name string, limit int64) ([]byte, error) {
	if l.archive == nil {
		return readFile(l.path(name), limit)
	}
	a, err := l.archive()
	if err != nil {
		return nil, err
	}
	return a.read(name, limit)
}

// size returns the size of a file of the layout, see read.
func (l *layout) size(name string) (int64, error) {
	if l.archive == nil {
		info, err := os.Stat(l.path(name))
		if err != nil {
			return 0, notFound(err)
		}
		return info.Size(), nil
	}
	a, err := l.archive()
	if err != nil {
		return 0, err
	}
	return a.size(name)
}

func (l *layout) path(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

func (l *layout) resolve(_ context.Context, tagOrDigest string) (ocispec.Descriptor, error) {
	index, err := l.readIndex()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.find(index, tagOrDigest)
}

func (l *layout) find(index ocispec.Index, tagOrDigest string) (ocispec.Descriptor, error) {
	for _, d := range index.Manifests {
		if d.Digest.String() != tagOrDigest && refName(d) != tagOrDigest {
			continue
		}
		size, err := l.size(blobName(d.Digest))
		if err != nil {
			return ocispec.Descriptor{}, err
		}
		if size != d.Size {
			return ocispec.Descriptor{}, fmt.Errorf("%s has %d bytes, %d by the index", l.path(blobName(d.Digest)), size, d.Size)
		}
		return d, nil
	}
	return ocispec.Descriptor{}, ErrNotFound
}

func (l *layout) manifest(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, []byte, error) {
	desc, err := l.resolve(ctx, tagOrDigest)
	if err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	raw, err := l.read(blobName(desc.Digest), MaxManifestSize)
	return desc, raw, err
}

func (l *layout) blob(_ context.Context, desc ocispec.Descriptor) ([]byte, error) {
	return l.read(blobName(desc.Digest), desc.Size)
}

func (l *layout) hasBlob(_ context.Context, desc ocispec.Descriptor) (bool, error) {
	size, err := l.size(blobName(desc.Digest))
	if isNotFound(err) {
		return false, nil
	}
	return err == nil && size == desc.Size, err
}

// mount does nothing: a folder has no others.
func (l *layout) mount(context.Context, ocispec.Descriptor, backend) (bool, error) { return false, nil }

// forget does nothing: files are read whenever they are asked for.
func (l *layout) forget(bool, digest.Digest) {}

func (l *layout) pushBlob(ctx context.Context, desc ocispec.Descriptor, data []byte) error {
	return l.write(ctx, func() error { return l.writeBlob(desc, data) })
}

func (l *layout) pushManifest(ctx context.Context, desc ocispec.Descriptor, data []byte, tags ...string) error {
	return l.push(ctx, []packed{{desc: desc, manifest: data}}, tags)
}

// push stores manifests, and makes tags name the last one.
func (l *layout) push(ctx context.Context, manifests []packed, tags []string) error {
	for _, m := range manifests {
		if err := l.pushBlob(ctx, m.desc, m.manifest); err != nil {
			return err
		}
	}
	return l.update(ctx, func(index *ocispec.Index) error {
		for _, m := range manifests {
			if desc := plain(m.desc); !contains(index.Manifests, desc) {
				index.Manifests = append(index.Manifests, desc)
			}
		}
		for _, tag := range tags {
			setTag(index, manifests[len(manifests)-1].desc, tag)
		}
		return nil
	})
}

func (l *layout) attach(ctx context.Context, _ ocispec.Descriptor, _ bool, referrers []packed) error {
	for _, p := range referrers {
		if err := pushBlobs(ctx, l, p); err != nil {
			return err
		}
	}
	return l.push(ctx, referrers, nil)
}

func (l *layout) tag(ctx context.Context, desc ocispec.Descriptor, tags ...string) error {
	return l.update(ctx, func(index *ocispec.Index) error {
		stored, err := l.find(*index, desc.Digest.String())
		if err != nil {
			return err
		}
		for _, tag := range tags {
			setTag(index, stored, tag)
		}
		return nil
	})
}

// setTag moves tag to desc. No manifest leaves the index: the one that tag named before stays listed, without a tag.
func setTag(index *ocispec.Index, desc ocispec.Descriptor, tag string) {
	removeTag(index, tag)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
		return d.Digest == desc.Digest && refName(d) == ""
	})
	tagged := plain(desc)
	tagged.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	index.Manifests = append(index.Manifests, tagged)
}

// removeTag leaves the manifest that tag names listed.
func removeTag(index *ocispec.Index, tag string) {
	i := slices.IndexFunc(index.Manifests, func(d ocispec.Descriptor) bool { return refName(d) == tag })
	if i < 0 {
		return
	}
	named := plain(index.Manifests[i])
	index.Manifests = slices.Delete(index.Manifests, i, i+1)
	if !contains(index.Manifests, named) {
		index.Manifests = append(index.Manifests, named)
	}
}

func (l *layout) tags(_ context.Context, last string, page func([]string) (bool, error)) error {
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	var tags []string
	for _, d := range index.Manifests {
		if tag := refName(d); tag > last {
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	_, err = page(tags)
	return err
}

func (l *layout) referrers(ctx context.Context, subject ocispec.Descriptor, _ string) ([]ocispec.Descriptor, error) {
	index, err := l.readIndex()
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []ocispec.Descriptor
	for _, d := range index.Manifests {
		found, err := l.listing(ctx, d)
		if err != nil {
			return nil, err
		}
		if found.subject == subject.Digest && !contains(all, d) {
			all = append(all, found.desc)
		}
	}
	return all, tooMany(len(all))
}

func (l *layout) listing(ctx context.Context, desc ocispec.Descriptor) (listing, error) {
	if known, ok := l.manifests.Load(desc.Digest); ok {
		return known.(listing), nil //nolint:errcheck // only listings are stored
	}
	if err := ctx.Err(); err != nil {
		return listing{}, err
	}
	raw, err := l.read(blobName(desc.Digest), MaxManifestSize)
	if err != nil {
		return listing{}, fmt.Errorf("manifest %s: %w", desc.Digest, err)
	}
	found := listing{desc: plain(desc)}
	found.desc.ArtifactType, found.desc.Annotations, found.subject = referrerFields(raw)
	l.manifests.Store(desc.Digest, found)
	return found, nil
}

func refName(d ocispec.Descriptor) string { return d.Annotations[ocispec.AnnotationRefName] }

func blobName(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// readIndex returns ErrNotFound if the layout does not exist.
func (l *layout) readIndex() (ocispec.Index, error) {
	var index ocispec.Index
	name := l.path(ocispec.ImageIndexFile)
	raw, err := l.read(ocispec.ImageIndexFile, maxLayoutIndex)
	if err != nil {
		return index, err
	}
	if known := l.known.Load(); known != nil && bytes.Equal(known.raw, raw) {
		return known.copied(), nil
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		return index, fmt.Errorf("%s: %w", name, err)
	}
	for _, d := range index.Manifests {
		if err := d.Digest.Validate(); err != nil {
			return index, fmt.Errorf("%s: digest %q: %w", name, d.Digest, err)
		}
	}
	known := &knownIndex{raw, index}
	l.known.Store(known)
	return known.copied(), nil
}

// copied returns the index with a list of manifests that the caller may change.
func (k *knownIndex) copied() ocispec.Index {
	index := k.index
	index.Manifests = slices.Clone(index.Manifests)
	return index
}

// indexChange is a change of the index that waits for a writer, and what became of it.
type indexChange struct {
	make func(*ocispec.Index) error
	err  error
}

// update changes the index. Goroutines that wait for the lock have their changes made by the one that gets it, in one write.
func (l *layout) update(ctx context.Context, change func(*ocispec.Index) error) error {
	own := &indexChange{make: change}
	l.waitingMu.Lock()
	l.waiting = append(l.waiting, own)
	l.waitingMu.Unlock()
	err := l.write(ctx, func() error {
		l.waitingMu.Lock()
		changes := l.waiting
		l.waiting = nil
		l.waitingMu.Unlock()
		if len(changes) > 0 {
			l.updateIndex(changes)
		}
		return nil
	})
	if err != nil { // the lock was not taken, and nobody else is to make the change
		l.waitingMu.Lock()
		defer l.waitingMu.Unlock()
		l.waiting = slices.DeleteFunc(l.waiting, func(c *indexChange) bool { return c == own })
		return err
	}
	return own.err
}

// updateIndex makes changes and replaces the index, under the lock.
func (l *layout) updateIndex(changes []*indexChange) {
	fail := func(err error) {
		for _, c := range changes {
			c.err = cmp.Or(c.err, err)
		}
	}
	index, err := l.readIndex()
	if isNotFound(err) {
		index = emptyIndex()
	} else if err != nil {
		fail(err)
		return
	}
	for _, c := range changes {
		c.err = c.make(&index)
	}
	raw, err := json.Marshal(index)
	if err == nil {
		err = l.replace(filepath.Join(l.dir, ocispec.ImageIndexFile), raw)
	}
	if err != nil {
		fail(err)
		return
	}
	l.known.Store(&knownIndex{raw, index})
}

// write creates the layout, locks it (its file oci-layout, which is never replaced) against other writers, and runs fn.
func (l *layout) write(ctx context.Context, fn func() error) error {
	if l.archive != nil {
		return fmt.Errorf("%s is one file, which only `lockage copy` writes, and as a whole", l.dir)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	blobs := filepath.Join(l.dir, ocispec.ImageBlobsDir, digest.SHA256.String())
	if err := os.MkdirAll(blobs, 0o755); err != nil { //nolint:gosec // content for everyone, as umask allows
		return err
	}
	marker, err := os.OpenFile(filepath.Join(l.dir, ocispec.ImageLayoutFile), os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // as above
	if err != nil {
		return err
	}
	err = lockFile(ctx, marker)
	if err == nil {
		err = checkMarker(marker)
	}
	if err == nil {
		err = fn()
	}
	return errors.Join(err, marker.Close()) // closing unlocks
}

// checkMarker fills an empty oci-layout file, and refuses unknown versions.
func checkMarker(f *os.File) error {
	raw, err := io.ReadAll(io.LimitReader(f, MaxManifestSize))
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		_, err = f.WriteAt([]byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`), 0)
		return err
	}
	var got ocispec.ImageLayout
	if err := json.Unmarshal(raw, &got); err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	if got.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%s: image layout version %q is unknown, expected %q", f.Name(), got.Version, ocispec.ImageLayoutVersion)
	}
	return nil
}

func (l *layout) writeBlob(desc ocispec.Descriptor, data []byte) error {
	name := l.path(blobName(desc.Digest))
	if info, err := os.Stat(name); err == nil && info.Size() == desc.Size {
		return nil
	}
	return l.replace(name, data)
}

// replace writes a file so that readers see the old or the new one, never a part.
func (l *layout) replace(name string, data []byte) error {
	// One writer at a time, hence one name; the process number serves systems without file locks.
	temp := filepath.Join(l.dir, fmt.Sprintf(".incoming-%d", os.Getpid()))
	return wholefile.Create(name, temp, wholefile.Bytes(data))
}

// readFile returns ErrNotFound if the file does not exist.
func readFile(name string, limit int64) ([]byte, error) {
	raw, err := bounded.File(name, limit)
	return raw, notFound(err)
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrNotFound, err)
	}
	return err
}

func (l *layout) deleteManifest(ctx context.Context, d digest.Digest) error {
	return l.remove(ctx, func(index *ocispec.Index) error {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(o ocispec.Descriptor) bool { return o.Digest == d })
		return nil
	})
}

func (l *layout) deleteTag(ctx context.Context, tag string) error {
	return l.remove(ctx, func(index *ocispec.Index) error {
		removeTag(index, tag)
		return nil
	})
}

// remove changes the index of a layout that exists, and creates none.
func (l *layout) remove(ctx context.Context, change func(*ocispec.Index) error) error {
	if _, err := l.readIndex(); err != nil {
		return err
	}
	return l.update(ctx, change)
}

// delist does nothing: a manifest that left the index is not listed.
func (l *layout) delist(context.Context, digest.Digest, []digest.Digest) error { return nil }

func (l *layout) outlive(context.Context, ocispec.Descriptor) (bool, error) { return true, nil }

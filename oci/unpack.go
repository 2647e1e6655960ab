package oci

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/memfs"
)

// Unpack reads a layer that desc describes and whose tar has the digest diffID. It trusts nothing in the layer: everything
// that [Pack] would not write for its files, and sizes beyond the limits of this package, are errors. It reads at most
// [MaxTarSize] of a layer that expands endlessly.
func Unpack(layer io.Reader, desc ocispec.Descriptor, diffID digest.Digest) (*Tree, error) {
	tree, err := unpack(layer, desc, diffID, bounds{file: MaxFileSize, tar: MaxTarSize})
	if err != nil {
		return nil, fmt.Errorf("unpack layer %s: %w", desc.Digest, err)
	}
	return tree, nil
}

// bounds are sizes in bytes; tests lower them.
type bounds struct{ file, tar int64 }

func unpack(layer io.Reader, desc ocispec.Descriptor, diffID digest.Digest, limit bounds) (*Tree, error) {
	if desc.MediaType != ocispec.MediaTypeImageLayerGzip {
		return nil, fmt.Errorf("media type is %q, not %q", desc.MediaType, ocispec.MediaTypeImageLayerGzip)
	}
	if desc.Size > MaxBlobSize {
		return nil, fmt.Errorf("larger than %d bytes", MaxBlobSize)
	}
	for _, d := range []digest.Digest{desc.Digest, diffID} {
		if err := d.Validate(); err != nil || d.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("%q is not a sha256 digest", d)
		}
	}

	compressed := &meter{r: layer, left: desc.Size, hash: sha256.New()}
	buffered := bufio.NewReader(compressed)
	zr, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	zr.Multistream(false)
	plain := &meter{r: zr, left: limit.tar, hash: sha256.New()}
	tree, err := readTar(plain, limit)
	if err != nil {
		return nil, err
	}
	// What follows the end of the tar, and the checksum of the stream.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return nil, err
	}
	switch _, err := buffered.ReadByte(); {
	case err == nil:
		return nil, errors.New("data follows the compressed stream")
	case !errors.Is(err, io.EOF):
		return nil, err
	}

	if compressed.left != 0 {
		return nil, fmt.Errorf("%d bytes are missing", compressed.left)
	}
	if got := digest.NewDigest(digest.SHA256, compressed.hash); got != desc.Digest {
		return nil, fmt.Errorf("content has digest %s", got)
	}
	if got := digest.NewDigest(digest.SHA256, plain.hash); got != diffID {
		return nil, fmt.Errorf("its tar has digest %s, expected %s", got, diffID)
	}
	// Both tars are equal: neither modes, owners, times nor bytes between entries carry anything.
	canonical, err := ContentDigest(tree)
	if err != nil {
		return nil, err
	}
	if canonical != diffID {
		return nil, errors.New("its tar is not in the form that lockage writes; was the artifact packed by another tool?")
	}
	tree.digest = diffID
	return tree, nil
}

func readTar(r io.Reader, limit bounds) (*Tree, error) {
	tree := &Tree{nodes: map[string]*node{".": {Info: info(".", true, 0)}}}
	var total int64
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			for _, n := range tree.nodes { // in the order of fs.ReadDirFS
				slices.SortFunc(n.children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
			}
			return tree, nil
		}
		if err != nil {
			return nil, err
		}
		if err := checkPath(hdr.Name); err != nil {
			return nil, err
		}
		isDir := strings.HasSuffix(hdr.Name, "/")
		switch {
		case hdr.Typeflag == tar.TypeDir && isDir, hdr.Typeflag == tar.TypeReg && !isDir:
		default:
			return nil, fmt.Errorf("%q is neither a regular file nor a directory (type %q)", hdr.Name, hdr.Typeflag)
		}
		if hdr.Size > limit.file {
			return nil, fmt.Errorf("%q is larger than %d bytes", hdr.Name, limit.file)
		}
		// Sparse files count with what they expand to.
		if total += hdr.Size; total > limit.tar {
			return nil, fmt.Errorf("the files sum up to more than %d bytes", limit.tar)
		}
		data, err := bounded.ReadSized(tr, hdr.Size, limit.file) // the size is only a claim
		if err != nil {
			return nil, fmt.Errorf("%q: %w", hdr.Name, err)
		}
		if err := tree.add(hdr.Name, data); err != nil {
			return nil, err
		}
	}
}

// meter hashes what it reads and fails beyond a number of bytes.
type meter struct {
	r    io.Reader
	left int64
	hash hash.Hash
}

func (m *meter) Read(p []byte) (int, error) {
	// One byte more than allowed distinguishes «too long» from «ends here».
	if int64(len(p)) > m.left+1 {
		p = p[:m.left+1]
	}
	n, err := m.r.Read(p)
	if int64(n) > m.left {
		return 0, errors.New("longer than allowed")
	}
	m.left -= int64(n)
	m.hash.Write(p[:n])
	return n, err
}

// Tree is the verified files of a layer, in memory. Only [Unpack] makes one. It is an [fs.FS], and safe for concurrent use.
type Tree struct {
	nodes  map[string]*node
	digest digest.Digest
}

var (
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
)

// ContentDigest returns the digest by which the tree was verified, without computing it again.
func (t *Tree) ContentDigest() digest.Digest { return t.digest }

// Open implements [fs.FS].
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return memfs.OpenFolder(n.Info, n.children), nil
	}
	return memfs.OpenFile(n.Info, n.data), nil
}

// ReadFile implements [fs.ReadFileFS].
func (t *Tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: memfs.ErrIsFolder}
	}
	return slices.Clone(n.data), nil
}

// ReadDir implements [fs.ReadDirFS].
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("is not a directory")}
	}
	return slices.Clone(n.children), nil
}

// Stat implements [fs.StatFS].
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n.Info, nil
}

func (t *Tree) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, ok := t.nodes[name]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return n, nil
}

func info(base string, dir bool, size int) memfs.Info {
	i := memfs.Info{Base: base, Bytes: int64(size), Bits: 0o644, Modified: time.Unix(0, 0).UTC()}
	if dir {
		i.Bits = fs.ModeDir | 0o755
	}
	return i
}

// add puts one entry of a tar into the tree, and its missing parents.
func (t *Tree) add(name string, data []byte) error {
	p := strings.TrimSuffix(name, "/")
	if _, ok := t.nodes[p]; ok {
		return fmt.Errorf("path %q occurs twice", name)
	}
	parent, ok := t.nodes[path.Dir(p)]
	if !ok {
		if err := t.add(path.Dir(p)+"/", nil); err != nil {
			return err
		}
		parent = t.nodes[path.Dir(p)]
	}
	if !parent.IsDir() {
		return fmt.Errorf("path %q lies below a file", name)
	}
	if len(t.nodes) > MaxFiles {
		return fmt.Errorf("more than %d files and directories", MaxFiles)
	}
	n := &node{Info: info(path.Base(p), p != name, len(data)), data: data}
	t.nodes[p] = n
	parent.children = append(parent.children, n.Info)
	return nil
}

// node is a file or directory.
type node struct {
	memfs.Info
	data     []byte
	children []fs.DirEntry
}

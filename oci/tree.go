package oci

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// Tree is the verified files of a layer, in memory. Only [Unpack] makes one. It is
// an [fs.FS], and safe for concurrent use.
type Tree struct {
	nodes  map[string]*node
	digest digest.Digest
}

var (
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
)

// ContentDigest returns the digest by which the tree was verified, without
// computing it again.
func (t *Tree) ContentDigest() digest.Digest { return t.digest }

// Open implements [fs.FS].
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return &openDir{node: n, rest: n.children}, nil
	}
	return &openFile{Reader: bytes.NewReader(n.data), node: n}, nil
}

// ReadFile implements [fs.ReadFileFS].
func (t *Tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	return slices.Clone(n.data), nil
}

// ReadDir implements [fs.ReadDirFS].
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	return slices.Clone(n.children), nil
}

// Stat implements [fs.StatFS].
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	return t.find("stat", name)
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

func newTree() *Tree {
	return &Tree{nodes: map[string]*node{".": {name: ".", dir: true}}}
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
	if !parent.dir {
		return fmt.Errorf("path %q lies below a file", name)
	}
	if len(t.nodes) > MaxFiles {
		return fmt.Errorf("more than %d files and directories", MaxFiles)
	}
	n := &node{name: path.Base(p), data: data, dir: p != name}
	t.nodes[p] = n
	parent.children = append(parent.children, n)
	return nil
}

// seal orders the directories, as fs.ReadDirFS wants them.
func (t *Tree) seal() {
	for _, n := range t.nodes {
		slices.SortFunc(n.children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
}

type treeError string

func (e treeError) Error() string { return string(e) }

const (
	errIsDir  treeError = "is a directory"
	errNotDir treeError = "is not a directory"
)

// node is a file or directory, its own FileInfo and DirEntry.
type node struct {
	name     string
	data     []byte
	dir      bool
	children []fs.DirEntry
}

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return int64(len(n.data)) }
func (n *node) ModTime() time.Time         { return time.Unix(0, 0).UTC() }
func (n *node) IsDir() bool                { return n.dir }
func (n *node) Sys() any                   { return nil }
func (n *node) Type() fs.FileMode          { return n.Mode().Type() }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) Mode() fs.FileMode {
	if n.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

type openFile struct {
	*bytes.Reader
	node *node
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	node *node
	rest []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.node.name, Err: errIsDir}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	count := len(d.rest)
	if n > 0 {
		if count == 0 {
			return nil, io.EOF
		}
		count = min(n, count)
	}
	list := slices.Clone(d.rest[:count])
	d.rest = d.rest[count:]
	return list, nil
}

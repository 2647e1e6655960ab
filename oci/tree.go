package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/memfs"
)

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

func newTree() *Tree {
	return &Tree{nodes: map[string]*node{".": {Info: info(".", true, 0)}}}
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

// seal orders the directories, as fs.ReadDirFS wants them.
func (t *Tree) seal() {
	for _, n := range t.nodes {
		slices.SortFunc(n.children, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
}

// node is a file or directory.
type node struct {
	memfs.Info
	data     []byte
	children []fs.DirEntry
}

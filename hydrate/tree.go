package hydrate

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"
)

// Tree is the rendered content of one stage: a flat folder of YAML files, ordered bytewise by name, immutable. It is an
// [fs.FS]; every file has mode 0644 and no time.
type Tree struct {
	files   []File // ordered by Path
	objects int
}

var (
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
)

func newTree(files []File, objects int) *Tree {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return &Tree{files: files, objects: objects}
}

// Objects returns the number of objects in the tree.
func (t *Tree) Objects() int { return t.objects }

// Files yields name and content of every file, in order. The content is shared: callers must not change it.
func (t *Tree) Files() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, f := range t.files {
			if !yield(f.Path, f.Data) {
				return
			}
		}
	}
}

// Open implements [fs.FS].
func (t *Tree) Open(name string) (fs.File, error) {
	if name == "." {
		return &openDir{tree: t}, nil
	}
	f, err := t.lookup("open", name)
	if err != nil {
		return nil, err
	}
	return &openFile{Reader: bytes.NewReader(f.Data), info: info{f}}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		if _, err := t.lookup("readdir", name); err != nil {
			return nil, err
		}
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	entries := make([]fs.DirEntry, len(t.files))
	for i, f := range t.files {
		entries[i] = fs.FileInfoToDirEntry(info{f})
	}
	return entries, nil
}

// ReadFile implements [fs.ReadFileFS].
func (t *Tree) ReadFile(name string) ([]byte, error) {
	if name == "." {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	f, err := t.lookup("read", name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(f.Data), nil
}

// Stat implements [fs.StatFS].
func (t *Tree) Stat(name string) (fs.FileInfo, error) {
	if name == "." {
		return dirInfo{}, nil
	}
	f, err := t.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return info{f}, nil
}

func (t *Tree) lookup(op, name string) (File, error) {
	if !fs.ValidPath(name) {
		return File{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	i, found := slices.BinarySearchFunc(t.files, name, func(f File, name string) int { return strings.Compare(f.Path, name) })
	if !found {
		return File{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return t.files[i], nil
}

type info struct{ file File }

func (i info) Name() string       { return i.file.Path }
func (i info) Size() int64        { return int64(len(i.file.Data)) }
func (i info) Mode() fs.FileMode  { return 0o644 }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return false }
func (i info) Sys() any           { return nil }

type dirInfo struct{}

func (dirInfo) Name() string       { return "." }
func (dirInfo) Size() int64        { return 0 }
func (dirInfo) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (dirInfo) ModTime() time.Time { return time.Time{} }
func (dirInfo) IsDir() bool        { return true }
func (dirInfo) Sys() any           { return nil }

type openFile struct {
	*bytes.Reader
	info info
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	tree *Tree
	next int
}

func (d *openDir) Stat() (fs.FileInfo, error) { return dirInfo{}, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: errors.New("is a directory")}
}

// ReadDir implements [fs.ReadDirFile].
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	entries, err := d.tree.ReadDir(".")
	if err != nil {
		return nil, err
	}
	entries = entries[d.next:]
	if n > 0 {
		if len(entries) == 0 {
			return nil, io.EOF
		}
		entries = entries[:min(n, len(entries))]
	}
	d.next += len(entries)
	return entries, nil
}

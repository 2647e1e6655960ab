package hydrate

import (
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/memfs"
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
		entries, err := t.ReadDir(name)
		return memfs.OpenFolder(root, entries), err
	}
	f, err := t.lookup("open", name)
	if err != nil {
		return nil, err
	}
	return memfs.OpenFile(info(f), f.Data), nil
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
		entries[i] = info(f)
	}
	return entries, nil
}

// ReadFile implements [fs.ReadFileFS].
func (t *Tree) ReadFile(name string) ([]byte, error) {
	if name == "." {
		return nil, &fs.PathError{Op: "read", Path: name, Err: memfs.ErrIsFolder}
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
		return root, nil
	}
	f, err := t.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return info(f), nil
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

var root = memfs.Info{Base: ".", Bits: fs.ModeDir | 0o755}

func info(f File) memfs.Info {
	return memfs.Info{Base: f.Path, Bytes: int64(len(f.Data)), Bits: 0o644}
}

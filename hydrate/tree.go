package hydrate

import (
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/memfs"
)

// Tree is the rendered content of one stage: a flat [fs.FS] of YAML files, ordered bytewise by name, with mode 0644 and no time.
type Tree struct {
	files []File // ordered by Path
}

func newTree(files []File) *Tree {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return &Tree{files}
}

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
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		entries := make([]fs.DirEntry, len(t.files))
		for i, f := range t.files {
			entries[i] = info(f)
		}
		return memfs.OpenFolder(memfs.Info{Base: ".", Bits: fs.ModeDir | 0o755}, entries), nil
	}
	i, found := slices.BinarySearchFunc(t.files, name, func(f File, name string) int { return strings.Compare(f.Path, name) })
	if !found {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memfs.OpenFile(info(t.files[i]), t.files[i].Data), nil
}

func info(f File) memfs.Info {
	return memfs.Info{Base: f.Path, Bytes: int64(len(f.Data)), Bits: 0o644}
}

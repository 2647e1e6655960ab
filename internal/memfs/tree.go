package memfs

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Tree is an [fs.FS] of files in memory and the folders on their way.
type Tree struct {
	files   map[string][]byte
	folders map[string][]fs.DirEntry // sorted
}

// NewTree returns the tree of files by path, all with mode 0644. The error says which paths cannot be in one tree.
func NewTree(files map[string][]byte) (*Tree, error) {
	t := &Tree{files, map[string][]fs.DirEntry{".": nil}}
	for name, data := range files {
		if !fs.ValidPath(name) || name == "." {
			return nil, fmt.Errorf("%q is not a path of a file", name)
		}
		t.add(name, Info{Base: path.Base(name), Bytes: int64(len(data)), Bits: 0o644})
	}
	for name, entries := range t.folders {
		if _, is := files[name]; is {
			return nil, fmt.Errorf("%q is both a file and a folder", name)
		}
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return t, nil
}

// add adds an entry to its folder, and the folder if it is new.
func (t *Tree) add(name string, info Info) {
	dir := path.Dir(name)
	if _, known := t.folders[dir]; !known {
		t.folders[dir] = nil
		t.add(dir, Info{Base: path.Base(dir), Bits: fs.ModeDir | 0o755})
	}
	t.folders[dir] = append(t.folders[dir], info)
}

// Open implements [fs.FS].
func (t *Tree) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if data, ok := t.files[name]; ok {
		return OpenFile(Info{Base: path.Base(name), Bytes: int64(len(data)), Bits: 0o644}, data), nil
	}
	if entries, ok := t.folders[name]; ok {
		return OpenFolder(Info{Base: path.Base(name), Bits: fs.ModeDir | 0o755}, entries), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

package memfs

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

// oneFolder has the file a of three bytes.
type oneFolder struct{}

var (
	root = Info{Base: ".", Bits: fs.ModeDir | 0o755}
	file = Info{Base: "a", Bytes: 3, Bits: 0o644}
)

func (oneFolder) Open(name string) (fs.File, error) {
	switch {
	case name == ".":
		return OpenFolder(root, []fs.DirEntry{file}), nil
	case name == "a":
		return OpenFile(file, []byte("abc")), nil
	case !fs.ValidPath(name):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func TestFS(t *testing.T) {
	t.Parallel()
	if err := fstest.TestFS(oneFolder{}, "a"); err != nil {
		t.Error(err)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	entries := []fs.DirEntry{file}
	folder := OpenFolder(root, entries)
	if _, err := folder.Read(nil); !errors.Is(err, ErrIsFolder) {
		t.Error(err)
	}
	list, err := folder.ReadDir(2)
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if list[0] = nil; entries[0] == nil {
		t.Error("the list is shared")
	}
	if _, err := folder.ReadDir(2); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if list, err := folder.ReadDir(-1); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

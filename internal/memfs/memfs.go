// Package memfs opens files and folders whose content is in memory, for implementations of io/fs.
package memfs

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"time"
)

// ErrIsFolder is the cause of the error of reading a folder as a file. It is fs.ErrInvalid, too.
var ErrIsFolder error = folderError{}

type folderError struct{}

func (folderError) Error() string        { return "is a directory" }
func (folderError) Is(target error) bool { return target == fs.ErrInvalid }

// Info describes a file or folder; it is its own directory entry. Its time is the zero time if Modified is.
type Info struct {
	Base     string // last element of the path
	Bytes    int64
	Bits     fs.FileMode
	Modified time.Time
}

// Name implements [fs.FileInfo] and [fs.DirEntry].
func (i Info) Name() string { return i.Base }

// Size implements [fs.FileInfo].
func (i Info) Size() int64 { return i.Bytes }

// Mode implements [fs.FileInfo].
func (i Info) Mode() fs.FileMode { return i.Bits }

// ModTime implements [fs.FileInfo].
func (i Info) ModTime() time.Time { return i.Modified }

// IsDir implements [fs.FileInfo] and [fs.DirEntry].
func (i Info) IsDir() bool { return i.Bits.IsDir() }

// Sys implements [fs.FileInfo].
func (i Info) Sys() any { return nil }

// Type implements [fs.DirEntry].
func (i Info) Type() fs.FileMode { return i.Bits.Type() }

// Info implements [fs.DirEntry].
func (i Info) Info() (fs.FileInfo, error) { return i, nil }

// OpenFile returns an open file.
func OpenFile(info fs.FileInfo, data []byte) fs.File {
	return &openFile{bytes.NewReader(data), info}
}

type openFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// OpenFolder returns an open folder with sorted entries, which it does not change.
func OpenFolder(info fs.FileInfo, entries []fs.DirEntry) fs.ReadDirFile {
	return &openFolder{info, entries}
}

type openFolder struct {
	info fs.FileInfo
	rest []fs.DirEntry
}

func (f *openFolder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFolder) Close() error               { return nil }
func (f *openFolder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.Name(), Err: ErrIsFolder}
}

func (f *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.rest)
	} else if len(f.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.rest))
	list := slices.Clone(f.rest[:n])
	f.rest = f.rest[n:]
	return list, nil
}

package git

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Read is a name that was looked for in a commit's tree, and what it led to: nothing, if neither ID nor Folder is set.
type Read struct {
	Name   string // from the commit's root, as it was looked for
	Path   string // of what it led to, without symbolic links
	ID     Hash   // of the file; of a folder, if it was listed
	Folder bool
}

// Reads collects what is looked for in a commit's tree. The zero Reads is empty.
type Reads struct {
	mu    sync.Mutex
	found map[string]Read
}

// List returns the reads, ordered by name.
func (r *Reads) List() []Read {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.found), func(a, b Read) int { return strings.Compare(a.Name, b.Name) })
}

func (r *Reads) add(read Read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		r.found = map[string]Read{}
	}
	if read.ID == "" && r.found[read.Name].ID != "" { // a folder that was listed before
		return
	}
	r.found[read.Name] = read
}

// Recording returns the file system, which adds what is looked for in it to reads.
func (f *FS) Recording(reads *Reads) *FS {
	recording := *f
	recording.reads = reads
	return &recording
}

// Find looks for a name. Nothing there is not an error; a link that leads out of the tree is one. A folder has an id if it is
// listed.
func (f *FS) Find(name string, listed bool) (Read, error) {
	at, err := f.snap.lookup(f.ctx, "find", f.dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
		at = resolved{}
	}
	return newRead(path.Join(f.dir, name), at, listed), err
}

func newRead(name string, at resolved, listed bool) Read {
	read := Read{Name: name, Path: at.path, Folder: at.mode == filemode.Dir}
	if at.path != "" && (!read.Folder || listed) {
		read.ID = hashOf(at.id)
	}
	return read
}

// record notes what an operation found.
func (f *FS) record(op, name string, at resolved, err error) {
	switch {
	case f.reads == nil:
	case err == nil:
		f.reads.add(newRead(path.Join(f.dir, name), at, op == "readdir"))
	case errors.Is(err, fs.ErrNotExist):
		f.reads.add(newRead(path.Join(f.dir, name), resolved{}, false))
	}
}

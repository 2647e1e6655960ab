package git

import (
	"context"
	"io/fs"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/lockage/lockage/internal/memfs"
)

// FS is a commit's tree as a file system: fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.SubFS.
//
// Symbolic links are followed as long as they stay in the commit's tree, also out of the folder that Sub chose; ReadDir
// shows what they lead to, so that fs.WalkDir goes through them. Any other link is shown as a link, and opening it is an
// error, like opening a submodule: fs.ErrInvalid, unless reading failed. Files have modes 0644 and 0755, folders 0755, and no times.
type FS struct {
	ctx  context.Context //nolint:containedctx // io/fs has no place for one
	snap *Snapshot
	dir  string

	reads *Reads // nil to record nothing
	whole bool   // files of Git LFS instead of the pointers to them
}

// FS returns the whole tree. Reading fetches absent objects, with ctx.
func (s *Snapshot) FS(ctx context.Context) *FS {
	return &FS{ctx: ctx, snap: s, dir: "."}
}

// Sub returns the file system below dir, which has to be a folder.
func (f *FS) Sub(dir string) (fs.FS, error) {
	at, err := f.resolve("sub", dir)
	if err != nil {
		return nil, err
	}
	if at.mode != filemode.Dir {
		return nil, pathError("sub", dir, errNotFolder)
	}
	sub := *f
	sub.dir = at.path
	return &sub, nil
}

var errNotFolder = invalidf("is a file, not a folder")

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (f *FS) resolve(op, name string) (resolved, error) {
	at, err := f.snap.lookup(f.ctx, op, f.dir, name)
	f.record(op, name, at, err)
	return at, err
}

// Open opens a file or a folder.
func (f *FS) Open(name string) (fs.File, error) {
	at, err := f.resolve("open", name)
	if err != nil {
		return nil, err
	}
	if at.mode == filemode.Dir {
		f.record("readdir", name, at, nil)
		entries, err := f.list(name, at)
		if err != nil {
			return nil, err
		}
		return memfs.OpenFolder(infoOf(path.Base(name), at.entry, 0), entries), nil
	}
	data, err := f.content("open", name, at)
	if err != nil {
		return nil, err
	}
	return memfs.OpenFile(infoOf(path.Base(name), at.entry, len(data)), data), nil
}

// ReadFile returns a file's content.
func (f *FS) ReadFile(name string) ([]byte, error) {
	at, err := f.resolve("read", name)
	if err != nil {
		return nil, err
	}
	data, err := f.content("read", name, at)
	return slices.Clone(data), err
}

func (f *FS) content(op, name string, at resolved) ([]byte, error) {
	if at.mode == filemode.Dir {
		return nil, pathError(op, name, memfs.ErrIsFolder)
	}
	data, ok := f.snap.files.Get(at.id)
	if !ok {
		var err error
		if data, err = f.snap.object(f.ctx, at.id, plumbing.BlobObject); err != nil {
			return nil, pathError(op, name, err)
		}
		data = f.snap.files.Put(at.id, data, len(data))
	}
	if !f.whole {
		return data, nil
	}
	data, err := f.large(at.path, data)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return data, nil
}

// Stat describes the file or folder that name leads to.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	at, err := f.resolve("stat", name)
	if err != nil {
		return nil, err
	}
	size := 0
	if at.mode != filemode.Dir {
		data, err := f.content("stat", name, at)
		if err != nil {
			return nil, err
		}
		size = len(data)
	}
	return infoOf(path.Base(name), at.entry, size), nil
}

// RealPath returns the path that name leads to, from the commit's root and without symbolic links.
func (f *FS) RealPath(name string) (string, error) {
	at, err := f.resolve("realpath", name)
	if err != nil {
		return "", err
	}
	return at.path, nil
}

// ReadDir lists a folder, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := f.resolve("readdir", name)
	if err != nil {
		return nil, err
	}
	return f.list(name, at)
}

func (f *FS) list(name string, at resolved) ([]fs.DirEntry, error) {
	if at.mode != filemode.Dir {
		return nil, pathError("readdir", name, errNotFolder)
	}
	t, err := f.snap.tree(f.ctx, at.id)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	if t.bad != "" {
		return nil, pathError("readdir", name, invalidf("it has an entry named %q, which no checkout may contain", t.bad))
	}
	if err := f.snap.fetchLinks(f.ctx, t); err != nil {
		return nil, pathError("readdir", name, err)
	}
	entries := make([]fs.DirEntry, 0, len(t.entries))
	for _, e := range t.entries {
		d := &dirEntry{fs: f, name: path.Join(name, e.name), entry: e}
		if e.mode == filemode.Symlink {
			// By its full name: a circle shows only on the path that was taken.
			if target, err := f.snap.lookup(f.ctx, "readdir", f.dir, d.name); err == nil {
				d.entry.mode, d.entry.id = target.mode, target.id
			} else if f.ctx.Err() != nil {
				return nil, err
			}
		}
		entries = append(entries, d)
	}
	return entries, nil
}

// dirEntry reads a file's size on demand.
type dirEntry struct {
	fs    *FS
	name  string
	entry entry
}

func (d *dirEntry) Name() string      { return path.Base(d.name) }
func (d *dirEntry) IsDir() bool       { return d.entry.mode == filemode.Dir }
func (d *dirEntry) Type() fs.FileMode { return fileMode(d.entry.mode).Type() }
func (d *dirEntry) String() string    { return fs.FormatDirEntry(d) }

// Info describes the entry as ReadDir shows it.
func (d *dirEntry) Info() (fs.FileInfo, error) {
	switch d.entry.mode {
	case filemode.Regular, filemode.Executable:
		return d.fs.Stat(d.name)
	default:
		return infoOf(d.Name(), d.entry, 0), nil
	}
}

func infoOf(name string, e entry, size int) memfs.Info {
	return memfs.Info{Base: name, Bytes: int64(size), Bits: fileMode(e.mode)}
}

func fileMode(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Executable:
		return 0o755
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	default:
		return 0o644
	}
}

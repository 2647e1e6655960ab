package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Differing returns the wanted files that are others in now, or not there any more, and fetches what is absent of them at once. Only
// entries are compared: it goes through no symbolic link and no submodule, and passes over what no checkout may contain.
func (f *FS) Differing(now *FS, wanted func(name string) bool) ([]string, error) {
	was, err := f.resolve("differing", ".")
	if err != nil {
		return nil, err
	}
	is, err := now.resolve("differing", ".")
	if err != nil {
		return nil, err
	}
	d := differing{before: f, now: now, wanted: wanted}
	if err := d.folder(".", was.id, is.id); err != nil {
		return nil, err
	}
	if len(d.absent) > 0 {
		err = f.snap.from.fetch(f.ctx, want{ids: d.absent, commit: f.snap.commit.Hash.id()})
	}
	return d.names, err
}

// differing collects files.
type differing struct {
	before, now *FS
	wanted      func(name string) bool

	seen   int // entries
	names  []string
	absent []plumbing.Hash
}

// folder compares a folder with what is there now: plumbing.ZeroHash for no folder.
func (d *differing) folder(dir string, was, is plumbing.Hash) error {
	if was == is {
		return nil
	}
	before, err := d.before.entries(was)
	if err != nil {
		return pathError("differing", dir, err)
	}
	now, err := d.now.entries(is)
	if err != nil {
		return pathError("differing", dir, err)
	}
	for _, e := range before.entries {
		if d.seen++; d.seen > maxPrefetch {
			return fmt.Errorf("more than %d files and folders differ", maxPrefetch)
		}
		other, ok := now.find(e.name)
		if !ok || fileMode(other.mode).Type() != fileMode(e.mode).Type() {
			other = entry{}
		}
		name := path.Join(dir, e.name)
		switch {
		case !goodName(e.name):
		case e.mode == filemode.Dir:
			if err := d.folder(name, e.id, other.id); err != nil {
				return err
			}
		case fileMode(e.mode).IsRegular() && e.id != other.id && d.wanted(name):
			d.names = append(d.names, name)
			if !d.before.snap.from.has(d.before.ctx, e.id) {
				d.absent = append(d.absent, e.id)
			}
		}
	}
	return nil
}

// entries reads a folder: an empty one if it is none that can be checked out.
func (f *FS) entries(id plumbing.Hash) (*tree, error) {
	if id == plumbing.ZeroHash {
		return &tree{}, nil
	}
	t, err := f.snap.tree(f.ctx, id)
	if errors.Is(err, fs.ErrInvalid) {
		return &tree{}, nil
	}
	return t, err
}

// invalidError is about what a commit holds, not about reading it: fs.ErrInvalid.
type invalidError struct{ error }

func (invalidError) Is(target error) bool { return target == fs.ErrInvalid }
func (e invalidError) Unwrap() error      { return e.error }

func invalidf(format string, args ...any) error {
	return invalidError{fmt.Errorf(format, args...)}
}

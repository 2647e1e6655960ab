package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeDir writes the files of a tree to a folder that is new or empty. They are written beside it first and put in
// place by one rename: the folder has all of them or none.
func writeDir(dir string, files fs.FS) (err error) {
	dir = filepath.Clean(dir)
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("folder %s is not empty; name another one, or remove it", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // manifests are public
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".lockage-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(tmp)
		}
	}()
	if err := os.CopyFS(tmp, files); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil { //nolint:gosec // the same
		return err
	}
	// rename(2) replaces an empty folder.
	return os.Rename(tmp, dir)
}

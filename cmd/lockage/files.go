package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkEmpty refuses a folder that is neither new nor empty.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && len(entries) > 0:
		return fmt.Errorf("folder %s is not empty; name another one, or remove it", dir)
	}
	return err
}

// writeDir writes the files of a tree to a folder that is new or empty. They are written beside it first and put in
// place by one rename: the folder has all of them or none.
func writeDir(dir string, files fs.FS) error {
	dir = filepath.Clean(dir)
	if err := checkEmpty(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // manifests are public
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".lockage-")
	if err != nil {
		return err
	}
	err = os.CopyFS(tmp, files)
	if err == nil {
		err = os.Chmod(tmp, 0o755) //nolint:gosec // the same
	}
	if err == nil {
		err = os.Rename(tmp, dir) // replaces an empty folder
	}
	if err != nil {
		_ = os.RemoveAll(tmp)
	}
	return err
}

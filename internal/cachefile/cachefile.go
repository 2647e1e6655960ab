// Package cachefile writes the files of caches that several processes share.
package cachefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/lockage/lockage/internal/wholefile"
)

// Write replaces a file in one step: readers see the old or the new content. It makes the folder, for this user only.
func Write(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	return wholefile.Finish(f, name, wholefile.Bytes(data))
}

// Explain names the cache in an error of its files, and the next step if the disk is full. It returns nil for nil.
func Explain(cache string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%s: %w: free some space, or choose another cache folder", cache, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", cache, err)
	}
	return nil
}

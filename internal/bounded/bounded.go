// Package bounded reads input whole, up to a limit.
package bounded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrTooLarge is returned for input above its limit.
var ErrTooLarge = errors.New("larger than the limit")

// Read reads r to its end. It fails with [ErrTooLarge] after limit bytes.
func Read(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	return data, nil
}

// ReadFile reads a file of files by Read. Errors name it.
func ReadFile(files fs.FS, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	return file(f, err, name, limit)
}

// File reads a file of this machine by Read. Errors name it.
func File(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	return file(f, err, name, limit)
}

func file(f io.ReadCloser, err error, name string, limit int64) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := Read(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

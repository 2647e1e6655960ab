// Package bounded reads input whole, up to a limit.
package bounded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrTooLarge is returned for input above its limit.
var ErrTooLarge = errors.New("larger than the limit")

// maxClaimed bounds what is allocated for a size that input only claims to have.
const maxClaimed = 1 << 20

// Read reads r to its end. It fails with [ErrTooLarge] after limit bytes.
func Read(r io.Reader, limit int64) ([]byte, error) { return ReadSized(r, 0, limit) }

// ReadSized is Read for input that claims a size, so that reading it moves it less often.
func ReadSized(r io.Reader, claimed, limit int64) ([]byte, error) {
	room := min(max(claimed, 0), limit, maxClaimed) + bytes.MinRead
	buf := bytes.NewBuffer(make([]byte, 0, room))
	n, err := buf.ReadFrom(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	return buf.Bytes(), nil
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

func file(f fs.File, err error, name string, limit int64) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	claimed := int64(0)
	if info, err := f.Stat(); err == nil {
		claimed = info.Size()
	}
	data, err := ReadSized(f, claimed, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

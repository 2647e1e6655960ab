// Package wholefile writes files that get their names once they are complete: readers see the old content or the new, never a part.
package wholefile

import (
	"errors"
	"os"
)

// Create writes a file for everyone, as umask allows. It has the name of the temporary file, on the same file system, until it is complete.
func Create(name, temporary string, fill func(*os.File) error) error {
	f, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // content for everyone
	if err != nil {
		return err
	}
	return Finish(f, name, fill)
}

// Finish fills and closes a temporary file, which gets its name then. With an error, it is removed.
func Finish(f *os.File, name string, fill func(*os.File) error) error {
	err := errors.Join(fill(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// Bytes fills a file with data.
func Bytes(data []byte) func(*os.File) error {
	return func(f *os.File) error {
		_, err := f.Write(data)
		return err
	}
}

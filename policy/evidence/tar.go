package evidence

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/lockage/lockage/policy/rego"
)

const (
	// maxArchive bounds what an OPA bundle unpacks to, files that are not wanted included.
	maxArchive        = 4 * rego.MaxBytes
	maxArchiveEntries = 10 * rego.MaxFiles
)

// unpack reads an OPA bundle: a gzipped tar. Folders, and files that are neither modules nor data, are passed over.
func (b *bundle) unpack(archive []byte) error {
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("%w: not gzip: %w", rego.ErrUnusable, err)
	}
	return b.untar(zip)
}

// untar reads an archive that is no longer compressed.
func (b *bundle) untar(archive io.Reader) error {
	limited := &io.LimitedReader{R: archive, N: maxArchive}
	reader := tar.NewReader(limited)
	for range maxArchiveEntries {
		header, err := reader.Next()
		switch {
		case limited.N <= 0: // also where the bound falls between two files, which looks like the end
			return fmt.Errorf("%w: it unpacks to more than %d bytes", rego.ErrUnusable, maxArchive)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: not a tar: %w", rego.ErrUnusable, err)
		}
		if !rego.Wanted(header.Name) || header.Typeflag == tar.TypeDir {
			continue
		}
		if header.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: %.100q is not a regular file", rego.ErrUnusable, header.Name)
		}
		name, err := inside(header.Name)
		if err != nil {
			return err
		}
		data, err := rego.ReadAll(reader, b.Room())
		if err != nil && !errors.Is(err, rego.ErrUnusable) {
			err = fmt.Errorf("%w: not a tar: %w", rego.ErrUnusable, err)
		}
		if err != nil {
			return fmt.Errorf("%.100q: %w", header.Name, err)
		}
		if err := b.Add(name, data); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: more than %d entries", rego.ErrUnusable, maxArchiveEntries)
}

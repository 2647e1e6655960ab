package oci

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/wholefile"
)

const (
	// archiveSuffix makes the name of an image layout that of one tar file.
	archiveSuffix = ".tar"
	// maxArchiveFiles bounds the files of an archive.
	maxArchiveFiles = 500_000
)

// archive is an image layout in a tar file, not compressed: files are read where they are.
type archive struct {
	name  string
	files map[string]span // by their clean paths
}

type span struct{ offset, size int64 }

// openArchive reads the table of an archive. The error is ErrNotFound if the file does not exist.
func openArchive(name string) (*archive, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, notFound(err)
	}
	defer f.Close()
	a := &archive{name: name, files: map[string]span{}}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			// Between two entries the reader takes the end of a file for that of the archive. The index is the last one.
			for _, needed := range []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile} {
				if _, ok := a.files[needed]; !ok {
					return nil, fmt.Errorf("%s is a tar file without %s: not an image layout, or cut off", name, needed)
				}
			}
			return a, nil
		case err != nil:
			return nil, fmt.Errorf("%s: not a tar file of an image layout, compressed, or cut off: %w", name, err)
		case h.Typeflag != tar.TypeReg:
			continue
		case len(a.files) == maxArchiveFiles:
			return nil, fmt.Errorf("%s has more than %d files", name, maxArchiveFiles)
		}
		offset, err := f.Seek(0, io.SeekCurrent) // the reader reads no more than the header
		if err != nil {
			return nil, err
		}
		a.files[path.Clean(h.Name)] = span{offset, h.Size}
	}
}

func (a *archive) size(name string) (int64, error) {
	s, ok := a.files[name]
	if !ok {
		return 0, fmt.Errorf("%s in %s: %w", name, a.name, ErrNotFound)
	}
	return s.size, nil
}

func (a *archive) read(name string, limit int64) ([]byte, error) {
	size, err := a.size(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(a.name)
	if err != nil {
		return nil, notFound(err)
	}
	defer f.Close()
	return bounded.ReadSized(io.NewSectionReader(f, a.files[name].offset, size), size, limit)
}

// IsArchive reports whether the name of a repository is that of an image layout in one tar file.
func IsArchive(name string) bool {
	return strings.HasPrefix(name, layoutPrefix) && strings.HasSuffix(name, archiveSuffix)
}

// Folder returns the folder or archive of an image layout; "" for a registry.
func (r *Repository) Folder() string {
	if l, ok := r.backend.(*layout); ok {
		return l.dir
	}
	return ""
}

// PackLayout writes a layout that is a folder to one tar file, whose bytes are a function of its files. Until it is complete, the file
// is what it was before.
func PackLayout(dir, file string) error {
	l := newLayout(dir)
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	slices.SortFunc(index.Manifests, func(a, b ocispec.Descriptor) int {
		return strings.Compare(a.Digest.String()+refName(a), b.Digest.String()+refName(b))
	})
	sorted, err := json.Marshal(index)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, fmt.Sprintf(".incoming-%d", os.Getpid())) // which goes with the folder if this process is killed
	return wholefile.Create(file, temp, func(f *os.File) error { return errors.Join(l.packTo(tar.NewWriter(f), sorted), f.Sync()) })
}

// packTo writes the layout's files, its index last.
func (l *layout) packTo(w *tar.Writer, index []byte) error {
	if err := writeEntry(w, ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)); err != nil {
		return err
	}
	blobs := path.Join(ocispec.ImageBlobsDir, digest.SHA256.String())
	err := fs.WalkDir(os.DirFS(l.dir), blobs, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := bounded.File(filepath.Join(l.dir, filepath.FromSlash(name)), MaxBlobSize)
		if err == nil && digest.FromBytes(data).Encoded() != path.Base(name) {
			err = fmt.Errorf("%s: the content has another digest", l.path(name))
		}
		if err != nil {
			return err
		}
		return writeEntry(w, name, data)
	})
	if err == nil {
		err = writeEntry(w, ocispec.ImageIndexFile, index)
	}
	return errors.Join(err, w.Close())
}

func writeEntry(w *tar.Writer, name string, data []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(w, bytes.NewReader(data))
	return err
}

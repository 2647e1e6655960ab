package oci

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
)

// ContentDigest returns the sha256 of the tar that [Pack] writes for tree: the identity of its files.
func ContentDigest(tree fs.FS) (digest.Digest, error) {
	h := sha256.New()
	if err := writeTar(h, tree); err != nil {
		return "", err
	}
	return digest.NewDigest(digest.SHA256, h), nil
}

// writeTar writes the canonical tar of tree, as the package documentation defines it.
func writeTar(w io.Writer, tree fs.FS) error {
	names, err := entries(tree)
	if err != nil {
		return err
	}
	t := tarWriter{Writer: tar.NewWriter(w), tree: tree}
	for _, name := range names {
		// FileInfoHeader would bring this machine's owner and mode. The writer takes PAX only where a name needs it.
		hdr := tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0)}
		if strings.HasSuffix(name, "/") {
			err = t.WriteHeader(&hdr)
		} else {
			err = t.file(&hdr)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	return nil
}

// tarWriter writes files, up to a sum of their sizes.
type tarWriter struct {
	*tar.Writer
	tree  fs.FS
	total int64
}

// file writes a file, which is read once: to ask some trees for a size is to read it. The writer refuses more bytes than the header
// announces, and fewer at the next header.
func (t *tarWriter) file(hdr *tar.Header) error {
	f, err := t.tree.Open(hdr.Name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > MaxFileSize {
		return fmt.Errorf("larger than %d bytes", MaxFileSize)
	}
	if t.total += info.Size(); t.total > MaxTarSize {
		return fmt.Errorf("the files sum up to more than %d bytes", MaxTarSize)
	}
	hdr.Typeflag, hdr.Mode, hdr.Size = tar.TypeReg, 0o644, info.Size()
	if err := t.WriteHeader(hdr); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// entries lists tree in the order of the tar; directories end in a slash.
func entries(tree fs.FS) ([]string, error) {
	var names []string
	files := 0
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("pack: %w", err)
		case name == ".":
			return nil
		case d.IsDir():
			name += "/"
		case d.Type().IsRegular():
			files++
		default:
			return fmt.Errorf("pack %q: neither a regular file nor a directory", name)
		}
		if err := checkPath(name); err != nil {
			return fmt.Errorf("pack: %w", err)
		}
		if len(names) == MaxFiles {
			return fmt.Errorf("pack: more than %d files and directories", MaxFiles)
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if files == 0 && len(names) > 0 {
		return nil, errors.New("pack: the tree holds folders and no file")
	}
	slices.Sort(names)
	return names, nil
}

// checkPath refuses entry names that any system could read as another file.
func checkPath(name string) error {
	p := strings.TrimSuffix(name, "/")
	switch {
	case len(p) > MaxPathLength:
		return fmt.Errorf("path %.40q… is longer than %d bytes", p, MaxPathLength)
	case p == "." || !fs.ValidPath(p):
		return fmt.Errorf("path %q is not a clean relative path", name)
	case !utf8.ValidString(p) || strings.ContainsRune(p, '\\') || strings.ContainsFunc(p, unicode.IsControl):
		return fmt.Errorf("path %q holds a backslash, a control character or invalid UTF-8", name)
	}
	return nil
}

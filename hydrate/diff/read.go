package diff

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/bounded"
)

// Bounds on a tree of files.
const (
	maxFiles     = 20_000
	maxFileBytes = 64 << 20
	maxTreeBytes = 256 << 20
	maxDocuments = 50_000
)

// Read decodes the objects in the files of a tree. The Source of each is its file. It reads files that end in .yaml, .yml
// or .json, in all folders, except names that begin with a dot.
func Read(tree fs.FS) ([]hydrate.Object, error) { return ReadBy(new(hydrate.Decoder), tree) }

// ReadBy is [Read] by a decoder, which several trees share.
func ReadBy(decoder *hydrate.Decoder, tree fs.FS) ([]hydrate.Object, error) {
	manifests, err := documents(tree)
	if err != nil {
		return nil, err
	}
	return decoder.Objects(manifests)
}

// SameFiles reports whether the files of two trees that Read reads have the same names and bytes.
func SameFiles(a, b fs.FS) (bool, error) {
	one, err := documents(a)
	if err != nil {
		return false, err
	}
	other, err := documents(b)
	return slices.EqualFunc(one, other, func(a, b hydrate.Manifest) bool { return a.Source == b.Source && bytes.Equal(a.Data, b.Data) }), err
}

// documents returns the YAML documents of a tree, by file.
func documents(tree fs.FS) ([]hydrate.Manifest, error) {
	var manifests []hydrate.Manifest
	files, room := 0, int64(maxTreeBytes)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := name != "." && strings.HasPrefix(entry.Name(), ".")
		if hidden && entry.IsDir() {
			return fs.SkipDir
		}
		if hidden || !entry.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			return nil
		}
		if files++; files > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		data, err := bounded.ReadFile(tree, name, min(room, maxFileBytes))
		if err != nil {
			return err
		}
		room -= int64(len(data))
		number := 0
		for _, document := range hydrate.SplitStream(data) {
			if len(bytes.TrimSpace(bytes.TrimPrefix(document, []byte("---")))) == 0 {
				continue
			}
			if len(manifests) == maxDocuments {
				return fmt.Errorf("more than %d YAML documents", maxDocuments)
			}
			number++
			manifests = append(manifests, hydrate.Manifest{Source: name, Document: number, Data: document})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return manifests, nil
}

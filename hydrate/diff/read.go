package diff

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"iter"
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
	return decoder.ObjectsOf(documents(tree))
}

// SameFiles reports whether the files of two trees that Read reads have the same names and bytes.
func SameFiles(a, b fs.FS) (bool, error) {
	next, stop := iter.Pull2(documents(b))
	defer stop()
	for one, err := range documents(a) {
		other, err2, _ := next()
		if err = cmp.Or(err, err2); err != nil {
			return false, err
		}
		if one.Source != other.Source || !bytes.Equal(one.Data, other.Data) {
			return false, nil
		}
	}
	_, err, more := next()
	return !more, err
}

// documents yields the YAML documents of a tree, by file, and ends with the first error.
func documents(tree fs.FS) iter.Seq2[hydrate.Manifest, error] {
	return func(yield func(hydrate.Manifest, error) bool) {
		r := reader{tree: tree, room: maxTreeBytes, yield: yield}
		if err := fs.WalkDir(tree, ".", r.visit); err != nil {
			yield(hydrate.Manifest{}, fmt.Errorf("read the tree: %w", err))
		}
	}
}

// reader reads the files of a tree.
type reader struct {
	tree             fs.FS
	files, documents int
	room             int64 // bytes that may still come
	yield            func(hydrate.Manifest, error) bool
}

func (r *reader) visit(name string, entry fs.DirEntry, err error) error {
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
	if r.files++; r.files > maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	data, err := bounded.ReadFile(r.tree, name, min(r.room, maxFileBytes))
	if err != nil {
		return err
	}
	r.room -= int64(len(data))
	number := 0
	for _, document := range hydrate.SplitStream(data) {
		if len(bytes.TrimSpace(bytes.TrimPrefix(document, []byte("---")))) == 0 {
			continue
		}
		if r.documents++; r.documents > maxDocuments {
			return fmt.Errorf("more than %d YAML documents", maxDocuments)
		}
		number++
		if !r.yield(hydrate.Manifest{Source: name, Document: number, Data: document}, nil) {
			return fs.SkipAll
		}
	}
	return nil
}

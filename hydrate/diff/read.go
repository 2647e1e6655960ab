package diff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	slash "path"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// Bounds on a tree of files.
const (
	maxFiles     = 20_000
	maxFileBytes = 64 << 20
	maxTreeBytes = 256 << 20
	maxDocuments = 50_000
)

// Read decodes the objects in the files of a tree, the Source of each being its file. Files that end in .yaml, .yml or
// .json are read, in all folders; whatever begins with a dot is not.
func Read(tree fs.FS) ([]hydrate.Object, error) {
	var manifests []hydrate.Manifest
	files, room := 0, int64(maxTreeBytes)
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := slash.Base(name); name != "." && strings.HasPrefix(base, ".") {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch slash.Ext(name) {
		case ".yaml", ".yml", ".json":
		default:
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		if files++; files > maxFiles {
			return fmt.Errorf("more than %d files", maxFiles)
		}
		data, err := readFile(tree, name, min(room, maxFileBytes))
		if err != nil {
			return err
		}
		room -= int64(len(data))
		for i, document := range documents(data) {
			if len(manifests) == maxDocuments {
				return fmt.Errorf("more than %d YAML documents", maxDocuments)
			}
			manifests = append(manifests, hydrate.Manifest{Source: name, Document: i + 1, Data: document})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the tree: %w", err)
	}
	return hydrate.Objects(manifests)
}

func readFile(tree fs.FS, name string, limit int64) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than the %d bytes of a file, or %d of a tree, that are compared", name, maxFileBytes, maxTreeBytes)
	}
	return data, nil
}

// documents splits a stream of YAML documents at the markers in the first column. They end a document even within a
// block scalar (YAML 1.2.2, 9.1.2).
func documents(data []byte) [][]byte {
	var out [][]byte
	start := 0
	for at := 0; at < len(data); {
		end := at + bytes.IndexByte(data[at:], '\n') + 1
		if end == at {
			end = len(data)
		}
		if marker, ok := bytes.CutPrefix(data[at:end], []byte("---")); ok && (len(marker) == 0 || strings.IndexByte(" \t\r\n", marker[0]) >= 0) {
			if len(bytes.TrimSpace(data[start:at])) > 0 {
				out = append(out, data[start:at])
			}
			start = at + len("---")
		}
		at = end
	}
	if len(bytes.TrimSpace(data[start:])) > 0 {
		out = append(out, data[start:])
	}
	return out
}

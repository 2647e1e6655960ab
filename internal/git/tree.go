package git

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Modes of entries that are written here.
const (
	ModeFile = "100644"
	modeTree = "40000"
)

// rawEntry is a name in a tree, with its mode unchanged.
type rawEntry struct {
	mode, name string
	id         plumbing.Hash
}

func (e rawEntry) isTree() bool { return strings.TrimLeft(e.mode, "0") == modeTree }

// kind returns the kind of an entry, for messages.
func (e rawEntry) kind() string {
	switch strings.TrimLeft(e.mode, "0") {
	case modeTree:
		return "folder"
	case "120000":
		return "symbolic link"
	case "160000":
		return "submodule"
	}
	return "file"
}

// parseRawTree reads a tree object that comes from a place: mode, space, name, NUL and id, repeated.
func parseRawTree(data []byte, id plumbing.Hash, from fmt.Stringer) ([]rawEntry, error) {
	var entries []rawEntry
	for len(data) > 0 {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || name == "" || len(rest) < 20 {
			return nil, fmt.Errorf("tree %s in %s is malformed", id, from)
		}
		if len(entries) == maxTreeEntries {
			return nil, fmt.Errorf("tree %s in %s has more than %d entries", id, from, maxTreeEntries)
		}
		e := rawEntry{mode: mode, name: name}
		copy(e.id[:], rest)
		data = rest[20:]
		entries = append(entries, e)
	}
	return entries, nil
}

// encodeTree writes a tree object, in git's order: folders sort as if their names ended in a slash.
func encodeTree(entries []rawEntry) []byte {
	key := func(e rawEntry) string {
		if e.isTree() {
			return e.name + "/"
		}
		return e.name
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b rawEntry) int { return strings.Compare(key(a), key(b)) })
	var buf bytes.Buffer
	for _, e := range entries {
		buf.WriteString(e.mode + " " + e.name + "\x00")
		buf.Write(e.id[:])
	}
	return buf.Bytes()
}

// Item is one file below a folder.
type Item struct {
	Path string // relative to the folder
	Mode string // such as ModeFile
	ID   Hash
}

// Entries lists what a folder holds, by its id, folders included and without what lies below them. It returns false if the
// id is not a folder's.
func (r *Remote) Entries(ctx context.Context, folder Hash) ([]Item, bool, error) {
	entries, ok, err := r.entries(ctx, folder)
	items := make([]Item, len(entries))
	for i, e := range entries {
		items[i] = Item{e.name, e.mode, hashOf(e.id)}
	}
	return items, ok, err
}

func (r *Remote) entries(ctx context.Context, folder Hash) ([]rawEntry, bool, error) {
	obj, err := load(ctx, r, folder.id())
	if err != nil || obj.kind != plumbing.TreeObject {
		return nil, false, err
	}
	entries, err := parseRawTree(obj.data, folder.id(), r)
	return entries, err == nil, err
}

// File reads a file by its id.
func (r *Remote) File(ctx context.Context, id Hash) ([]byte, error) {
	return loadKind(ctx, r, want{ids: []plumbing.Hash{id.id()}}, plumbing.BlobObject)
}

// TreeID returns the id of a folder of these files. It fails if their paths make no folder, for example if one is a file
// and a folder.
func TreeID(items []Item) (Hash, error) {
	id, err := buildTree(items, encoded.id)
	return hashOf(id), err
}

// buildTree makes the trees of a folder and passes each to keep, which returns its id.
func buildTree(items []Item, keep func(encoded) plumbing.Hash) (plumbing.Hash, error) {
	var entries []rawEntry
	below := map[string][]Item{}
	var folders []string
	seen := map[string]bool{}
	for _, item := range items {
		name, rest, deeper := strings.Cut(item.Path, "/")
		if !goodName(name) {
			return plumbing.ZeroHash, fmt.Errorf("invalid path %q for a tree", item.Path)
		}
		if !deeper {
			if seen[name] {
				return plumbing.ZeroHash, fmt.Errorf("%q occurs twice", item.Path)
			}
			seen[name] = true
			entries = append(entries, rawEntry{item.Mode, name, item.ID.id()})
			continue
		}
		if below[name] == nil {
			folders = append(folders, name)
		}
		below[name] = append(below[name], Item{rest, item.Mode, item.ID})
	}
	for _, name := range folders {
		if seen[name] {
			return plumbing.ZeroHash, fmt.Errorf("%q is a file and a folder", name)
		}
		id, err := buildTree(below[name], keep)
		if err != nil {
			return id, fmt.Errorf("%s: %w", name, err)
		}
		entries = append(entries, rawEntry{modeTree, name, id})
	}
	return keep(encoded{plumbing.TreeObject, encodeTree(entries)}), nil
}

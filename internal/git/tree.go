package git

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Modes of entries that are written here.
const (
	ModeFile = "100644"
	modeTree = "40000"
)

// entry is a name in a tree.
type entry struct {
	name string
	raw  string            // its mode as the tree has it
	mode filemode.FileMode // never Deprecated: that is Regular; Empty for an invalid one
	id   plumbing.Hash
}

func newEntry(raw, name string, id plumbing.Hash) entry {
	mode, err := filemode.New(raw)
	if err == nil && mode == filemode.Deprecated {
		mode = filemode.Regular
	}
	return entry{name, raw, mode, id}
}

// kind returns the kind of an entry, for messages.
func (e entry) kind() string {
	switch e.mode {
	case filemode.Dir:
		return "folder"
	case filemode.Symlink:
		return "symbolic link"
	case filemode.Submodule:
		return "submodule"
	}
	return "file"
}

// indexOf returns the place of a name among entries in any order, or -1.
func indexOf(entries []entry, name string) int {
	return slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
}

// parseRawTree reads a tree object that comes from a place: mode, space, name, NUL and id, repeated.
func parseRawTree(data []byte, id plumbing.Hash, from fmt.Stringer) ([]entry, error) {
	var entries []entry
	names := map[string]bool{}
	for len(data) > 0 {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || name == "" || len(rest) < 20 {
			return nil, invalidf("tree %s in %s is malformed", id, from)
		}
		if len(entries) == maxTreeEntries {
			return nil, invalidf("tree %s in %s has more than %d entries", id, from, maxTreeEntries)
		}
		if names[name] {
			return nil, invalidf("tree %s in %s has two entries %q: programs differ in which they take", id, from, name)
		}
		names[name] = true
		entries = append(entries, newEntry(mode, name, plumbing.Hash(rest[:20])))
		data = rest[20:]
	}
	return entries, nil
}

// encodeTree writes a tree object, in git's order: folders sort as if their names ended in a slash.
func encodeTree(entries []entry) []byte {
	key := func(e entry) string {
		if e.mode == filemode.Dir {
			return e.name + "/"
		}
		return e.name
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(key(a), key(b)) })
	var buf bytes.Buffer
	for _, e := range entries {
		buf.WriteString(e.raw + " " + e.name + "\x00")
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

// Entries lists what a folder holds, by its id, folders included. It returns false if the id is not a folder's.
func (r *Remote) Entries(ctx context.Context, folder Hash) ([]Item, bool, error) {
	f, err := r.folder(ctx, folder)
	if f == nil || err != nil {
		return nil, false, err
	}
	items := make([]Item, len(f.entries))
	for i, e := range f.entries {
		items[i] = Item{e.name, e.raw, hashOf(e.id)}
	}
	return items, true, nil
}

// folder is a tree that was read. It is not changed: each stage looks for its own entry in those that all stages share.
type folder struct {
	entries []entry
	names   func() map[string]int // the places of entries
}

func newFolder(entries []entry) *folder {
	return &folder{entries, sync.OnceValue(func() map[string]int {
		names := make(map[string]int, len(entries))
		for i, e := range entries {
			names[e.name] = i
		}
		return names
	})}
}

// find returns the entry of a name. A nil folder has none.
func (f *folder) find(name string) (entry, bool) {
	if f == nil {
		return entry{}, false
	}
	i, ok := f.names()[name]
	if !ok {
		return entry{}, false
	}
	return f.entries[i], true
}

// maxKeptEntries bounds the entries of folders that are kept, some 150 bytes each.
const maxKeptEntries = 1 << 17

// folder reads a folder by its id; nil if it is something else.
func (c *commits) folder(ctx context.Context, id Hash) (*folder, error) {
	if f, ok := c.folders.Get(id); ok {
		return f, nil
	}
	obj, err := loadAs(ctx, c.from, want{ids: []plumbing.Hash{id.id()}})
	if err != nil || obj.kind != plumbing.TreeObject {
		return nil, err
	}
	entries, err := parseRawTree(obj.data, id.id(), c.from)
	if err != nil {
		return nil, err
	}
	return c.folders.Put(id, newFolder(entries), len(entries)+1), nil
}

// File reads a file by its id.
func (c *commits) File(ctx context.Context, id Hash) ([]byte, error) {
	return loadKind(ctx, c.from, want{ids: []plumbing.Hash{id.id()}}, plumbing.BlobObject)
}

// TreeID returns the id of a folder of these files. Their paths must make one: a file cannot be a folder, too.
func TreeID(items []Item) (Hash, error) {
	id, err := buildTree(items, encoded.id)
	return hashOf(id), err
}

// buildTree makes the trees of a folder and passes each to keep, which returns its id.
func buildTree(items []Item, keep func(encoded) plumbing.Hash) (plumbing.Hash, error) {
	var entries []entry
	below := map[string][]Item{}
	seen := map[string]bool{}
	for _, item := range items {
		name, rest, deeper := strings.Cut(item.Path, "/")
		switch {
		case !goodName(name):
			return plumbing.ZeroHash, fmt.Errorf("invalid path %q for a tree", item.Path)
		case deeper:
			below[name] = append(below[name], Item{rest, item.Mode, item.ID})
		case seen[name]:
			return plumbing.ZeroHash, fmt.Errorf("%q occurs twice", item.Path)
		default:
			seen[name] = true
			entries = append(entries, newEntry(item.Mode, name, item.ID.id()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		if seen[name] {
			return plumbing.ZeroHash, fmt.Errorf("%q is a file and a folder", name)
		}
		id, err := buildTree(below[name], keep)
		if err != nil {
			return id, fmt.Errorf("%s: %w", name, err)
		}
		entries = append(entries, newEntry(modeTree, name, id))
	}
	return keep(encoded{kind: plumbing.TreeObject, data: encodeTree(entries)}), nil
}

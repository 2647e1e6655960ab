package git

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/lockage/lockage/internal/memo"
)

// Snapshot is the tree of one commit, read on demand. It and its file systems are safe for concurrent use.
type Snapshot struct {
	commit Commit
	from   objects
	warn   func(string) // may be nil
	lost   *notices     // files of Git LFS that are not to be had

	mu    sync.Mutex
	trees map[plumbing.Hash]*tree
	files memo.Recent[plumbing.Hash, []byte] // small ones: each stage asks for the lock and the keys of its pipeline
}

// maxKeptFiles bounds the files of a snapshot that are kept, in bytes.
const maxKeptFiles = 4 << 20

// Commit returns the commit that the tree belongs to.
func (s *Snapshot) Commit() Commit { return s.commit }

// tree is a parsed tree object, and the first name in it that no checkout may contain.
type tree struct {
	entries []entry // sorted by name
	bad     string
}

func (t *tree) find(name string) (entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	if !ok {
		return entry{}, false
	}
	return t.entries[i], true
}

// parseTree reads a tree object, and refuses modes that no version of git writes.
func parseTree(data []byte, id plumbing.Hash, from fmt.Stringer) (*tree, error) {
	entries, err := parseRawTree(data, id, from)
	if err != nil {
		return nil, err
	}
	t := &tree{entries: entries}
	for _, e := range entries {
		switch e.mode {
		case filemode.Dir, filemode.Symlink, filemode.Submodule, filemode.Executable, filemode.Regular:
		default:
			return nil, invalidf("tree %s in %s has an entry of unknown mode %q", id, from, e.raw)
		}
		if t.bad == "" && !goodName(e.name) {
			t.bad = e.name
		}
	}
	slices.SortFunc(t.entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(t.entries); i++ {
		if t.entries[i].name == t.entries[i-1].name {
			return nil, invalidf("tree %s in %s has two entries %q", id, from, t.entries[i].name)
		}
	}
	return t, nil
}

// goodName reports whether a name is UTF-8 that git fsck accepts.
func goodName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.EqualFold(name, ".git") &&
		!strings.Contains(name, "/") && utf8.ValidString(name)
}

// tree reads one tree, and fetches it alone if it is absent.
func (s *Snapshot) tree(ctx context.Context, id plumbing.Hash) (*tree, error) {
	s.mu.Lock()
	t, ok := s.trees[id]
	s.mu.Unlock()
	if ok {
		return t, nil
	}
	data, err := s.object(ctx, id, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}
	if t, err = parseTree(data, id, s.from); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.trees[id] = t
	s.mu.Unlock()
	return t, nil
}

// object reads one object of a kind, and fetches it alone if it is absent.
func (s *Snapshot) object(ctx context.Context, id plumbing.Hash, kind plumbing.ObjectType) ([]byte, error) {
	return loadKind(ctx, s.from, want{ids: []plumbing.Hash{id}, commit: s.commit.Hash.id()}, kind)
}

// resolved is the target of a name, never a symbolic link.
type resolved struct {
	path string // without links
	entry
}

// lookup resolves a path below dir. Errors are those of io/fs.
func (s *Snapshot) lookup(ctx context.Context, op, dir, name string) (resolved, error) {
	if !fs.ValidPath(name) {
		return resolved{}, pathError(op, name, fs.ErrInvalid)
	}
	at, err := s.resolve(ctx, path.Join(dir, name))
	if err != nil {
		return at, pathError(op, name, err)
	}
	return at, nil
}

// resolve follows name through the tree, and symbolic links as long as they stay in it.
func (s *Snapshot) resolve(ctx context.Context, name string) (resolved, error) {
	at := resolved{path: ".", entry: entry{mode: filemode.Dir, id: s.commit.Tree.id()}}
	var up []resolved // the parents of at
	links := 0
	met := map[string]bool{".": true} // targets of the parts of name so far
	for _, part := range splitPath(name) {
		for pending := []string{part}; len(pending) > 0; {
			part := pending[0]
			pending = pending[1:]
			if part == ".." { // in links only
				if len(up) == 0 {
					return at, invalidf("a symbolic link leads out of the commit's tree")
				}
				at, up = up[len(up)-1], up[:len(up)-1]
				continue
			}
			next, err := s.step(ctx, at, part)
			if err != nil {
				return next, err
			}
			if next.mode != filemode.Symlink {
				up, at = append(up, at), next
				continue
			}
			if links++; links > maxLinks {
				return next, invalidf("more than %d symbolic links on the path", maxLinks)
			}
			target, err := s.link(ctx, next)
			if err != nil {
				return next, err
			}
			pending = append(splitPath(target), pending...)
		}
		if at.mode == filemode.Dir && met[at.path] {
			return at, invalidf("symbolic links lead in a circle, to folder %s again", at.path)
		}
		met[at.path] = true
	}
	return at, nil
}

// step finds one name in a folder.
func (s *Snapshot) step(ctx context.Context, at resolved, part string) (resolved, error) {
	if at.mode != filemode.Dir || !goodName(part) {
		return at, fs.ErrNotExist
	}
	t, err := s.tree(ctx, at.id)
	if err != nil {
		return at, err
	}
	e, ok := t.find(part)
	if !ok {
		return at, fs.ErrNotExist
	}
	next := resolved{path: path.Join(at.path, part), entry: e}
	if e.mode == filemode.Submodule {
		return next, invalidf("%s is a submodule, whose files are in another repository: only files of the commit are read", next.path)
	}
	return next, nil
}

// fetchLinks fetches the targets of a folder's links in one round trip.
func (s *Snapshot) fetchLinks(ctx context.Context, t *tree) error {
	var absent []plumbing.Hash
	for _, e := range t.entries {
		if e.mode == filemode.Symlink && !s.from.has(ctx, e.id) {
			absent = append(absent, e.id)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	return s.from.fetch(ctx, want{ids: absent, commit: s.commit.Hash.id()})
}

// link reads a symbolic link's target.
func (s *Snapshot) link(ctx context.Context, l resolved) (string, error) {
	data, err := s.object(ctx, l.id, plumbing.BlobObject)
	if err != nil {
		return "", err
	}
	target := string(data)
	if len(target) > maxLinkBytes || strings.HasPrefix(target, "/") || target == "" || !utf8.ValidString(target) {
		return "", invalidf("symbolic link %s leads to %q, out of the commit's tree", l.path, harmless(target))
	}
	return target, nil
}

func splitPath(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(part string) bool { return part == "" || part == "." })
}

// Prefetch fetches everything absent at and below the paths in one round trip, after their parent folders. A missing path
// is fs.ErrNotExist.
func (s *Snapshot) Prefetch(ctx context.Context, paths ...string) error {
	var absent []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, name := range paths {
		at, err := s.lookup(ctx, "prefetch", ".", name)
		if err != nil {
			return err
		}
		if err := s.absent(ctx, at.entry, seen, &absent); err != nil {
			return pathError("prefetch", name, err)
		}
	}
	if len(absent) == 0 {
		return nil
	}
	return s.from.fetch(ctx, want{ids: absent, commit: s.commit.Hash.id(), shape: shapeDeep})
}

// absent lists the topmost objects at and below e that are not on disk.
func (s *Snapshot) absent(ctx context.Context, e entry, seen map[plumbing.Hash]bool, found *[]plumbing.Hash) error {
	if seen[e.id] || e.mode == filemode.Submodule {
		return nil
	}
	if seen[e.id] = true; len(seen) > maxPrefetch {
		return fmt.Errorf("more than %d files and folders", maxPrefetch)
	}
	if !s.from.has(ctx, e.id) {
		*found = append(*found, e.id)
		return nil
	}
	if e.mode != filemode.Dir {
		return nil
	}
	t, err := s.tree(ctx, e.id)
	if err != nil {
		return err
	}
	for _, child := range t.entries {
		if err := s.absent(ctx, child, seen, found); err != nil {
			return err
		}
	}
	return nil
}

// ID returns the id of the file or folder at a path, links followed. It fetches the parent folders alone.
func (s *Snapshot) ID(ctx context.Context, name string) (Hash, error) {
	at, err := s.lookup(ctx, "id", ".", name)
	if err != nil {
		return "", err
	}
	return hashOf(at.id), nil
}

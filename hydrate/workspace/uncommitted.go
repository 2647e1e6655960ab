package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
)

// Bounds on the search for edits that are not committed.
const (
	maxCompared      = 2_000
	maxComparedBytes = 1 << 20
)

// Uncommitted returns the files of the work tree, of those that are named, that the checked-out commit has otherwise or not at all.
// Line ends do not count, and neither does a file that is missing: a sparse checkout has few.
func (w *Workspace) Uncommitted(ctx context.Context, names []string) ([]string, error) {
	if w.Root() == "" || w.Head.Hash == "" {
		return nil, nil
	}
	onDisk, err := w.WorkTree()
	if err != nil {
		return nil, err
	}
	committed, err := w.Files(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var differ []string
	for _, name := range names[:min(len(names), maxCompared)] {
		data, err := bounded.ReadFile(onDisk, name, maxComparedBytes)
		if err != nil || same(committed, name, data) {
			continue
		}
		differ = append(differ, name)
	}
	return differ, nil
}

// same reports whether a commit has a file, whatever its line ends are.
func same(committed fs.FS, name string, data []byte) bool {
	tree, ok := committed.(*git.FS)
	if !ok {
		return true
	}
	found, err := tree.Find(name, false)
	lf := bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return err != nil || found.ID == git.BlobID(data) || found.ID == git.BlobID(lf)
}

// ReadAt describes at which commit pipeline files were read, if the user has others before their eyes: another commit is checked out, or
// files are not committed. It is "" if not.
func (w *Workspace) ReadAt(ctx context.Context) string {
	w.mu.Lock()
	p, names := w.policy, w.names
	w.mu.Unlock()
	read := fmt.Sprintf("pipelines are read at commit %.12s", w.Head.Hash)
	if p != nil {
		read = fmt.Sprintf("pipelines are read at %s, commit %.12s", p.name, p.tip)
		if w.Head.Hash != p.tip {
			return read + fmt.Sprintf("; the checkout is at %.12s, which may have others", w.Head.Hash)
		}
	}
	differ, err := w.Uncommitted(ctx, names)
	if err != nil || len(differ) == 0 {
		return ""
	}
	return read + "; not committed: " + strings.Join(differ[:min(len(differ), 5)], ", ")
}

// reads remembers where the policy ref was read.
func (w *Workspace) reads(p *Policy) *Policy {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.policy = p
	return p
}

// asks remembers which pipeline files of a commit were wanted.
func (w *Workspace) asks(files fs.FS, names ...string) {
	if _, ok := files.(*git.FS); !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range names {
		if fs.ValidPath(name) && path.Clean(name) == name {
			w.names = append(w.names, name)
		}
	}
}

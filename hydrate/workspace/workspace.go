// Package workspace reads the GitOps repository for one command: the commit that is checked out, the commit that is
// trusted, and the pipelines that either declares.
//
// Only a commit on the policy ref is published, never uncommitted files. The policy ref is the branch of the remote that
// the team trusts, protects and reviews. At other commits, a pull request's head say, manifests can be rendered but not
// published.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
)

// DefaultFile is the pipeline file that is read unless others are named.
const DefaultFile = "lockage.yaml"

// ErrNoPipeline is returned if no pipeline file exists.
var ErrNoPipeline = errors.New("no pipeline file")

// SelectionError is returned if the folder, pattern or policy ref that the user selects does not exist or is ambiguous.
type SelectionError struct{ err error }

func (e *SelectionError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *SelectionError) Unwrap() error { return e.err }

func selectionf(format string, args ...any) error {
	return &SelectionError{fmt.Errorf(format, args...)}
}

// Workspace is a checkout of the GitOps repository and the folder in it that the command was started in.
type Workspace struct {
	Repository *git.Repository
	Head       git.Head            // without Hash before the first commit
	Gates      []pipeline.GateKind // that pipeline files may declare

	prefix string // of the starting folder, relative to the root, "." for the root

	mu     sync.Mutex
	policy *Policy  // that was read last; nil for none
	names  []string // of pipeline files that were wanted
}

// Open opens the checkout that dir is in. Its pipeline files may declare gates of the given kinds.
func Open(ctx context.Context, dir string, opts git.Options, gates []pipeline.GateKind) (*Workspace, error) {
	repository, err := git.Open(ctx, dir, opts)
	if errors.Is(err, git.ErrNoRepository) {
		return nil, selectionf("GitOps repository: %w; -C names a folder inside its checkout, and git init or git clone makes one", err)
	}
	var head git.Head
	if err == nil {
		head, err = repository.Head(ctx)
	}
	if err != nil && !errors.Is(err, git.ErrNoCommit) {
		return nil, fmt.Errorf("GitOps repository: %w", err)
	}
	w := &Workspace{Repository: repository, Head: head, Gates: gates, prefix: "."}
	if root := repository.Root(); root != "" {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err == nil {
			root, err = filepath.EvalSymlinks(root)
		}
		if err == nil {
			w.prefix, err = filepath.Rel(root, abs)
		}
		if err != nil {
			return nil, err
		}
		w.prefix = filepath.ToSlash(w.prefix)
	}
	return w, nil
}

// Root returns the checkout's root folder; "" for a bare repository.
func (w *Workspace) Root() string { return w.Repository.Root() }

// Files returns the files of the commit that is checked out.
func (w *Workspace) Files(ctx context.Context) (fs.FS, error) {
	if err := w.unborn(); err != nil {
		return nil, err
	}
	return filesAt(ctx, w.Repository, w.Head.Hash)
}

// unborn returns an error before the first commit.
func (w *Workspace) unborn() error {
	if w.Head.Hash != "" {
		return nil
	}
	return fmt.Errorf("GitOps repository: %s has %w: add and commit the pipeline file, the keys and the lock first; lock write, lock check and render --worktree work without",
		w.Repository, git.ErrNoCommit)
}

func filesAt(ctx context.Context, source source, commit git.Hash) (fs.FS, error) {
	snapshot, err := source.Snapshot(ctx, commit)
	if err != nil {
		return nil, err
	}
	return snapshot.FS(ctx).Whole(), nil
}

// At returns the files of another commit: a full id, a branch, a tag or a remote's branch.
func (w *Workspace) At(ctx context.Context, rev string) (fs.FS, error) {
	hash, err := w.Repository.Resolve(ctx, rev)
	if err != nil {
		return nil, selectionf("revision %s: %w", rev, err)
	}
	return filesAt(ctx, w.Repository, hash)
}

// WorkTree returns the files on disk, committed or not. It follows no links out of the checkout.
func (w *Workspace) WorkTree() (fs.FS, error) {
	if w.Root() == "" {
		return nil, fmt.Errorf("repository %s is bare: it has no work tree", w.Repository)
	}
	root, err := os.OpenRoot(w.Root())
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// Present returns the files of the work tree; those that a sparse checkout or bare repository lacks are of the commit, if there is one.
func (w *Workspace) Present(ctx context.Context) (fs.FS, error) {
	if w.Head.Hash == "" {
		return w.WorkTree()
	}
	committed, err := w.Files(ctx)
	if err != nil || w.Root() == "" {
		return committed, err
	}
	onDisk, err := w.WorkTree()
	return present{onDisk, committed}, err
}

// Beside returns the files of the work tree as they would be with others, which come first.
func (w *Workspace) Beside(others fs.FS) (fs.FS, error) {
	onDisk, err := w.WorkTree()
	return present{others, onDisk}, err
}

// present reads from the first file system, and from the second what the first lacks.
type present struct{ onDisk, committed fs.FS }

func (p present) Open(name string) (fs.File, error) {
	f, err := p.onDisk.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p.committed.Open(name)
	}
	return f, err
}

// ReadDir lists the entries of both.
func (p present) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(p.onDisk, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	committed, cerr := fs.ReadDir(p.committed, name)
	if err != nil || cerr != nil && !errors.Is(cerr, fs.ErrNotExist) {
		return committed, cerr
	}
	byName := func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }
	for _, c := range committed {
		if i, found := slices.BinarySearchFunc(entries, c, byName); !found {
			entries = slices.Insert(entries, i, c)
		}
	}
	return entries, nil
}

// Pipelines reads the pipelines that the patterns name: files or globs relative to the folder that the command was started
// in. Without a pattern it reads lockage.yaml there, or else at the root.
func (w *Workspace) Pipelines(files fs.FS, patterns []string) ([]*pipeline.Pipeline, error) {
	return w.Overridden(files, patterns, pipeline.Overrides{})
}

// Overridden is Pipelines whose stages have other render options than the files say.
func (w *Workspace) Overridden(files fs.FS, patterns []string, o pipeline.Overrides) ([]*pipeline.Pipeline, error) {
	names, err := w.pipelineFiles(files, patterns)
	if err != nil {
		return nil, err
	}
	return pipeline.LoadOverridden(files, w.Gates, o, names...)
}

func (w *Workspace) pipelineFiles(files fs.FS, patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		for _, name := range []string{path.Join(w.prefix, DefaultFile), DefaultFile} {
			_, err := fs.Stat(files, name)
			w.asks(files, name)
			if err == nil {
				return []string{name}, nil
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("read pipeline file: %w", err)
			}
		}
		return nil, selectionf("%w: %s has no %s; name others with -f", ErrNoPipeline, w.Repository, DefaultFile)
	}
	var names []string
	for _, pattern := range patterns {
		rooted := path.Join(w.prefix, filepath.ToSlash(pattern))
		if filepath.IsAbs(pattern) {
			// The root has its links resolved. What does not exist on disk stays as typed.
			abs := pattern
			if dir, err := filepath.EvalSymlinks(filepath.Dir(pattern)); err == nil {
				abs = filepath.Join(dir, filepath.Base(pattern))
			}
			rel, err := filepath.Rel(w.Root(), abs)
			if err != nil {
				return nil, selectionf("-f %s: %w", pattern, err)
			}
			rooted = filepath.ToSlash(rel)
		}
		if !fs.ValidPath(rooted) || pattern == "" {
			return nil, selectionf("-f %q: want a file or glob inside the repository %s", pattern, w.Repository)
		}
		found, err := fs.Glob(files, rooted)
		w.asks(files, append(found, rooted)...)
		if err != nil {
			return nil, selectionf("-f %s: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, selectionf("-f %s: %w of that name in %s; is it committed?", pattern, ErrNoPipeline, w.Repository)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

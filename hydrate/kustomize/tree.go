package kustomize

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/lfs"
)

// Bounds on one build.
const (
	maxFileBytes = 16 << 20
	maxBytes     = 256 << 20
	maxReads     = 10_000 // of files, each time that one is read: this stops overlays that multiply
	maxLinks     = 40     // symbolic links followed for one name
	// maxComponentLevels bounds components of components: kustomize quotes an error again on each level, which doubles it.
	maxComponentLevels = 16
)

// The folders of the virtual tree that kustomize is shown.
const (
	sourceRoot    = "/source"
	gitopsRoot    = "/gitops"
	generatedRoot = "/generated"
	generatedFile = generatedRoot + "/kustomization.yaml"
)

// tree shows kustomize both repositories as one read-only file system, and records inputs. It serves one build, on one goroutine.
type tree struct {
	filesys.FileSystem // nil: a build calls only the methods below

	ctx       context.Context // kustomize's interface has no place for one
	roots     map[string]fs.FS
	generated []byte
	// judge checks every kustomization file, and returns what kustomize sees.
	judge func(file string, data []byte) ([]byte, error)

	found  map[string]place
	files  map[string][]byte // what kustomize sees, by real path
	inputs map[string]hydrate.Input
	reads  int
	size   int64
	err    error // the first refusal: kustomize goes on after some errors, as if the file were not there
}

// place is the target of a path.
type place struct {
	real   string // without symbolic links
	folder bool
	err    error
}

// fail keeps the first error that ends the build.
func (t *tree) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// rootOf returns the root folder that name, a clean absolute path, is at or below; "" if it is outside of all.
func rootOf(name string) string {
	for _, root := range []string{sourceRoot, gitopsRoot, generatedRoot} {
		if below(name, root) {
			return root
		}
	}
	return ""
}

// within returns name relative to root, in the form of io/fs.
func within(root, name string) string {
	if name == root {
		return "."
	}
	return strings.TrimPrefix(name, root+"/")
}

// lookup finds the target of name, a clean absolute path.
func (t *tree) lookup(name string) place {
	if p, ok := t.found[name]; ok {
		return p
	}
	p := t.find(name)
	if p.err != nil && !errors.Is(p.err, fs.ErrNotExist) {
		p.err = t.fail(p.err)
	}
	t.found[name] = p
	return p
}

func (t *tree) find(name string) place {
	if t.err != nil {
		return place{err: t.err}
	}
	if err := t.ctx.Err(); err != nil {
		return place{err: err}
	}
	root := rootOf(name)
	switch {
	case root == "":
		return place{err: fmt.Errorf("%s leads out of the repository", name)}
	case name == generatedRoot:
		return place{real: name, folder: true}
	case root == generatedRoot:
		if name == generatedFile && t.generated != nil {
			return place{real: name}
		}
		return place{err: fs.ErrNotExist}
	}
	target, err := realPath(t.roots[root], within(root, name))
	var info fs.FileInfo
	if err == nil {
		info, err = fs.Stat(t.roots[root], target)
	}
	if errors.Is(err, fs.ErrNotExist) {
		t.record(name, hydrate.InputAbsent, nil)
		return place{err: fs.ErrNotExist}
	}
	if err != nil {
		return place{err: fmt.Errorf("%s: %w", strings.TrimPrefix(name, "/"), err)}
	}
	p := place{real: path.Join(root, target), folder: info.IsDir()}
	switch {
	case p.folder:
		t.record(p.real, hydrate.InputFolder, nil)
	case isKustomization(name) && !isKustomization(p.real): // it would be read by a name that is not checked
		return place{err: fmt.Errorf("%s is a symbolic link to a file of another name: make it a file", strings.TrimPrefix(name, "/"))}
	case info.Size() > maxFileBytes:
		return place{err: fmt.Errorf("%s has %d bytes, at most %d are read", strings.TrimPrefix(name, "/"), info.Size(), maxFileBytes)}
	}
	return p
}

func isKustomization(name string) bool {
	return slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name))
}

func (t *tree) record(name string, kind hydrate.InputKind, data []byte) {
	in := hydrate.Input{Path: strings.TrimPrefix(name, "/"), Kind: kind}
	if kind == hydrate.InputFile {
		in.SHA256 = sha256.Sum256(data)
	}
	t.inputs[in.Path] = in
}

// content returns a file as kustomize sees it, by its real path.
func (t *tree) content(name string) ([]byte, error) {
	if t.err != nil {
		return nil, t.err
	}
	if err := t.ctx.Err(); err != nil {
		return nil, t.fail(err)
	}
	if t.reads++; t.reads > maxReads {
		return nil, t.fail(fmt.Errorf("the build reads more than %d files: do overlays multiply?", maxReads))
	}
	if data, ok := t.files[name]; ok {
		return data, nil
	}
	data, err := t.load(name)
	if err != nil {
		return nil, t.fail(err)
	}
	t.record(name, hydrate.InputFile, data)
	if isKustomization(name) {
		if data, err = t.judge(name, data); err != nil {
			t.err = err // it names the line
			return nil, err
		}
	}
	t.files[name] = data
	return data, nil
}

func (t *tree) load(name string) ([]byte, error) {
	if name == generatedFile {
		return t.generated, nil
	}
	root := rootOf(name)
	data, err := bounded.ReadFile(t.roots[root], within(root, name), min(maxFileBytes, maxBytes-t.size))
	if errors.Is(err, bounded.ErrTooLarge) {
		return nil, fmt.Errorf("%s: the build reads more than %d bytes, or more than %d of one file", name, maxBytes, maxFileBytes)
	}
	t.size += int64(len(data))
	if reason, ok := lfs.Unreadable(data); ok {
		return nil, fmt.Errorf("%s %s", strings.TrimPrefix(name, "/"), reason)
	}
	return data, err
}

// list returns the inputs, ordered by path.
func (t *tree) list() []hydrate.Input {
	return slices.SortedFunc(maps.Values(t.inputs), func(a, b hydrate.Input) int { return strings.Compare(a.Path, b.Path) })
}

// clean converts a path of kustomize to the form of the tree on every system.
func clean(name string) string { return path.Clean(filepath.ToSlash(name)) }

// ReadFile implements [filesys.FileSystem].
func (t *tree) ReadFile(name string) ([]byte, error) {
	p := t.lookup(clean(name))
	if p.err == nil && p.folder {
		p.err = errors.New("is a folder, not a file")
	}
	if p.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: p.err}
	}
	return t.content(p.real)
}

// CleanedAbs implements [filesys.FileSystem].
func (t *tree) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	p := t.lookup(clean(name))
	if p.err != nil {
		return "", "", &fs.PathError{Op: "open", Path: name, Err: p.err}
	}
	if p.folder {
		return filesys.ConfirmedDir(filepath.FromSlash(p.real)), "", nil
	}
	return filesys.ConfirmedDir(filepath.FromSlash(path.Dir(p.real))), path.Base(p.real), nil
}

// Exists implements [filesys.FileSystem].
func (t *tree) Exists(name string) bool { return t.lookup(clean(name)).err == nil }

// IsDir implements [filesys.FileSystem].
func (t *tree) IsDir(name string) bool {
	p := t.lookup(clean(name))
	return p.err == nil && p.folder
}

// realPath follows the symbolic links that fsys shows: kustomize resolves relative paths from the target of a link.
func realPath(fsys fs.FS, name string) (string, error) {
	switch fsys := fsys.(type) {
	case interface {
		RealPath(name string) (string, error)
	}:
		return fsys.RealPath(name)
	case fs.ReadLinkFS:
		return followLinks(fsys, name)
	default:
		return name, nil
	}
}

func followLinks(fsys fs.ReadLinkFS, name string) (string, error) {
	at, links := ".", 0
	for pending := strings.Split(name, "/"); len(pending) > 0; {
		next := path.Join(at, pending[0])
		pending = pending[1:]
		if !fs.ValidPath(next) {
			return "", fmt.Errorf("symbolic links of %s lead out of the repository", name)
		}
		info, err := fsys.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = next
			continue
		}
		target, err := fsys.ReadLink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks || path.IsAbs(filepath.ToSlash(target)) {
			return "", fmt.Errorf("symbolic link %s leads to %q, out of the repository or in a circle", next, target)
		}
		pending = append(strings.Split(filepath.ToSlash(target), "/"), pending...)
	}
	return at, nil
}

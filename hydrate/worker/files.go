package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/lockage/lockage/internal/memfs"
)

// maxFile bounds what is sent of a file; renderers refuse smaller ones.
const maxFile = 64 << 20

// maxTrees bounds the file systems of one request.
const maxTrees = 1000

// ability is what a file system of the parent does beside opening files.
type ability uint8

const (
	exists    ability = 1 << iota
	realPaths         // it has a method RealPath
	readLinks         // it is an [fs.ReadLinkFS]
)

type realPather interface {
	RealPath(name string) (string, error)
}

func abilityOf(fsys fs.FS) ability {
	if fsys == nil {
		return 0
	}
	can := exists
	if _, ok := fsys.(realPather); ok {
		can |= realPaths
	}
	if _, ok := fsys.(fs.ReadLinkFS); ok {
		can |= readLinks
	}
	return can
}

// files is a file system of the parent, in the child.
type files struct {
	asker asker
	tree  int
}

// asker sends a question to the parent.
type asker interface {
	ask(q ask) (answer, error)
}

// realFiles is files with real paths, linkedFiles with symbolic links.
type (
	realFiles   struct{ files }
	linkedFiles struct{ files }
)

func newFiles(to asker, tree int, can ability) fs.FS {
	f := files{to, tree}
	switch {
	case can&exists == 0:
		return nil
	case can&realPaths != 0:
		return realFiles{f}
	case can&readLinks != 0:
		return linkedFiles{f}
	}
	return f
}

func (f files) ask(op operation, name string) (answer, error) {
	return f.asker.ask(ask{Operation: op, Tree: f.tree, Name: name})
}

// Open implements [fs.FS].
func (f files) Open(name string) (fs.File, error) {
	a, err := f.ask(opOpen, name)
	if err != nil {
		return nil, err
	}
	if !a.Info.IsDir() {
		return memfs.OpenFile(a.Info, a.Data), nil
	}
	entries := make([]fs.DirEntry, len(a.Entries))
	for i, info := range a.Entries {
		entries[i] = entry{info, f, path.Join(name, info.Base)}
	}
	return memfs.OpenFolder(a.Info, entries), nil
}

// Stat implements [fs.StatFS].
func (f files) Stat(name string) (fs.FileInfo, error) { return info(f.ask(opStat, name)) }

func info(a answer, err error) (fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	return a.Info, nil
}

// Sub implements [fs.SubFS].
func (f files) Sub(dir string) (fs.FS, error) {
	a, err := f.ask(opSub, dir)
	if err != nil {
		return nil, err
	}
	return newFiles(f.asker, a.Tree, a.Ability), nil
}

// RealPath returns the path that name leads to, without symbolic links.
func (f realFiles) RealPath(name string) (string, error) {
	a, err := f.ask(opRealPath, name)
	return a.Path, err
}

// ReadLink implements [fs.ReadLinkFS].
func (f linkedFiles) ReadLink(name string) (string, error) {
	a, err := f.ask(opReadLink, name)
	return a.Path, err
}

// Lstat implements [fs.ReadLinkFS].
func (f linkedFiles) Lstat(name string) (fs.FileInfo, error) { return info(f.ask(opLstat, name)) }

// entry asks for size and time on demand.
type entry struct {
	fs.DirEntry
	files files
	name  string
}

// Info implements [fs.DirEntry].
func (e entry) Info() (fs.FileInfo, error) { return e.files.Stat(e.name) }

// source answers the child's questions during one request.
type source struct {
	trees    []fs.FS
	prefetch func(ctx context.Context, paths ...string) error
	archives Archives
	errs     []error // those that were answered
}

func (s *source) answer(ctx context.Context, q ask) answer {
	a, err := s.find(ctx, q)
	if err != nil {
		s.errs = append(s.errs, err)
		return answer{Fault: newFault(err, len(s.errs))}
	}
	return a
}

func (s *source) find(ctx context.Context, q ask) (a answer, err error) {
	switch {
	case q.Operation == opPrefetch && s.prefetch != nil:
		return a, s.prefetch(ctx, q.Names...)
	case q.Operation == opArchive && s.archives != nil:
		a.Data, err = s.archives.Archive(ctx, q.Repository, q.Chart, q.Version)
		return a, err
	case q.Tree < 0 || q.Tree >= len(s.trees) || s.trees[q.Tree] == nil:
		return a, fmt.Errorf("%s of tree %d: it does not exist", q.Operation, q.Tree)
	}
	tree := s.trees[q.Tree]
	links, _ := tree.(fs.ReadLinkFS)
	switch paths, _ := tree.(realPather); {
	case q.Operation == opOpen:
		return open(tree, q.Name)
	case q.Operation == opStat:
		return infoAnswer(fs.Stat(tree, q.Name))
	case q.Operation == opSub:
		return s.sub(tree, q.Name)
	case q.Operation == opRealPath && paths != nil:
		a.Path, err = paths.RealPath(q.Name)
		return a, err
	case q.Operation == opReadLink && links != nil:
		a.Path, err = links.ReadLink(q.Name)
		return a, err
	case q.Operation == opLstat && links != nil:
		return infoAnswer(links.Lstat(q.Name))
	}
	return a, fmt.Errorf("%s: %w", q.Operation, errors.ErrUnsupported)
}

func (s *source) sub(tree fs.FS, dir string) (answer, error) {
	if len(s.trees) == maxTrees {
		return answer{}, fmt.Errorf("more than %d file systems are open", maxTrees)
	}
	sub, err := fs.Sub(tree, dir)
	if err != nil {
		return answer{}, err
	}
	s.trees = append(s.trees, sub)
	return answer{Tree: len(s.trees) - 1, Ability: abilityOf(sub)}, nil
}

// open reads a file or lists a folder.
func open(tree fs.FS, name string) (a answer, err error) {
	f, err := tree.Open(name)
	if err != nil {
		return a, err
	}
	defer f.Close()
	if a, err = infoAnswer(f.Stat()); err != nil {
		return a, err
	}
	if !a.Info.IsDir() {
		a.Data, err = io.ReadAll(io.LimitReader(f, maxFile))
		return a, err
	}
	entries, err := fs.ReadDir(tree, name)
	for _, e := range entries {
		a.Entries = append(a.Entries, memfs.Info{Base: e.Name(), Bits: e.Type()})
	}
	return a, err
}

func infoAnswer(info fs.FileInfo, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return answer{Info: memfs.Info{Base: info.Name(), Bytes: info.Size(), Bits: info.Mode(), Modified: info.ModTime()}}, nil
}

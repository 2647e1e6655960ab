package board

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// listFile lists the files of a site, so that the next one in its place knows what it may replace and remove.
const listFile = ".lockage-board"

// listHead begins that file.
const listHead = "# The files that lockage status --html wrote here.\n"

// ErrFolder is returned for a folder that holds something else than a site.
var ErrFolder = errors.New("the folder is neither new, empty, nor a board of an earlier run")

// Check reports whether a site may be written to a folder: it is new, empty, or has the site of an earlier run. The error is
// [ErrFolder].
func Check(dir string) error {
	_, err := earlier(dir)
	return err
}

// earlier returns the files of the site that a folder has.
func earlier(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list, err := root.ReadFile(listFile)
	files, ours := strings.CutPrefix(string(list), listHead)
	if err != nil || !ours {
		return nil, fmt.Errorf("%s: %w; name another one, or remove it", dir, ErrFolder)
	}
	return strings.Split(strings.TrimSuffix(files, "\n"), "\n"), nil
}

// Write writes the site to a folder that [Check] allows. Each file is complete before it has its name, the first page is the last
// one, and what only the earlier site had is removed after that: a reader meets no half of a site.
func (b *Board) Write(dir string) (err error) {
	old, err := earlier(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // a site is public
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	var written []string
	create := func(name string, render func(io.Writer) error) error {
		if err := replace(root, name, render); err != nil {
			return err
		}
		written = append(written, name)
		return nil
	}
	list := func(names []string) error {
		return replace(root, listFile, func(w io.Writer) error {
			_, err := io.WriteString(w, listHead+strings.Join(names, "\n")+"\n")
			return err
		})
	}
	if err := list(old); err != nil { // the folder is known if the run is interrupted
		return err
	}
	if err := b.files(create); err != nil {
		return err
	}
	for _, name := range old {
		if !slices.Contains(written, name) && fs.ValidPath(name) {
			if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if folder := path.Dir(name); folder != "." {
				_ = root.Remove(folder) // it stays if something is in it
			}
		}
	}
	slices.Sort(written)
	return list(written)
}

// replace writes a file under another name and renames it.
func replace(root *os.Root, name string, render func(io.Writer) error) (err error) {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	temporary := path.Join(path.Dir(name), ".new-"+path.Base(name))
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(f)
	if err = render(buffered); err == nil {
		err = buffered.Flush()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		err = errors.Join(err, root.Remove(temporary))
	}
	return err
}

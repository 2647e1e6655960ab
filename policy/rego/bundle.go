package rego

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/lockage/lockage/internal/bounded"
)

// ErrUnusable is returned for policies that cannot be used as they are declared, written or pushed.
var ErrUnusable = errors.New("policies cannot be used")

// ErrTooLarge is returned for policies that have more than [MaxBytes]. It is an [ErrUnusable].
var ErrTooLarge = fmt.Errorf("%w: more than %d bytes", ErrUnusable, MaxBytes)

// Bundle is policies while they are read: modules (*.rego) and data files (data.json, data.yaml, data.yml) by path. It is
// bounded by [MaxFiles] and [MaxBytes].
type Bundle struct {
	Files map[string][]byte

	size int64
}

// Load reads and compiles the policies in a folder and its subfolders, *_test.rego left out.
func Load(files fs.FS, folder string) (*Policies, error) {
	var b Bundle
	var p *Policies
	err := b.addFolder(files, folder)
	if err == nil {
		p, err = b.Compile(folder)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	return p, nil
}

// Wanted reports whether a file is a module or data, and no test.
func Wanted(name string) bool {
	return isData(path.Base(name)) || path.Ext(name) == ".rego" && !strings.HasSuffix(name, "_test.rego")
}

func isData(base string) bool {
	return base == "data.json" || base == "data.yaml" || base == "data.yml"
}

// Room is how many more bytes the bundle may have.
func (b *Bundle) Room() int64 { return MaxBytes - b.size }

// Add adds a file.
func (b *Bundle) Add(name string, data []byte) error {
	if _, twice := b.Files[name]; twice {
		return fmt.Errorf("%w: %s is in it twice", ErrUnusable, name)
	}
	if len(b.Files) == MaxFiles {
		return fmt.Errorf("%w: more than %d files", ErrUnusable, MaxFiles)
	}
	if int64(len(data)) > b.Room() {
		return ErrTooLarge
	}
	if b.Files == nil {
		b.Files = make(map[string][]byte)
	}
	b.size += int64(len(data))
	b.Files[name] = data
	return nil
}

// addFolder adds the policies in a folder and its subfolders.
func (b *Bundle) addFolder(files fs.FS, folder string) error {
	if info, err := fs.Stat(files, folder); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the GitOps repository has no such folder", ErrUnusable)
	} else if err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%w: it is a file; name the folder that it is in", ErrUnusable)
	}
	return fs.WalkDir(files, folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !Wanted(name) {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%w: %s is not a regular file", ErrUnusable, name)
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := ReadAll(f, b.Room())
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return b.Add(strings.TrimPrefix(strings.TrimPrefix(name, folder), "/"), data)
	})
}

// ReadAll reads at most limit bytes; more are [ErrUnusable].
func ReadAll(r io.Reader, limit int64) ([]byte, error) {
	data, err := bounded.Read(r, limit)
	if errors.Is(err, bounded.ErrTooLarge) {
		return nil, ErrTooLarge
	}
	return data, err
}

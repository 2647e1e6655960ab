package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/lockage/lockage/internal/bounded"
)

// errMissing is returned by a store that does not hold an object.
var errMissing = errors.New("object is not here")

// encoded is an object without the header that git hashes with it.
type encoded struct {
	kind plumbing.ObjectType
	data []byte

	// Of a blob to push, instead of data: see [Deflater].
	deflated []byte
	length   int // of the data, in bytes
}

// size is that of the data, in bytes.
func (e encoded) size() int {
	if e.deflated != nil {
		return e.length
	}
	return len(e.data)
}

// as returns the content of an object that was read from a place, if it is of a kind.
func (e encoded) as(kind plumbing.ObjectType, id plumbing.Hash, from fmt.Stringer) ([]byte, error) {
	if e.kind != kind {
		return nil, invalidf("object %s in %s is a %s, not a %s", id, from, e.kind, kind)
	}
	return e.data, nil
}

// object returns the object as go-git takes it.
func (e encoded) object() (*plumbing.MemoryObject, error) {
	raw := &plumbing.MemoryObject{}
	raw.SetType(e.kind)
	_, err := raw.Write(e.data)
	return raw, err
}

func (e encoded) id() plumbing.Hash { return plumbing.ComputeHash(e.kind, e.data) }

// maxBases bounds the objects of a store that are kept for those that are stored as differences from them, in bytes.
const maxBases = 8 * cache.MiByte

// store is one object folder in git's format. It is safe for concurrent use and sees objects that other processes add.
type store struct {
	dir string // the folder that holds objects/

	mu      sync.Mutex // go-git's storage is not safe for concurrent use
	storage *filesystem.Storage
	packed  time.Time // modification time of objects/pack when it was indexed
}

// newStore opens the folder dir, whose shared part is commonDir.
func newStore(dir, commonDir string) *store {
	files := osfs.New(dir)
	if commonDir != dir {
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(commonDir))
	}
	s := &store{
		dir: commonDir,
		storage: filesystem.NewStorageWithOptions(onlyPacks{files, map[string]string{}}, cache.NewObjectLRU(maxBases),
			filesystem.Options{LargeObjectThreshold: MaxObjectBytes, MaxOpenDescriptors: 4}),
	}
	s.reindex()
	return s
}

// onlyPacks hides what go-git looks for before it looks into packs, for which it resolves the links of each folder above: the list of
// alternates, which Repository opens once, and loose objects, which the store reads itself. Packs have the names that go-git asks for,
// their checksums: former versions of git and JGit name them by the objects in them.
type onlyPacks struct {
	billy.Filesystem
	named map[string]string // the names of packs without endings, by what they are shown as
}

func (p onlyPacks) Open(name string) (billy.File, error) {
	dir, base := filepath.Split(name)
	if base == "alternates" || len(base) == 38 && len(filepath.Base(dir)) == 2 {
		return nil, fs.ErrNotExist
	}
	ending := filepath.Ext(base)
	if actual, ok := p.named[strings.TrimSuffix(base, ending)]; ok {
		name = filepath.Join(dir, actual+ending)
	}
	return p.Filesystem.Open(name)
}

// ReadDir shows packs by their checksums.
func (p onlyPacks) ReadDir(name string) ([]os.FileInfo, error) {
	files, err := p.Filesystem.ReadDir(name)
	for i, file := range files {
		actual, isPack := strings.CutSuffix(file.Name(), ".pack")
		if !isPack {
			continue
		}
		if sum, err := p.checksum(filepath.Join(name, file.Name()), file.Size()); err == nil && actual != "pack-"+sum {
			p.named["pack-"+sum] = actual
			files[i] = shown{file, "pack-" + sum + ".pack"}
		}
	}
	return files, err
}

// checksum returns the end of a pack (gitformat-pack(5)).
func (p onlyPacks) checksum(name string, size int64) (string, error) {
	file, err := p.Filesystem.Open(name)
	if err != nil {
		return "", err
	}
	var sum plumbing.Hash
	_, err = file.ReadAt(sum[:], size-int64(len(sum)))
	return sum.String(), errors.Join(err, file.Close())
}

// shown is a file by another name.
type shown struct {
	os.FileInfo
	name string
}

func (s shown) Name() string { return s.name }

// loose returns the file of an object that is not in a pack.
func (s *store) loose(id plumbing.Hash) string {
	name := id.String()
	return filepath.Join(s.dir, "objects", name[:2], name[2:])
}

// read returns an object, checked against its id, or errMissing.
func (s *store) read(id plumbing.Hash) (encoded, error) {
	loose, damage := readLoose(s.loose(id), id)
	if damage == nil {
		return loose, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	obj, err := s.storage.EncodedObject(plumbing.AnyObject, id)
	if err != nil && s.reindex() {
		// A repack by another process moves objects between packs.
		obj, err = s.storage.EncodedObject(plumbing.AnyObject, id)
	}
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		if errors.Is(damage, fs.ErrNotExist) {
			return encoded{}, errMissing
		}
		if errors.Is(damage, bounded.ErrTooLarge) {
			return encoded{}, fmt.Errorf("object %s in %s: %w", id, s.dir, damage)
		}
		return encoded{}, fmt.Errorf("object %s in %s is damaged (run git fsck there): %w", id, s.dir, damage)
	}
	var read encoded
	if err == nil {
		read, err = decode(obj)
	}
	if errors.Is(err, idxfile.ErrMalformedIdxFile) {
		err = fmt.Errorf("the index of a pack is damaged, or not of version 2 (run git -c pack.indexVersion=2 repack -ad there): %w", err)
	}
	if err != nil {
		return encoded{}, fmt.Errorf("object %s in %s: %w", id, s.dir, err)
	}
	if read.id() != id {
		return encoded{}, fmt.Errorf("object %s in %s is damaged (run git fsck there)", id, s.dir)
	}
	return read, nil
}

func decode(obj plumbing.EncodedObject) (encoded, error) {
	if obj.Size() > MaxObjectBytes {
		return encoded{}, fmt.Errorf("it has %d bytes, %w of %d", obj.Size(), bounded.ErrTooLarge, int64(MaxObjectBytes))
	}
	r, err := obj.Reader()
	if err != nil {
		return encoded{}, err
	}
	data, err := bounded.ReadSized(r, obj.Size(), MaxObjectBytes)
	return encoded{kind: obj.Type(), data: data}, errors.Join(err, r.Close())
}

// has reports whether the object is listed, without reading it.
func (s *store) has(id plumbing.Hash) bool {
	if info, err := os.Stat(s.loose(id)); err == nil && info.Size() > 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.storage.HasEncodedObject(id) == nil {
		return true
	}
	return s.reindex() && s.storage.HasEncodedObject(id) == nil
}

// reindex drops the index of packs if their folder changed, and reports whether it did.
func (s *store) reindex() bool {
	info, err := os.Stat(filepath.Join(s.dir, "objects", "pack"))
	if err != nil || info.ModTime().Equal(s.packed) {
		return false
	}
	s.packed = info.ModTime()
	s.storage.Reindex()
	return true
}

// alternates lists the parents of object folders in objects/info/alternates, transitively (gitrepository-layout(5)).
func alternates(commonDir string) ([]string, error) {
	var found []string
	seen := map[string]bool{filepath.Join(commonDir, "objects"): true}
	for queue := []string{filepath.Join(commonDir, "objects")}; len(queue) > 0; queue = queue[1:] {
		list, err := os.ReadFile(filepath.Join(queue[0], "info", "alternates"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(list)) {
			line = strings.TrimRight(line, "\r\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if line = below(queue[0], line); seen[line] {
				continue
			}
			if seen[line] = true; len(seen) > maxAlternates {
				return nil, fmt.Errorf("%s has more than %d alternates", commonDir, maxAlternates)
			}
			if filepath.Base(line) != "objects" {
				return nil, fmt.Errorf("alternate %s of %s is not a folder named objects", line, commonDir)
			}
			if _, err := os.Stat(line); err != nil {
				return nil, fmt.Errorf("alternate of %s: %w", commonDir, err)
			}
			found = append(found, filepath.Dir(line))
			queue = append(queue, line)
		}
	}
	return found, nil
}

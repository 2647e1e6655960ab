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

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"

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

	mu     sync.Mutex   // go-git's packfile is not safe for concurrent use
	bases  cache.Object // of deltas, of all packs
	packs  []*pack      // nil until one is asked for
	packed time.Time    // modification time of objects/pack when it was listed
}

// newStore opens the folder dir, which holds objects/.
func newStore(dir string) *store {
	s := &store{dir: dir, bases: cache.NewObjectLRU(maxBases)}
	s.reindex()
	return s
}

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
	read, err := s.unpack(id)
	if err != nil && s.reindex() {
		// A repack by another process moves objects between packs.
		read, err = s.unpack(id)
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
	for {
		if found, err := s.find(id); err == nil && found != nil {
			return true
		}
		if !s.reindex() {
			return false
		}
	}
}

// reindex drops the list of packs if their folder changed, and reports whether it did.
func (s *store) reindex() bool {
	info, err := os.Stat(s.packDir())
	if err != nil || info.ModTime().Equal(s.packed) {
		return false
	}
	s.packed = info.ModTime()
	for _, p := range s.packs {
		p.close()
	}
	s.packs = nil
	return true
}

func (s *store) packDir() string { return filepath.Join(s.dir, "objects", "pack") }

// unpack returns an object out of a pack, or [plumbing.ErrObjectNotFound].
func (s *store) unpack(id plumbing.Hash) (encoded, error) {
	p, err := s.find(id)
	if err != nil {
		return encoded{}, err
	}
	if p == nil {
		return encoded{}, plumbing.ErrObjectNotFound
	}
	return p.read(id)
}

// find returns the pack that has an object, nil for none.
func (s *store) find(id plumbing.Hash) (*pack, error) {
	if s.packs == nil {
		names, err := filepath.Glob(filepath.Join(s.packDir(), "pack-*.idx"))
		if err != nil {
			return nil, err
		}
		s.packs = make([]*pack, 0, len(names))
		for _, name := range names {
			name = strings.TrimSuffix(name, ".idx")
			if _, err := os.Stat(name + ".pack"); err == nil { // else who wrote or removed it was stopped
				s.packs = append(s.packs, &pack{name: name, bases: s.bases})
			}
		}
	}
	for i, p := range s.packs {
		found, err := p.has(id)
		if err != nil {
			return nil, err
		}
		if found { // objects that are read together lie together
			copy(s.packs[1:i+1], s.packs[:i])
			s.packs[0] = p
			return p, nil
		}
	}
	return nil, nil
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

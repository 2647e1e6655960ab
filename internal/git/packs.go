package git

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// pack is a pack on disk with its index, which are opened when they are asked for. It is not safe for concurrent use.
type pack struct {
	name  string // of its files, without their ends
	bases cache.Object

	index   *packIndex
	file    billy.File
	objects *packfile.Packfile
}

func (p *pack) has(id plumbing.Hash) (bool, error) {
	if p.index == nil {
		index, err := openIndex(p.name + ".idx")
		if err != nil {
			return false, err
		}
		p.index = index
	}
	_, found, err := p.index.position(id)
	return found, err
}

// read returns an object that the pack has.
func (p *pack) read(id plumbing.Hash) (encoded, error) {
	if p.file == nil {
		dir := osfs.New(filepath.Dir(p.name))
		file, err := dir.Open(filepath.Base(p.name) + ".pack")
		if err != nil {
			return encoded{}, err
		}
		p.file, p.objects = file, packfile.NewPackfileWithCache(p.index, dir, file, p.bases, MaxObjectBytes)
	}
	obj, err := p.objects.Get(id)
	if err != nil {
		return encoded{}, err
	}
	return decode(obj)
}

func (p *pack) close() {
	if p.index != nil {
		_ = p.index.file.Close()
	}
	if p.file != nil {
		_ = p.file.Close()
	}
}

// Where the tables of an index begin, in bytes (gitformat-pack(5), version 2). Each has an entry for each object, in the order of their ids.
const (
	indexNames  = 8 + 256*4
	nameSize    = 20
	crcSize     = 4
	offsetSize  = 4
	largeOffset = 1 << 31 // the rest is a position in the table of larger offsets, of 8 bytes each
)

// maxPosition bounds the objects of a pack, and maxOffset its size in bytes, so that both fit into 64 bits.
const (
	positionBits = 28
	maxPosition  = 1<<positionBits - 1
	maxOffset    = 1<<(64-positionBits) - 1
)

// packIndex says where in a pack objects are. It is read from its file where it is asked, and keeps 8 bytes an object once a pack with
// differences was read: repositories have millions.
type packIndex struct {
	idxfile.Index // no more is asked than what is below

	file     *os.File
	fanout   [256]uint32 // how many ids begin with at most this byte
	byOffset []uint64    // the offset of each object, and its position in the last positionBits
}

func openIndex(name string) (*packIndex, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	index := &packIndex{file: file}
	if err := index.readHead(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	return index, nil
}

func (x *packIndex) readHead() error {
	var head [indexNames]byte
	if _, err := x.file.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(head[8+4*i:])
	}
	info, err := x.file.Stat()
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(head[:], []byte("\xfftOc\x00\x00\x00\x02")) || !slices.IsSorted(x.fanout[:]) || info.Size() < x.offsets()+x.count()*offsetSize {
		return idxfile.ErrMalformedIdxFile
	}
	return nil
}

func (x *packIndex) count() int64 { return int64(x.fanout[255]) }

// offsets is where the table of offsets begins.
func (x *packIndex) offsets() int64 { return indexNames + x.count()*(nameSize+crcSize) }

func (x *packIndex) nameAt(position int64) (id plumbing.Hash, err error) {
	_, err = x.file.ReadAt(id[:], indexNames+position*nameSize)
	return id, err
}

// position returns that of an object in each table.
func (x *packIndex) position(id plumbing.Hash) (at int64, found bool, err error) {
	first := int64(0)
	if id[0] > 0 {
		first = int64(x.fanout[id[0]-1])
	}
	n, found := sort.Find(int(int64(x.fanout[id[0]])-first), func(i int) int {
		other, failed := x.nameAt(first + int64(i))
		err = cmp.Or(err, failed)
		return bytes.Compare(id[:], other[:])
	})
	return first + int64(n), found, err
}

// FindOffset implements [idxfile.Index].
func (x *packIndex) FindOffset(id plumbing.Hash) (int64, error) {
	at, found, err := x.position(id)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, plumbing.ErrObjectNotFound
	}
	var offset [offsetSize]byte
	if _, err := x.file.ReadAt(offset[:], x.offsets()+at*offsetSize); err != nil {
		return 0, err
	}
	whole, err := x.whole(binary.BigEndian.Uint32(offset[:]))
	return int64(whole), err //nolint:gosec // at most maxOffset
}

// whole returns the offset that an entry of the table means.
func (x *packIndex) whole(entry uint32) (uint64, error) {
	offset := uint64(entry)
	if entry >= largeOffset {
		var large [8]byte
		if _, err := x.file.ReadAt(large[:], x.offsets()+x.count()*offsetSize+int64(entry-largeOffset)*8); err != nil {
			return 0, err
		}
		offset = binary.BigEndian.Uint64(large[:])
	}
	if offset > maxOffset {
		return 0, fmt.Errorf("%w: offset %d", idxfile.ErrMalformedIdxFile, offset)
	}
	return offset, nil
}

// FindHash implements [idxfile.Index].
func (x *packIndex) FindHash(offset int64) (plumbing.Hash, error) {
	if x.byOffset == nil {
		if err := x.sort(); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	want := uint64(max(offset, 0))
	i, _ := slices.BinarySearch(x.byOffset, want<<positionBits)
	if i == len(x.byOffset) || x.byOffset[i]>>positionBits != want {
		return plumbing.ZeroHash, plumbing.ErrObjectNotFound
	}
	return x.nameAt(int64(x.byOffset[i] & maxPosition))
}

func (x *packIndex) sort() error {
	if x.count() > maxPosition {
		return fmt.Errorf("a pack has %d objects, above the limit of %d", x.count(), maxPosition)
	}
	table := make([]byte, x.count()*offsetSize)
	if _, err := x.file.ReadAt(table, x.offsets()); err != nil {
		return err
	}
	x.byOffset = make([]uint64, x.count())
	for i := range x.byOffset {
		offset, err := x.whole(binary.BigEndian.Uint32(table[i*offsetSize:]))
		if err != nil {
			return err
		}
		x.byOffset[i] = offset<<positionBits | uint64(i)
	}
	slices.Sort(x.byOffset)
	return nil
}

package git

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"io"

	"github.com/go-git/go-git/v5/plumbing/hash"
	"github.com/klauspost/compress/zlib"
)

// packOf returns objects as a pack, each whole (gitformat-pack(5)). It shares the memory of those that are compressed.
func packOf(objects []encoded) io.Reader {
	sum := hash.New(crypto.SHA1)
	var parts []io.Reader
	add := func(part []byte) {
		_, _ = sum.Write(part) // never fails
		parts = append(parts, bytes.NewReader(part))
	}
	head := append([]byte("PACK"), 0, 0, 0, 2)
	add(binary.BigEndian.AppendUint32(head, uint32(len(objects)))) //nolint:gosec // they are in memory
	deflater := NewDeflater()
	for _, o := range objects {
		add(packHeader(o))
		if o.deflated == nil {
			o.deflated = deflater.deflate(o.data)
		}
		add(o.deflated)
	}
	parts = append(parts, bytes.NewReader(sum.Sum(nil)))
	return io.MultiReader(parts...)
}

// packHeader is the kind and size of an object: four bits of the size, and seven in each byte that follows.
func packHeader(o encoded) []byte {
	size := uint64(o.size())                  //nolint:gosec // it is not negative
	first := byte(o.kind)<<4 | byte(size&0xf) //nolint:gosec // kinds are 1 to 4
	if size >>= 4; size == 0 {
		return []byte{first}
	}
	return binary.AppendUvarint([]byte{first | 0x80}, size)
}

// Deflater compresses contents to what a pack holds of them, a small part of the memory. It is not safe for concurrent use.
type Deflater struct {
	out bytes.Buffer
	z   *zlib.Writer // into out
}

// NewDeflater returns a compressor, whose tables take some hundred kilobytes.
func NewDeflater() *Deflater {
	d := &Deflater{}
	d.z, _ = zlib.NewWriterLevel(&d.out, zlib.BestSpeed) // as git does for what it sends soon; the level is valid
	return d
}

// Deflate returns a blob that holds its content compressed.
func (d *Deflater) Deflate(b Blob) Blob {
	if b.data == nil {
		return b
	}
	return Blob{ID: b.ID, length: len(b.data), deflated: d.deflate(b.data)}
}

func (d *Deflater) deflate(data []byte) []byte {
	d.out.Reset()
	d.z.Reset(&d.out)
	_, _ = d.z.Write(data) // into memory, which never fails
	_ = d.z.Close()
	return bytes.Clone(d.out.Bytes())
}

// inflated returns an object with its data.
func (e encoded) inflated() (encoded, error) {
	if e.deflated == nil {
		return e, nil
	}
	z, err := zlib.NewReader(bytes.NewReader(e.deflated))
	if err != nil {
		return e, err
	}
	data := make([]byte, e.length)
	_, err = io.ReadFull(z, data)
	return encoded{kind: e.kind, data: data}, err
}

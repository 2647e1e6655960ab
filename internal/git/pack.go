package git

import (
	"crypto"
	"encoding/binary"
	"io"

	"github.com/go-git/go-git/v5/plumbing/hash"
	"github.com/klauspost/compress/zlib"
)

// writePack writes objects as a pack, each whole (gitformat-pack(5)).
func writePack(w io.Writer, objects []encoded) error {
	sum := hash.New(crypto.SHA1)
	out := io.MultiWriter(w, sum)
	head := append([]byte("PACK"), 0, 0, 0, 2)
	if _, err := out.Write(binary.BigEndian.AppendUint32(head, uint32(len(objects)))); err != nil { //nolint:gosec // they are in memory
		return err
	}
	z, err := zlib.NewWriterLevel(out, zlib.BestSpeed) // as git does for what it sends soon
	if err != nil {
		return err
	}
	for _, o := range objects {
		if _, err := out.Write(packHeader(o)); err != nil {
			return err
		}
		z.Reset(out)
		if _, err := z.Write(o.data); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// packHeader is the kind and size of an object: four bits of the size, and seven in each byte that follows.
func packHeader(o encoded) []byte {
	size := uint64(len(o.data))
	first := byte(o.kind)<<4 | byte(size&0xf) //nolint:gosec // kinds are 1 to 4
	if size >>= 4; size == 0 {
		return []byte{first}
	}
	return binary.AppendUvarint([]byte{first | 0x80}, size)
}

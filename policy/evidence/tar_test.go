package evidence

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/lockage/lockage/policy/rego"
)

// Whatever an archive holds, it gives clean paths within bounds, or rego.ErrUnusable.
func FuzzUntar(f *testing.F) {
	for _, name := range []string{"x.rego", "/lib/data.json", "../x.rego", "x_test.rego"} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1}); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write([]byte("x")); err != nil || w.Close() != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, archive []byte) {
		b := bundle{}
		if err := b.untar(bytes.NewReader(archive)); err != nil && !errors.Is(err, rego.ErrUnusable) {
			t.Errorf("error is %v", err)
		}
		for name := range b.Files {
			if !fs.ValidPath(name) || !rego.Wanted(name) {
				t.Errorf("%q was kept", name)
			}
		}
	})
}

// An archive that goes on behind the bound is refused, also where what is read of it looks whole.
func TestUntarBoundBetweenFiles(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "a.rego", Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	filler := make([]byte, maxArchive-b.Len()-512) // the block before it is its header
	if err := w.WriteHeader(&tar.Header{Name: "filler", Typeflag: tar.TypeReg, Size: int64(len(filler))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(filler); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteHeader(&tar.Header{Name: "deny.rego", Typeflag: tar.TypeReg}); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	files := bundle{}
	if err := files.untar(&b); !errors.Is(err, rego.ErrUnusable) {
		t.Errorf("read %d files of two: %v", len(files.Files), err)
	}
}

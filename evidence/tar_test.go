package evidence

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"testing"

	"github.com/lockage/lockage/policy"
)

// Whatever an archive holds, it gives clean paths within bounds, or ErrPolicy.
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
		b := bundle{policy.Bundle{}, 0}
		if err := b.untar(bytes.NewReader(archive)); err != nil && !errors.Is(err, ErrPolicy) {
			t.Errorf("error is %v", err)
		}
		for name := range b.files {
			if !fs.ValidPath(name) || !wanted(name) {
				t.Errorf("%q was kept", name)
			}
		}
	})
}

package oci

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestUnpackReturnsWhatWasPacked(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	tree, err := Unpack(bytes.NewReader(a.Layer), a.Blobs()[1].Descriptor(), a.ContentDigest)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, f := range sample() {
		names = append(names, name)
		if got, err := tree.ReadFile(name); err != nil || !bytes.Equal(got, f.Data) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := fstest.TestFS(tree, names...); err != nil {
		t.Error(err)
	}
	if tree.ContentDigest() != a.ContentDigest {
		t.Errorf("content digest %s", tree.ContentDigest())
	}
	data, err := tree.ReadFile("a-b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if again, _ := tree.ReadFile("a-b.yaml"); bytes.Equal(again, data) {
		t.Error("a caller can change the tree")
	}
}

type entry struct {
	tar.Header
	data string
}

// layerOf compresses a tar and returns it with the digests that it really has, so
// that only the form can be at fault.
func layerOf(t testing.TB, plain []byte) ([]byte, ocispec.Descriptor, digest.Digest) {
	t.Helper()
	var layer bytes.Buffer
	zw := gzip.NewWriter(&layer)
	if _, err := zw.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return layer.Bytes(), describe(ocispec.MediaTypeImageLayerGzip, layer.Bytes()), digest.FromBytes(plain)
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var plain bytes.Buffer
	tw := tar.NewWriter(&plain)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Mode == 0 {
			e.Mode = 0o644
		}
		e.Size = int64(len(e.data))
		if err := tw.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return plain.Bytes()
}

// TestEmptyTree packs a tree without a file: its tar has no entry.
func TestEmptyTree(t *testing.T) {
	t.Parallel()
	packed := mustPack(t, fstest.MapFS{}, nil)
	layer, desc, diffID := layerOf(t, tarOf(t))
	if packed.ContentDigest != diffID {
		t.Errorf("its tar has the digest %s, want %s", packed.ContentDigest, diffID)
	}
	tree, err := Unpack(bytes.NewReader(layer), desc, diffID)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := tree.ReadDir("."); err != nil || len(entries) > 0 {
		t.Errorf("it has %v, %v", entries, err)
	}
}

func TestUnpackRefusesForms(t *testing.T) {
	t.Parallel()
	file := func(name string) entry { return entry{Header: tar.Header{Name: name}, data: "x"} }
	typed := func(name string, flag byte, link string) entry {
		return entry{Header: tar.Header{Name: name, Typeflag: flag, Linkname: link}}
	}
	tests := map[string]struct {
		entries []entry
		want    string
	}{
		"parent":         {[]entry{file("../x")}, "not a clean relative path"},
		"inner parent":   {[]entry{file("a/../../x")}, "not a clean relative path"},
		"absolute":       {[]entry{file("/etc/passwd")}, "not a clean relative path"},
		"dot":            {[]entry{file("./x")}, "not a clean relative path"},
		"root":           {[]entry{typed("./", tar.TypeDir, "")}, "not a clean relative path"},
		"backslash":      {[]entry{file(`..\x`)}, "backslash"},
		"symlink":        {[]entry{typed("l", tar.TypeSymlink, "/etc/passwd")}, "neither a regular file"},
		"hard link":      {[]entry{typed("l", tar.TypeLink, "x")}, "neither a regular file"},
		"device":         {[]entry{typed("d", tar.TypeChar, "")}, "neither a regular file"},
		"fifo":           {[]entry{typed("f", tar.TypeFifo, "")}, "neither a regular file"},
		"twice":          {[]entry{file("x"), file("x")}, "occurs twice"},
		"below a file":   {[]entry{file("x"), file("x/y")}, "below a file"},
		"file and dir":   {[]entry{file("x"), typed("x/", tar.TypeDir, "")}, "occurs twice"},
		"order":          {[]entry{file("b"), file("a")}, "another tool"},
		"no directories": {[]entry{file("a/b")}, "another tool"},
		"mode":           {[]entry{{Header: tar.Header{Name: "x", Mode: 0o777}, data: "x"}}, "another tool"},
		"owner":          {[]entry{{Header: tar.Header{Name: "x", Uname: "root"}, data: "x"}}, "another tool"},
		"folders":        {[]entry{typed("d/", tar.TypeDir, "")}, "no file"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			layer, desc, diffID := layerOf(t, tarOf(t, test.entries...))
			if _, err := Unpack(bytes.NewReader(layer), desc, diffID); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestUnpackRefusesStreams(t *testing.T) {
	t.Parallel()
	a := mustPack(t, fstest.MapFS{"x": {Data: []byte("x")}}, nil)
	good := a.Blobs()[1].Descriptor()
	other := digest.FromString("other")
	described := func(layer []byte) ocispec.Descriptor { return describe(ocispec.MediaTypeImageLayerGzip, layer) }
	twice := slices.Concat(a.Layer, a.Layer)
	trailing := slices.Concat(a.Layer, []byte("x"))
	hidden, hiddenDesc, hiddenID := layerOf(t, slices.Concat(tarOf(t, entry{Header: tar.Header{Name: "x"}, data: "x"}), []byte("more")))
	tests := map[string]struct {
		layer  []byte
		desc   ocispec.Descriptor
		diffID digest.Digest
		want   string
	}{
		"diff id":        {a.Layer, good, other, "its tar has digest"},
		"no diff id":     {a.Layer, good, "", "not a sha256 digest"},
		"digest":         {a.Layer, ocispec.Descriptor{MediaType: good.MediaType, Digest: other, Size: good.Size}, a.ContentDigest, "content has digest"},
		"longer":         {trailing, good, a.ContentDigest, "longer than allowed"},
		"shorter":        {a.Layer[:len(a.Layer)-1], good, a.ContentDigest, "EOF"},
		"trailing":       {trailing, described(trailing), a.ContentDigest, "data follows"},
		"second stream":  {twice, described(twice), a.ContentDigest, "data follows"},
		"behind the tar": {hidden, hiddenDesc, hiddenID, "another tool"},
		"no gzip":        {[]byte("neither plain nor packed"), described([]byte("neither plain nor packed")), a.ContentDigest, "gzip"},
		"media type":     {a.Layer, describe("application/vnd.oci.image.layer.v1.tar+zstd", a.Layer), a.ContentDigest, "media type"},
		"huge":           {a.Layer, ocispec.Descriptor{MediaType: good.MediaType, Digest: good.Digest, Size: MaxBlobSize + 1}, a.ContentDigest, "larger than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Unpack(bytes.NewReader(test.layer), test.desc, test.diffID); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestUnpackLeavesBombs expands beyond each limit: in one file, in many, and behind
// the end of the tar.
func TestUnpackLeavesBombs(t *testing.T) {
	t.Parallel()
	limit := bounds{file: 1 << 20, tar: 4 << 20}
	half := strings.Repeat("\x00", int(limit.file)/2)
	var many []entry
	for i := range 2*limit.tar/limit.file + 1 {
		many = append(many, entry{Header: tar.Header{Name: strings.Repeat("f", int(i)+1)}, data: half})
	}
	padded := append(tarOf(t, entry{Header: tar.Header{Name: "x"}, data: "x"}), make([]byte, limit.tar)...)
	for name, test := range map[string]struct {
		plain []byte
		want  string
	}{
		"one file":       {tarOf(t, entry{Header: tar.Header{Name: "x"}, data: half + half + "x"}), "larger than"},
		"many files":     {tarOf(t, many...), "than"},
		"behind the end": {padded, "longer than allowed"},
	} {
		layer, desc, diffID := layerOf(t, test.plain)
		if _, err := unpack(bytes.NewReader(layer), desc, diffID, limit); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, test.want)
		}
	}
}

// FuzzUnpack checks that whatever tar is accepted is the one that its files make.
func FuzzUnpack(f *testing.F) {
	var plain bytes.Buffer
	if err := writeTar(&plain, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(plain.Bytes())
	f.Add(tarOf(f, entry{Header: tar.Header{Name: "../x"}, data: "x"}))
	f.Add(tarOf(f, entry{Header: tar.Header{Name: "a/b", PAXRecords: map[string]string{"comment": "x"}}, data: "x"}))
	f.Fuzz(func(t *testing.T, plain []byte) {
		layer, desc, diffID := layerOf(t, plain)
		tree, err := Unpack(bytes.NewReader(layer), desc, diffID)
		if err != nil {
			return
		}
		if got, err := ContentDigest(tree); err != nil || got != diffID {
			t.Errorf("accepted %s, repacked %s, %v", diffID, got, err)
		}
		err = fs.WalkDir(tree, ".", func(name string, _ fs.DirEntry, err error) error {
			if name != "." {
				if err := checkPath(name); err != nil {
					t.Error(err)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// FuzzUnpackStream feeds bytes that need not even be gzip.
func FuzzUnpackStream(f *testing.F) {
	f.Add(mustPack(f, sample(), nil).Layer)
	f.Fuzz(func(t *testing.T, layer []byte) {
		desc := describe(ocispec.MediaTypeImageLayerGzip, layer)
		if _, err := Unpack(bytes.NewReader(layer), desc, digest.FromString("x")); err == nil {
			t.Error("accepted with the digest of something else")
		}
	})
}

package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// sample has what matters to the form: nesting, a name that sorts between a
// directory and its files, a name too long for USTAR, an empty file.
func sample() fstest.MapFS {
	return fstest.MapFS{
		"a/deployment-web.yaml":              {Data: []byte("kind: Deployment\nname: web\n"), Mode: 0o600, ModTime: time.Unix(1e9, 0)},
		"a-b.yaml":                           {Data: []byte(strings.Repeat("kind: ConfigMap\n", 500))},
		"empty.yaml":                         {},
		strings.Repeat("n", 200) + "-ü.yaml": {Data: []byte("long: true\n")},
	}
}

var sampleAnnotations = map[string]string{
	ocispec.AnnotationCreated:  "2026-03-22T12:34:56Z",
	ocispec.AnnotationRevision: "sha1:0123456789012345678901234567890123456789",
	"dev.lockage.stage":        "production",
}

func mustPack(t testing.TB, tree fs.FS, annotations map[string]string) Artifact {
	t.Helper()
	a, err := Pack(tree, annotations)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestPackGolden pins the artifact bit for bit. Where only the last two differ, the
// gzip encoder changed: say so in the changelog, since every manifest gets a new
// digest. Where ContentDigest differs, the identity of all trees is broken.
func TestPackGolden(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), sampleAnnotations)
	for what, digests := range map[string][2]string{
		"content":  {a.ContentDigest.String(), "sha256:378589e587e01fc41d07caaea2f89fa6e9f1bae2eb1b4f5d31f6f34b40eead55"},
		"config":   {describe("", a.Config).Digest.String(), "sha256:3848a373ee4095cf135e207f2aa1465cc59a338fd95744dba2c8f4eac79978b2"},
		"layer":    {describe("", a.Layer).Digest.String(), "sha256:8c747f7defaa05c0a83c251f6bc89f4fea4a5e26c748c6432ed8bae6ffda0c99"},
		"manifest": {a.Descriptor.Digest.String(), "sha256:3b385f3fc3ea4c1690d2f78ee70902c4e15512b02074ef789e6e3318e6e35a6a"},
	} {
		if digests[0] != digests[1] {
			t.Errorf("%s digest is %s, was %s", what, digests[0], digests[1])
		}
	}
	if got := a.Layer[:10]; !bytes.Equal(got, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}) {
		t.Errorf("gzip header % x", got)
	}
	want := `{"created":"2026-03-22T12:34:56Z","architecture":"unknown","os":"unknown","config":{},` +
		`"rootfs":{"type":"layers","diff_ids":["` + a.ContentDigest.String() + `"]}}`
	if string(a.Config) != want {
		t.Errorf("config %s, want %s", a.Config, want)
	}
}

func TestPackTarForm(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	zr, err := gzip.NewReader(bytes.NewReader(a.Layer)) // the standard library as another reader
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		mode, format := int64(0o644), tar.FormatUSTAR
		if strings.HasSuffix(h.Name, "/") {
			mode = 0o755
		}
		if len(h.Name) > 100 {
			format = tar.FormatPAX
		}
		if h.Mode != mode || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 || h.Format != format {
			t.Errorf("header %+v", h)
		}
	}
	want := []string{"a-b.yaml", "a/", "a/deployment-web.yaml", "empty.yaml", strings.Repeat("n", 200) + "-ü.yaml"}
	if !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
}

// TestPackIgnoresTheMachine packs from a disk with other modes, times and order.
func TestPackIgnoresTheMachine(t *testing.T) {
	t.Parallel()
	want := mustPack(t, sample(), sampleAnnotations).Descriptor.Digest
	for i, mode := range []fs.FileMode{0o600, 0o664, 0o755} {
		dir := t.TempDir()
		for name, f := range sample() {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, time.Unix(int64(i), 0), time.Unix(int64(i), 0)); err != nil {
				t.Fatal(err)
			}
		}
		if got := mustPack(t, os.DirFS(dir), sampleAnnotations).Descriptor.Digest; got != want {
			t.Errorf("mode %o: %s, want %s", mode, got, want)
		}
	}
}

func TestContentDigestIsTheDiffID(t *testing.T) {
	t.Parallel()
	a := mustPack(t, sample(), nil)
	got, err := ContentDigest(sample())
	if err != nil || got != a.ContentDigest {
		t.Errorf("%s, %v; want %s", got, err, a.ContentDigest)
	}
}

// opened counts how often each file is opened; to ask for a size opens it, too.
type opened struct {
	files fs.FS
	times map[string]int
}

func (o opened) Open(name string) (fs.File, error) {
	o.times[name]++
	return o.files.Open(name)
}

// The digest of a tree that is read from Git costs one reading of each file.
func TestContentDigestReadsOnce(t *testing.T) {
	t.Parallel()
	tree := opened{sample(), map[string]int{}}
	if _, err := ContentDigest(tree); err != nil {
		t.Fatal(err)
	}
	for name := range sample() {
		if tree.times[name] != 1 {
			t.Errorf("%s was opened %d times", name, tree.times[name])
		}
	}
}

func TestPackRefuses(t *testing.T) {
	t.Parallel()
	many := fstest.MapFS{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprintf("f%d", i)] = &fstest.MapFile{}
	}
	tests := map[string]struct {
		tree        fs.FS
		annotations map[string]string
		want        string
	}{
		"directories": {tree: fstest.MapFS{"d": {Mode: fs.ModeDir | 0o755}}, want: "no file"},
		"symlink":     {tree: fstest.MapFS{"l": {Data: []byte("x"), Mode: fs.ModeSymlink}}, want: "neither a regular file"},
		"device":      {tree: fstest.MapFS{"d": {Mode: fs.ModeDevice}}, want: "neither a regular file"},
		"backslash":   {tree: fstest.MapFS{`a\b`: {}}, want: "backslash"},
		"newline":     {tree: fstest.MapFS{"a\nb": {}}, want: "control"},
		"long":        {tree: fstest.MapFS{strings.Repeat("x", MaxPathLength+1): {}}, want: "longer than"},
		"many":        {tree: many, want: "more than"},
		"big file":    {tree: fstest.MapFS{"f": {Data: make([]byte, MaxFileSize+1)}}, want: "larger than"},
		"bad created": {tree: sample(), annotations: map[string]string{ocispec.AnnotationCreated: "yesterday"}, want: "created"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Pack(test.tree, test.annotations); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	for _, size := range []struct {
		name         string
		files, bytes int
	}{{"small", 12, 2 << 10}, {"large", 130, 40 << 10}} {
		tree := fstest.MapFS{}
		for i := range size.files {
			var data bytes.Buffer
			for line := 0; data.Len() < size.bytes; line++ {
				fmt.Fprintf(&data, "  key%d: value-%d\n", line, line*i)
			}
			tree[fmt.Sprintf("configmap-%d.yaml", i)] = &fstest.MapFile{Data: data.Bytes()}
		}
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(size.files * size.bytes))
			for b.Loop() {
				if _, err := Pack(tree, sampleAnnotations); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

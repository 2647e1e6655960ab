package diff

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
)

var update = flag.Bool("update", false, "write the golden files")

// checkGolden compares with testdata/golden/<name>.
func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got), run with -update if that is right:\n%s", name, d)
	}
}

// release returns the fixture: two releases of a monitoring stack, cut down by hand to typical objects.
func release(t testing.TB) (before, after []hydrate.Object) {
	t.Helper()
	return readDir(t, "testdata/release/before"), readDir(t, "testdata/release/after")
}

func readDir(t testing.TB, dir string) []hydrate.Object {
	t.Helper()
	objects, err := Read(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func compare(t testing.TB, before, after []hydrate.Object, options Options) Changes {
	t.Helper()
	changes, err := Compare(before, after, options)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestGolden(t *testing.T) {
	t.Parallel()
	before, after := release(t)
	changes := compare(t, before, after, Options{})
	all := compare(t, before, after, Options{All: true})
	for _, test := range []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"release.txt", func(b *bytes.Buffer) error { return changes.WriteText(b, TextOptions{}) }},
		{"release.color.txt", func(b *bytes.Buffer) error { return changes.WriteText(b, TextOptions{Color: true}) }},
		{"release.all.txt", func(b *bytes.Buffer) error { return all.WriteText(b, TextOptions{}) }},
		{"release.md", func(b *bytes.Buffer) error { return changes.WriteMarkdown(b, MarkdownOptions{}) }},
		{"release.short.md", func(b *bytes.Buffer) error {
			return changes.WriteMarkdown(b, MarkdownOptions{Limit: 4000, Link: "https://ci.example.com/diff/7"})
		}},
		{"release.json", func(b *bytes.Buffer) error { return writeJSON(b, changes) }},
		{"release.html", func(b *bytes.Buffer) error {
			return changes.WriteHTML(b, HTMLOptions{Title: "monitoring: production", Before: "live", After: "candidate"})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := test.write(&b); err != nil {
				t.Fatal(err)
			}
			checkGolden(t, test.name, b.Bytes())
		})
	}
}

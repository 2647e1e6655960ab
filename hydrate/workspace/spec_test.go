package workspace

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSplitSpec(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ spec, remote, ref string }{
		{"", "", ""},
		{"origin", "origin", ""},
		{"origin@main", "origin", "main"},
		{"@main", "", "main"},
		{"origin@release/1", "origin", "release/1"},
		{"https://host/x.git", "https://host/x.git", ""},
		{"https://host/x.git@main", "https://host/x.git", "main"},
		{"https://user:secret@host/x.git@main", "https://user:secret@host/x.git", "main"},
		{"https://user:secret@host/x.git", "https://user:secret@host/x.git", ""},
		{"https://user:secret@host", "https://user:secret@host", ""},
		{"ssh://git@host/x.git@main", "ssh://git@host/x.git", "main"},
		{"git@github.com:acme/x.git@main", "git@github.com:acme/x.git", "main"},
		{"git@github.com:acme/x.git", "git@github.com:acme/x.git", ""},
		{"file:///srv/x.git@main", "file:///srv/x.git", "main"},
	} {
		if remote, ref := splitSpec(c.spec); remote != c.remote || ref != c.ref {
			t.Errorf("%q is %q at %q, want %q at %q", c.spec, remote, ref, c.remote, c.ref)
		}
	}
}

// A sparse checkout has some files of a folder on disk, and a glob must see the others too.
func TestPresentListsBoth(t *testing.T) {
	t.Parallel()
	files := present{
		onDisk:    fstest.MapFS{"apps/b.yaml": {Data: []byte("disk")}, "apps/new.yaml": {}},
		committed: fstest.MapFS{"apps/a.yaml": {}, "apps/b.yaml": {Data: []byte("committed")}, "other/c.yaml": {}},
	}
	for pattern, want := range map[string]string{
		"apps/*.yaml":  "apps/a.yaml apps/b.yaml apps/new.yaml",
		"other/*.yaml": "other/c.yaml",
		"none/*.yaml":  "",
	} {
		found, err := fs.Glob(files, pattern)
		if got := strings.Join(found, " "); err != nil || got != want {
			t.Errorf("%s finds %q (%v), want %q", pattern, got, err, want)
		}
	}
	if data, err := fs.ReadFile(files, "apps/b.yaml"); err != nil || string(data) != "disk" {
		t.Errorf("apps/b.yaml is %q (%v), want what is on disk", data, err)
	}
}

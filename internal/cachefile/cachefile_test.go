package cachefile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "a", "b")
	for _, want := range []string{"one", ""} {
		if err := Write(name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	info, err := os.Stat(filepath.Dir(name))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the folder is open to others: %v, %v", info.Mode(), err)
	}
	if err := Write(filepath.Join(name, "below-a-file"), nil); err == nil {
		t.Error("wrote below a file")
	}
	if err := os.Mkdir(filepath.Join(dir, "a", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "a", "folder"), nil); err == nil {
		t.Error("replaced a folder")
	}
	left, err := fs.Glob(os.DirFS(dir), "a/.new-*")
	if err != nil || left != nil {
		t.Errorf("%v stay behind, %v", left, err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	if err := Explain("cache x", nil); err != nil {
		t.Error(err)
	}
	full := Explain("cache x", &fs.PathError{Op: "write", Path: "y", Err: syscall.ENOSPC})
	if !strings.HasPrefix(full.Error(), "cache x: write y: ") || !strings.Contains(full.Error(), "free some space") {
		t.Error(full)
	}
	if err := Explain("cache x", fs.ErrPermission); err.Error() != "cache x: permission denied" {
		t.Error(err)
	}
}

//go:build unix

package lock

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWriteUmask is not parallel: the umask is the process's.
func TestWriteUmask(t *testing.T) {
	root, dir := openRoot(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	w, err := Write(t.Context(), root, "b", fullLock(), line{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []WrittenFile{w.History, w.Current} {
		info, err := os.Stat(filepath.Join(dir, f.Path))
		if err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: mode %v, %v", f.Path, info.Mode(), err)
		}
	}
}

// TestWriteFullDisk lets the kernel refuse to write: not parallel, the limit is
// the process's.
func TestWriteFullDisk(t *testing.T) {
	root, dir := openRoot(t)
	if _, err := Write(t.Context(), root, "b", at(strings.Repeat("a", 40)), nil); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	_, err := Write(t.Context(), root, "b", fullLock(), line{strings.Repeat("a", 40), commit})
	if e := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); e != nil {
		t.Fatal(e)
	}
	if err == nil {
		t.Fatal("no error")
	}
	entries, err := os.ReadDir(filepath.Join(dir, "b"))
	if len(entries) != 2 || err != nil {
		t.Errorf("files were left: %v, %v", entries, err)
	}
	if f, err := Current(root.FS(), "b"); err != nil || f.GitCommit != strings.Repeat("a", 40) {
		t.Errorf("current.yaml is %+v, %v", f, err)
	}
}

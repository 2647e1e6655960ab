package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// TestDiskFull fills a real file system, where the machine lets us make one.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	t.Cleanup(func() {
		// A child that another test is starting may hold a descriptor for a moment.
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	c, err := openCache(filepath.Join(dir, "cache"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err = c.write(encoded{kind: plumbing.BlobObject, data: fmt.Appendf(nil, "%d", i)}); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
		t.Fatalf("on a full disk: %v", err)
	}
	// What was written is whole, and nothing else is left behind.
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), "tmp-") {
			t.Errorf("left behind: %s", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if obj, err := c.read(plumbing.ComputeHash(plumbing.BlobObject, []byte("0"))); err != nil || string(obj.data) != "0" {
		t.Errorf("%q %v", obj.data, err)
	}
}

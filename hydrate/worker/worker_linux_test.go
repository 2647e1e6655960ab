package worker

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestEndsWithItsParent kills a parent whose child renders without end.
func TestEndsWithItsParent(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	inherited, err := os.Create(filepath.Join(t.TempDir(), "inherited"))
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	parent := exec.Command(program, "parent")
	parent.ExtraFiles = []*os.File{inherited}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child := filepath.Join("/proc", strings.TrimSpace(line))
	if environ, err := os.ReadFile(filepath.Join(child, "environ")); err != nil || string(environ) != "TZ=UTC\x00" {
		t.Errorf("environment of the child: %q, %v", environ, err)
	}
	descriptors, err := os.ReadDir(filepath.Join(child, "fd"))
	if err != nil {
		t.Error(err)
	}
	for _, d := range descriptors {
		if target, _ := os.Readlink(filepath.Join(child, "fd", d.Name())); target == inherited.Name() {
			t.Errorf("the child has descriptor %s of its parent's parent open", d.Name())
		}
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	for {
		status, err := os.ReadFile(filepath.Join(child, "stat"))
		if errors.Is(err, fs.ErrNotExist) || strings.Contains(string(status), ") Z ") {
			return
		}
		time.Sleep(time.Millisecond) // the test's own limit ends this
	}
}

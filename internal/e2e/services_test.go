package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// services are programs that run until the test ends, in a folder of their own.
type services struct {
	t   *testing.T
	dir string
	env []string // beside the test's
}

func (s *services) path(name string) string { return filepath.Join(s.dir, name) }

// start runs a service until the test ends.
func (s *services) start(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	out, err := os.Create(s.path(name + ".log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, out, out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = out.Close()
		if s.t.Failed() {
			log := read(s.t, out.Name())
			s.t.Logf("%s:\n%s", name, log[max(0, len(log)-10_000):])
		}
	})
	return cmd
}

//go:build unix

package worker

import (
	"os/exec"
	"syscall"
	"time"
)

// usage returns the processor time of this process.
func usage() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// detach keeps signals of a terminal, which are meant for the parent, from a child that does not ignore them yet.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

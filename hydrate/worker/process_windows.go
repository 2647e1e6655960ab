package worker

import (
	"os/exec"
	"syscall"
	"time"
)

// usage returns the processor time of this process.
func usage() time.Duration {
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0
	}
	var created, ended, kernel, user syscall.Filetime
	if syscall.GetProcessTimes(process, &created, &ended, &kernel, &user) != nil {
		return 0
	}
	hundreds := func(t syscall.Filetime) int64 { return int64(t.HighDateTime)<<32 + int64(t.LowDateTime) }
	return time.Duration(hundreds(kernel)+hundreds(user)) * 100
}

// detach keeps signals of a terminal, which are meant for the parent, from a child that does not ignore them yet.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

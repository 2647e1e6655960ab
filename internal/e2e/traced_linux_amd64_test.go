package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
)

// errTracedKilled is returned by traced for a program that it killed.
var errTracedKilled = errors.New("killed by its tracer")

// ptrace(2)
const (
	traceExitKill = 0x100000
	syscallStop   = syscall.SIGTRAP | 0x80
)

// traced runs a program, and kills it before its n-th rename of a file that goes to an image layout, counted from 1; 0 for never.
// It returns how many of them there were.
func traced(cmd *exec.Cmd, n int) (renames int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A process group of its own: the children of others, which this thread may have started, are not waited for.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return 0, err
	}
	err = errors.Join(syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACECLONE|syscall.PTRACE_O_TRACESYSGOOD|traceExitKill), syscall.PtraceSyscall(pid, 0))
	inside := map[int]bool{} // threads that are in a system call
	killed := false
	for err == nil {
		var thread int
		if thread, err = syscall.Wait4(-pid, &status, syscall.WALL, nil); err != nil {
			break
		}
		switch {
		case thread == pid && (status.Exited() || status.Signaled()):
			_ = cmd.Process.Release()
			switch {
			case killed:
				return renames, errTracedKilled
			case status.ExitStatus() != 0:
				return renames, fmt.Errorf("exit status %d", status.ExitStatus())
			}
			return renames, nil
		case !status.Stopped():
			delete(inside, thread)
			continue
		}
		signal := 0
		switch stop := status.StopSignal(); stop {
		case syscallStop:
			if inside[thread] = !inside[thread]; inside[thread] && renamesLayout(thread) {
				if renames++; renames == n {
					killed = true
					err = syscall.Kill(pid, syscall.SIGKILL)
					continue
				}
			}
		case syscall.SIGTRAP, syscall.SIGSTOP: // a new thread
		default:
			signal = int(stop)
		}
		_ = syscall.PtraceSyscall(thread, signal) // the thread may be dead by now
	}
	return renames, err
}

// renamesLayout reports whether a thread is about to rename a file that oci's layout wrote.
func renamesLayout(thread int) bool {
	var regs syscall.PtraceRegs
	if syscall.PtraceGetRegs(thread, &regs) != nil {
		return false
	}
	at := regs.Rdi
	switch regs.Orig_rax {
	case syscall.SYS_RENAME:
	case syscall.SYS_RENAMEAT, 316: // renameat2
		at = regs.Rsi
	default:
		return false
	}
	name := make([]byte, 1024)
	read, _ := syscall.PtracePeekData(thread, uintptr(at), name)
	name, _, _ = bytes.Cut(name[:read], []byte{0})
	return bytes.Contains(name, []byte("/.incoming-"))
}

//go:build !race

package worker

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// limitMemory makes the system refuse the process more than so many further bytes of private memory.
func limitMemory(more int64) {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return // without /proc the process watches itself only
	}
	fields := bytes.Fields(statm)
	if len(fields) < 6 {
		return
	}
	pages, err := strconv.ParseInt(string(fields[5]), 10, 64) // data and stack
	if err != nil {
		return
	}
	limit := uint64(pages*int64(os.Getpagesize()) + more) //nolint:gosec // neither is negative
	var now syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_DATA, &now) == nil && now.Cur > limit {
		now.Cur = limit
		_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &now)
	}
}

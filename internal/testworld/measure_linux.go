package testworld

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Consumption is what a program and its children took.
type Consumption struct {
	Processor, Wall time.Duration
	Memory          int64 // the peak of all together, each shared page once
}

// Add adds what another program took, after this one.
func (c *Consumption) Add(other Consumption) {
	c.Processor += other.Processor
	c.Wall += other.Wall
	c.Memory = max(c.Memory, other.Memory)
}

// Measure runs a program, which must succeed, and returns what it prints.
func Measure(t testing.TB, cmd *exec.Cmd) ([]byte, Consumption) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var peak int64
	var sampling sync.WaitGroup
	done := make(chan struct{})
	sampling.Go(func() {
		for ticks := time.NewTicker(20 * time.Millisecond); ; {
			peak = max(peak, resident(cmd.Process.Pid))
			select {
			case <-done:
				ticks.Stop()
				return
			case <-ticks.C:
			}
		}
	})
	err := cmd.Wait()
	close(done)
	sampling.Wait()
	if err != nil {
		t.Fatalf("%v: %v\n%s\n%.2000s", cmd, err, stderr.String(), stdout.String())
	}
	return stdout.Bytes(), Consumption{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begin), peak}
}

var share = regexp.MustCompile(`(?m)^Pss: +(\d+) kB$`)

// resident returns the resident memory of a process and its descendants, each shared page once.
func resident(pid int) (bytes int64) {
	process := fmt.Sprintf("/proc/%d/", pid)
	if rollup, err := os.ReadFile(process + "smaps_rollup"); err == nil {
		if m := share.FindSubmatch(rollup); m != nil {
			kilobytes, _ := strconv.ParseInt(string(m[1]), 10, 64)
			bytes = kilobytes << 10
		}
	}
	tasks, _ := filepath.Glob(process + "task/*/children")
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				bytes += resident(n)
			}
		}
	}
	return bytes
}

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/samplechart"
)

// maxResident is what 30 stages of a large chart may take at the peak.
const maxResident = 400 << 20

// runMeasured is the program, which tells its peak of resident memory at the end. The parent cannot ask for that: the
// kernel counts the parent's own memory in, up to the moment of exec.
func runMeasured() {
	code := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitFailed)
	}
	fmt.Fprintf(os.Stderr, "%s", status)
	os.Exit(code)
}

func TestMemoryOf30LargeStages(t *testing.T) {
	if testing.Short() {
		t.Skip("renders 30 stages of a large chart")
	}
	chart := samplechart.Large()
	if dir := os.Getenv("LOCKAGE_CHART"); dir != "" {
		chart = os.DirFS(dir)
	}
	s := newBench(t, chart)
	for _, action := range []string{"pushed", "unchanged"} {
		var stderr strings.Builder
		cmd := exec.Command("lockage-measured", s.args()...)
		cmd.Stderr = &stderr
		stdout, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr.String())
		}
		if n := strings.Count(string(stdout), `"action": "`+action+`"`); n != benchStages {
			t.Fatalf("%d stages are %s\n%s", n, action, stdout)
		}
		peak := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindStringSubmatch(stderr.String())
		if peak == nil {
			t.Fatalf("no VmHWM in %s", stderr.String())
		}
		kilobytes, err := strconv.Atoi(peak[1])
		if err != nil {
			t.Fatal(err)
		}
		spent := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		t.Logf("%s: %d MB, %.1f s of processor time", action, kilobytes>>10, spent.Seconds())
		if kilobytes<<10 > maxResident {
			t.Errorf("%s: the peak of resident memory is %d MB, more than %d", action, kilobytes>>10, maxResident>>20)
		}
	}
}

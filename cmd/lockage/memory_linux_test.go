package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/samplechart"
	"github.com/lockage/lockage/internal/testworld"
)

// maxResident is what 30 stages of a large chart may take at the peak, in the program and its children.
const maxResident = 300 << 20

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
		stdout, took := testworld.Measure(t, exec.Command("lockage", s.args()...))
		if n := strings.Count(string(stdout), `"action": "`+action+`"`); n != benchStages {
			t.Fatalf("%d stages are %s\n%s", n, action, stdout)
		}
		t.Logf("%s: %d MB, %.1f s of processor time", action, took.Memory>>20, took.Processor.Seconds())
		if took.Memory > maxResident {
			t.Errorf("%s: the peak of memory is %d MB, more than %d", action, took.Memory>>20, maxResident>>20)
		}
	}
}

package startup

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// TestPostpone collects once, and finds the percentage of before. It does not run beside other tests.
func TestPostpone(t *testing.T) {
	const usual = 70
	defer debug.SetGCPercent(debug.SetGCPercent(usual))
	if postpone("50") != 0 || debug.SetGCPercent(usual) != usual {
		t.Error("the percentage of the environment is not kept")
	}
	if postpone(""); debug.SetGCPercent(percent) != percent {
		t.Error("the percentage is not raised")
	}
	for { // finalizers run in their own time
		runtime.GC()
		runtime.Gosched()
		if now := debug.SetGCPercent(percent); now == usual {
			return
		} else if now != percent {
			t.Fatalf("the percentage is %d after a collection, want %d", now, usual)
		}
	}
}

// TestRestore leaves a percentage that somebody set.
func TestRestore(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(150))
	if restore(70); debug.SetGCPercent(150) != 150 {
		t.Error("the percentage that was set is not kept")
	}
}

package worker

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// confine bounds the process where the runtime and the system can.
func confine(b Bounds) {
	debug.SetMaxStack(int(b.Stack))
	// Near the bound the collector works harder, so that garbage does not count.
	debug.SetMemoryLimit(b.Memory * 3 / 4)
	// One render uses one processor; there are as many children as processors. The collector costs less if it need not stop others.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(150)
	// One allocation may be larger than all memory. The bound leaves room for what the runtime maps and does not use.
	limitMemory(2 * b.Memory)
}

// resident returns the bytes that the runtime has of the system, stacks included.
func resident() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64()) //nolint:gosec // the bytes of a process
}

package worker

import (
	"fmt"
	"time"
)

// Bounds limit one render.
type Bounds struct {
	Memory int64         // bytes that a child takes of the machine
	Stack  int64         // bytes of the stack of one goroutine
	Output int64         // bytes of all manifests
	Time   time.Duration // processor time of the child
}

// Limits are the bounds of the program. The largest of some nine hundred stages of public repositories takes a tenth of each,
// and kube-prometheus-stack less.
var Limits = Bounds{
	// Enough for any chart, and little enough for the 7 GB of a CI runner with four processors.
	Memory: 1 << 30,
	// Templates that include themselves a thousand times, the most that Helm allows, take less than 16 MB.
	Stack: 128 << 20,
	// The parent decodes it, into some ten times as many bytes.
	Output: 32 << 20,
	// Of a slow or emulated machine too.
	Time: time.Minute,
}

// bound is a bound that a child exceeded.
type bound string

const (
	boundMemory bound = "memory"
	boundStack  bound = "stack"
	boundTime   bound = "time"
)

// describe names the bound that was exceeded, and what to look for.
func (b Bounds) describe(exceeded bound) string {
	switch exceeded {
	case boundTime:
		return fmt.Sprintf("the render was stopped after %v of processor time; does a loop run without end?", b.Time)
	case boundStack:
		return fmt.Sprintf("the render was stopped at %d MB of stack; does something include or call itself (tpl) without end?", b.Stack>>20)
	default:
		return fmt.Sprintf("the render was stopped at %d MB of memory; does it build a list or text that grows without end?", b.Memory>>20)
	}
}

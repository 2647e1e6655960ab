// Package startup postpones the first garbage collection of a process that imports it.
//
// Initializing the packages of the program allocates some 11 MB and keeps 5. The runtime collects from 4 MB on, three times before main
// runs, which takes a third of the processor time of a start. With this package it collects from 16 MB on; after the first collection the
// percentage is what it was. It has to be a package: main runs too late.
package startup

import (
	"os"
	"runtime"
	"runtime/debug"
)

// percent of 4 MB is the size of the heap at the first collection.
const percent = 400

// marker is what the first collection finds unused. It holds a byte that is not shared with other small objects.
type marker struct{ _ [64]byte }

var _ = postpone(os.Getenv("GOGC"))

// postpone raises the percentage until the first collection, unless the environment sets one.
func postpone(environment string) (usual int) {
	if environment != "" {
		return 0
	}
	usual = debug.SetGCPercent(percent)
	runtime.SetFinalizer(&marker{}, func(*marker) { restore(usual) })
	return usual
}

// restore sets the percentage back, unless somebody set another one meanwhile.
func restore(usual int) {
	if now := debug.SetGCPercent(usual); now != percent {
		debug.SetGCPercent(now)
	}
}

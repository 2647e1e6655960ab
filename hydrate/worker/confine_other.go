//go:build !linux

package worker

// limitMemory does nothing: the process watches itself only.
func limitMemory(int64) {}

// closeInherited does nothing.
func closeInherited() {}

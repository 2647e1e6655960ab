//go:build !linux || race

package worker

// limitMemory does nothing: the process watches itself only. The race detector takes several times the program's memory for itself.
func limitMemory(int64) {}

//go:build !linux

package worker

// closeInherited does nothing.
func closeInherited() {}

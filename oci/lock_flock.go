//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockage/lockage/internal/retry"
)

const lockPoll = 5 * time.Millisecond

// lockFile takes the advisory lock of f, which ends with f or the process. It polls: a blocking flock is not interruptible.
func lockFile(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			if err := retry.Sleep(ctx, lockPoll); err != nil {
				return fmt.Errorf("wait for another writer of %s: %w", f.Name(), err)
			}
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOLCK):
			return nil // some network file systems; one process at a time then
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// Command lockage renders each stage's Kubernetes manifests at a locked commit into signed OCI artifacts, and proves
// afterwards that what was reviewed is what was signed is what runs.
//
// One file a verb: flags in, one call into a package, a result out. Results go to standard output, everything else
// to standard error.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // windows of time name zones, and a container may have no zoneinfo
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; with the handler gone, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	// The date functions of chart templates tell the time in the zone of this variable, and a render must not depend on
	// where it happens.
	time.Local = time.UTC
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: func() {}}
	cmd := newRootCommand(a)
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	leaf, err := cmd.ExecuteContextC(ctx)
	err = stopped(leaf.Context(), err)
	a.stop()
	return a.finish(err)
}

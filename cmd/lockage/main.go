// Command lockage renders the Kubernetes manifests of each stage at a locked commit into signed OCI artifacts, verifies them,
// and promotes them from stage to stage.
//
// Each verb has one file: flags in, one call into a package, a result out. Results go to standard output, everything else
// to standard error.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // gates name time zones, and a container may have no zoneinfo

	_ "golang.org/x/crypto/x509roots/fallback" // a container may have no certificate authorities

	"github.com/lockage/lockage/hydrate/worker"
	_ "github.com/lockage/lockage/internal/startup" // a start collects no garbage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal stops the run in order. It also removes the handler, so that a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	// The date functions of chart templates use this time zone, and a render must not depend on the machine.
	time.Local = time.UTC
	if isRenderChild(os.Args) {
		stop()
		os.Exit(serveRenders(os.Stdin, os.Stdout))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: func() {}, line: &progressLine{}, bounds: worker.Limits}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	cmd := newRootCommand(a)
	cmd.SetArgs(args)
	cmd.SetIn(a.stdin)
	cmd.SetOut(a.stdout)
	cmd.SetErr(a.stderr)
	leaf, err := cmd.ExecuteContextC(ctx)
	err = errors.Join(stopped(leaf.Context(), a.tally, err), a.leftOut)
	if a.opened != nil && exitCode(err) == exitUsage {
		if where := a.opened.ReadAt(leaf.Context()); where != "" {
			a.warning(where)
		}
	}
	if exitCode(err) == exitUsage && asksForJSON(args) {
		a.format = "json"
	}
	a.stop()
	if a.renders != nil {
		a.renders.Close()
	}
	return a.finish(err)
}

// asksForJSON reports whether arguments ask for JSON, also behind one that ended their parsing.
func asksForJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--":
			return false
		case "-ojson", "-o=json", "--output=json":
			return true
		case "-o", "--output":
			if i+1 < len(args) && args[i+1] == "json" {
				return true
			}
		}
	}
	return false
}

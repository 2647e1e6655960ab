package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/oci/registry"
)

func newDemoCommand(a *app) *cobra.Command {
	var dir, addr string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole workflow on a temporary registry",
		Long: `Demo makes a source repository with a chart, a GitOps repository of four stages, a registry and keys in a folder, and
runs the workflow on them, from the lock to production, printing each command. It touches nothing outside the folder.`,
		Example: `  lockage demo
  lockage demo --dir /tmp/lockage-demo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), dir, addr) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "new or empty folder `DIR` to work in (default: a temporary one)")
	cmd.Flags().StringVar(&addr, "addr", "127.0.0.1:0", "`ADDRESS` of the registry; port 0 means a free one")
	return cmd
}

func (a *app) demo(ctx context.Context, dir, addr string) (err error) {
	listener, err := listen(ctx, addr, false)
	if err != nil {
		return err
	}
	if dir, err = demoDir(dir); err != nil {
		return errors.Join(err, listener.Close())
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		served <- registry.Serve(serving, listener, registry.Options{Dir: filepath.Join(dir, "registry")})
	}()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()

	host := listener.Addr().String()
	fmt.Fprintf(a.stdout, "Everything is in %s: source, GitOps repository, keys, and a registry on %s.\n", dir, host)
	setup, err := demo.Prepare(ctx, dir, demo.Options{Registry: host, Now: time.Now(), Change: demo.Promotable})
	if err != nil {
		return err
	}
	if err := exportKeys(setup); err != nil {
		return err
	}
	for _, step := range demoSteps {
		fmt.Fprintf(a.stdout, "\n# %s\n$ lockage %s\n", step.why, step.command)
		args := append([]string{"-C", setup.GitOpsDir, "--cache-dir", filepath.Join(dir, "cache")}, strings.Fields(step.command)...)
		if code := run(ctx, args, a.stdin, a.stdout, a.stderr); code != step.code {
			return reported{code, fmt.Errorf("lockage %s: exit status %d", step.command, code)}
		}
	}
	fmt.Fprintf(a.stdout, `
# Now try it yourself. The registry stops with this demo: start it again, and set the keys.
%[9]slockage registry serve --addr %[1]s --dir %[2]s/registry &
export %[3]s="$(cat %[4]s)" %[10]s="$(cat %[11]s)" COSIGN_PASSWORD=
cd %[5]s

lockage pull production                        # the signed manifests
lockage render production --worktree           # the manifests with your changes
git log origin/live/codeai/production          # after git fetch: what was live, and the record of each promotion
crane ls %[6]s
cosign verify --insecure-ignore-tlog --key %[7]s %[6]s:production.git-%[8]s
`, host, dir, demo.PrivateKeyVariable, setup.PrivateKey, setup.GitOpsDir, setup.Artifacts, demo.PublicKey, setup.Commit, pathHint(), demo.PromoterVariable, setup.Promoter)
	return nil
}

func exportKeys(setup demo.Setup) error {
	if err := os.Setenv("COSIGN_PASSWORD", ""); err != nil {
		return err
	}
	for name, file := range map[string]string{demo.PrivateKeyVariable: setup.PrivateKey, demo.PromoterVariable: setup.Promoter} {
		key, err := os.ReadFile(file)
		if err == nil {
			err = os.Setenv(name, string(key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// demoSteps are the commands of the demonstration, with their exit statuses.
var demoSteps = []struct {
	why, command string
	code         int
}{
	{"A release is a lock in Git: one source commit and one image digest. Check it.", "lock check", exitDone},
	{"Render the chart at the locked commit for every stage; pack, sign, push and tag each, and show each on its branch.", "hydrate", exitDone},
	{"A second run changes nothing.", "hydrate", exitDone},
	{"Verify that the artifact in the registry was made from the lock, by the hydrator, and is unaltered.", "verify production", exitDone},
	{"Production comes after test and review: not yet.", "promote production", exitDenied},
	{"Promote what is ready to the stages with auto: true. Nothing is rendered: a record is signed, and a tag moves.", "promote --ready", exitDone},
	{"The next stages, and now production.", "promote test review production", exitDone},
	{"What is live, and where?", "status", exitDone},
	{"Which checks let it into production?", "history production", exitDone},
}

// pathHint returns a line that adds this program to the shell's PATH, unless it is there already.
func pathHint() string {
	if _, err := exec.LookPath("lockage"); err == nil {
		return ""
	}
	program, err := os.Executable()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("export PATH=%q:$PATH\n", filepath.Dir(program))
}

func demoDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "lockage-demo-")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user names the folder
		return "", err
	}
	if err := checkEmpty(dir); err != nil {
		return "", usageError{err}
	}
	return filepath.Abs(dir)
}

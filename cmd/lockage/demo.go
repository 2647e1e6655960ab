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
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), dir, addr)
		},
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
	stand, err := demo.Prepare(ctx, dir, demo.Options{Registry: host, Now: time.Now(), Change: demo.Promotable})
	if err != nil {
		return err
	}
	for name, file := range map[string]string{demo.PrivateKeyVariable: stand.PrivateKey, demo.PromoterVariable: stand.Promoter} {
		key, err := os.ReadFile(file)
		if err == nil {
			err = os.Setenv(name, string(key))
		}
		if err != nil {
			return err
		}
	}
	if err := os.Setenv("COSIGN_PASSWORD", ""); err != nil {
		return err
	}
	for _, scene := range []struct {
		why  string
		code int // that it ends with
		args []string
	}{
		{"A release is a lock in Git: one source commit and one image digest. Is it consistent?", exitDone, []string{"lock", "check"}},
		{"Render the chart at the locked commit for every stage; pack, sign, push and tag each, and show each on its branch.", exitDone, []string{"hydrate"}},
		{"The same again finds that everything is there.", exitDone, []string{"hydrate"}},
		{"Is what stands in the registry what the lock says, by whom, and unaltered?", exitDone, []string{"verify", "production"}},
		{"Production comes after test and review: not yet.", exitDenied, []string{"promote", "production"}},
		{"What is ready goes to the stages that are auto; nothing is rendered, a record is signed and a tag moved.", exitDone, []string{"promote", "--ready"}},
		{"The next stages, and now production.", exitDone, []string{"promote", "test", "review", "production"}},
		{"What is live, and where?", exitDone, []string{"status"}},
		{"Who let it into production, and why?", exitDone, []string{"history", "production"}},
	} {
		fmt.Fprintf(a.stdout, "\n# %s\n$ lockage %s\n", scene.why, strings.Join(scene.args, " "))
		args := append([]string{"-C", stand.GitOpsDir, "--cache-dir", filepath.Join(dir, "cache")}, scene.args...)
		if code := run(ctx, args, a.stdin, a.stdout, a.stderr); code != scene.code {
			return reported{code, fmt.Errorf("lockage %s: exit status %d", strings.Join(scene.args, " "), code)}
		}
	}
	fmt.Fprintf(a.stdout, `
# Now try it yourself. The registry stops with this demo; start it again, and give lockage the key:
%[9]slockage registry serve --addr %[1]s --dir %[2]s/registry &
export %[3]s="$(cat %[4]s)" %[10]s="$(cat %[11]s)" COSIGN_PASSWORD=
cd %[5]s

lockage pull production                        # the manifests that are signed
lockage render production --worktree           # what your changes would make of them
git log origin/live/codeai/production          # after git fetch: what was live, and which record says so
crane ls %[6]s
cosign verify --insecure-ignore-tlog --key %[7]s %[6]s:production.git-%[8]s
`, host, dir, demo.PrivateKeyVariable, stand.PrivateKey, stand.GitOpsDir, stand.Artifacts, demo.PublicKey, stand.Commit, pathHint(), demo.PromoterVariable, stand.Promoter)
	return nil
}

// pathHint is a line that makes the shell find this program, where it would not by itself.
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

// demoDir makes the folder of the demonstration.
func demoDir(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "lockage-demo-")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the user names the folder
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", usagef("folder %s is not empty; name another one", dir)
	}
	return filepath.Abs(dir)
}

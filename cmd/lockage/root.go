package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

// app is what every verb shares in one run: where it reads and writes, and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	dir      string
	files    []string
	format   string
	progress string
	cacheDir string
	timeout  time.Duration
	verbose  bool

	stop    context.CancelFunc // releases what --timeout holds
	results any                // what -o json prints, once the verb has it
}

const longHelp = `Lockage renders every stage's Kubernetes manifests at a locked commit into signed OCI artifacts, tagged by image
digest, verifies them, and promotes them from stage to stage. Git and an OCI registry are its only state.

  lockage demo                  see the whole job on a throw-away registry
  lockage lock check            is the lock consistent with Git and the registry?
  lockage render STAGE          look at what a stage would become
  lockage hydrate               render, pack, sign and push every stage
  lockage verify STAGE          prove what stands in the registry
  lockage promote STAGE         judge a release, record that, and let it run
  lockage status                what is live, and what is out of step?

Exit status: 0 done; 1 failed; 2 wrong usage or configuration; 3 denied by verification or policy;
4 diff --exit-code found changes; 5 not yet, only pending gates stand in the way.`

func newRootCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "lockage",
		Short:         "From a lock in Git to signed manifests in a registry",
		Long:          longHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.validate(); err != nil {
				return err
			}
			// Helm speaks through the standard logger, of merged values and tags that are tables, say.
			log.SetFlags(0)
			log.SetOutput(io.Discard)
			if a.verbose {
				log.SetOutput(a.stderr)
			}
			if a.timeout > 0 {
				ctx, cancel := context.WithTimeoutCause(cmd.Context(), a.timeout,
					fmt.Errorf("not finished within --timeout %s", a.timeout))
				a.stop = cancel
				cmd.SetContext(ctx)
			}
			return nil
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %q", err, cmd.CommandPath()+" --help")
	})
	cmd.CompletionOptions.HiddenDefaultCmd = false

	flags := cmd.PersistentFlags()
	flags.StringVarP(&a.dir, "directory", "C", ".", "run as if started in `DIR`, inside the GitOps repository")
	flags.StringArrayVarP(&a.files, "file", "f", nil, "pipeline `FILE` or glob, relative to the directory (default lockage.yaml); repeatable")
	flags.StringVarP(&a.format, "output", "o", "text", "result `FORMAT`: text or json")
	flags.StringVar(&a.progress, "progress", "auto", "progress on standard error: auto, plain or none")
	flags.StringVar(&a.cacheDir, "cache-dir", "", "`DIR` for fetched Git objects and charts (default: the user's cache directory)")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this `DURATION`, such as 5m (default: never)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more on standard error")

	cmd.AddCommand(
		newLockCommand(a),
		newRenderCommand(a),
		newHydrateCommand(a),
		newDiffCommand(a),
		newVerifyCommand(a),
		newPromoteCommand(a),
		newRollbackCommand(a),
		newStatusCommand(a),
		newHistoryCommand(a),
		newPruneCommand(a),
		newApproveCommand(a),
		newAttestCommand(a),
		newPolicyCommand(a),
		newPullCommand(a),
		newKeysCommand(a),
		newRegistryCommand(a),
		newDemoCommand(a),
		newVersionCommand(a),
	)
	cmd.InitDefaultCompletionCmd()
	for _, sub := range cmd.Commands() {
		if sub.HasSubCommands() && sub.RunE == nil {
			sub.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // so that its arguments are looked at
		}
	}
	wrapUsageErrors(cmd)
	return cmd
}

// validate checks the global flags before any verb does anything.
func (a *app) validate() error {
	switch a.format {
	case "text", "json":
	default:
		return usagef("--output %q: want text or json", a.format)
	}
	switch a.progress {
	case "auto", "plain", "none":
	default:
		return usagef("--progress %q: want auto, plain or none", a.progress)
	}
	if a.timeout < 0 {
		return usagef("--timeout %s: want a positive duration", a.timeout)
	}
	if a.cacheDir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir()
		}
		a.cacheDir = filepath.Join(base, "lockage")
	}
	return nil
}

// wrapUsageErrors makes wrong numbers of arguments usage errors, for cmd and everything below it.
func wrapUsageErrors(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usagef("%w; see %q", err, cmd.CommandPath()+" --help")
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		wrapUsageErrors(sub)
	}
}

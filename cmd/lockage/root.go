package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockage/lockage/hydrate/helm/chartrepo"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/worker"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/publish"
)

// app is what all verbs share in one run: standard streams, and the flags that all or many of them have.
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
	policy   string // of the verbs that read the policy ref
	shard    string // of the verbs that work on part of the pipelines

	line     *progressLine        // nil for none
	part     publish.Shard        // that shard names
	stop     context.CancelFunc   // releases the timer of --timeout
	unshown  error                // why results were not written
	results  any                  // of the verb, for -o json
	tally    tally                // of the stages that a verb acts on
	leftOut  error                // what is wrong with pipeline files that the run went on without
	bounds   worker.Bounds        // of each render
	renders  *worker.Pool         // where something may be rendered
	charts   *chartrepo.Fetcher   // once something was fetched
	opened   *workspace.Workspace // nil for none
	verbatim bool                 // the text of the results stays as it is
}

const longHelp = `Lockage renders the Kubernetes manifests of every stage at a locked commit into signed OCI artifacts, tagged by image
digest, verifies them, and promotes them from stage to stage. Git and an OCI registry are its only state.

Exit status: 0 success; 1 an operation failed; 2 wrong usage or configuration; 3 denied by verification or policy;
4 diff --exit-code found changes; 5 not yet: only pending gates are left; 130 interrupted.`

const examples = `  lockage demo                  # the whole workflow on a temporary registry
  lockage init                  # write the pipeline file of a repository
  lockage lock check            # check the lock against Git and the registry
  lockage render staging        # print the manifests of a stage
  lockage hydrate               # render, pack, sign and push every stage
  lockage verify staging        # verify the artifact in the registry
  lockage promote staging       # judge a release, record the decision, and make it live
  lockage explain production    # why not yet, and what lets it pass
  lockage status                # what is live, and what has drifted`

func newRootCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "lockage",
		Short:             "From a lock in Git to signed manifests in a registry",
		Long:              longHelp,
		Example:           examples,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.begin(cmd) },
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %q", plainFlagError(cmd, err), cmd.CommandPath()+" --help")
	})
	a.globalFlags(cmd.PersistentFlags())
	showVersion := cmd.Flags().Bool("version", false, "versions of lockage and its renderers, as the verb version prints them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *showVersion {
			return a.showVersion()
		}
		return cmd.Help()
	}
	cmd.AddCommand(
		newInitCommand(a),
		group("lock", "Write, find and check locks: one source commit and one image digest",
			newLockWriteCommand(a), newLockDiscoverCommand(a), newLockCheckCommand(a)),
		newRenderCommand(a),
		newHydrateCommand(a),
		newUpCommand(a),
		newDiffCommand(a),
		newVerifyCommand(a),
		newPromoteCommand(a),
		newRollbackCommand(a),
		newStatusCommand(a),
		newExplainCommand(a),
		newHistoryCommand(a),
		newRepairCommand(a),
		newPruneCommand(a),
		newApproveCommand(a),
		newAttestCommand(a),
		group("policy", "Test gates", newPolicyTestCommand(a)),
		newPullCommand(a),
		newCopyCommand(a),
		newDoctorCommand(a),
		group("keys", "Make signing keys", newKeysGenerateCommand(a)),
		group("registry", "Run a small registry", newRegistryServeCommand(a)),
		newDemoCommand(a),
		newVersionCommand(a),
		newManCommand(),
	)
	cmd.InitDefaultCompletionCmd()
	cmd.InitDefaultHelpCmd()
	for _, sub := range cmd.Commands() {
		if sub.HasSubCommands() && sub.RunE == nil {
			sub.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // so that cobra checks its arguments
		}
	}
	a.prepare(cmd)
	if help, _, err := cmd.Find([]string{"help"}); err == nil {
		help.Args, help.Example = checkTopic, "  lockage help promote"
	}
	return cmd
}

// checkTopic refuses a topic that is not a command.
func checkTopic(help *cobra.Command, topic []string) error {
	of, unknown, err := help.Root().Find(topic)
	if err == nil && len(unknown) > 0 {
		err = plainArgumentError(of, unknown, fmt.Errorf("unknown command %q for %q", unknown[0], of.CommandPath()))
	}
	if err != nil {
		return usagef("%w; see %q", err, help.Root().Name()+" --help")
	}
	return nil
}

// group makes a command of subcommands.
func group(name, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs}
	cmd.AddCommand(verbs...)
	return cmd
}

// begin validates what all verbs share, before a verb does anything, and starts the timer of --timeout.
func (a *app) begin(cmd *cobra.Command) error {
	if a.format == formatMermaid && cmd.Name() != "status" {
		return usagef("--output %s is of status alone: want text, wide or json", formatMermaid)
	}
	if err := errors.Join(a.validate(), checkReleases(cmd.Flags())); err != nil {
		return err
	}
	// Helm warns through the standard logger, for example of values that are merged with a table.
	log.SetFlags(0)
	log.SetOutput(io.Discard)
	if a.verbose {
		log.SetOutput(a.stderr)
	}
	if a.timeout > 0 {
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), a.timeout, fmt.Errorf("not finished within --timeout %s", a.timeout))
		a.stop = cancel
		cmd.SetContext(ctx)
	}
	return nil
}

func (a *app) globalFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&a.dir, "directory", "C", ".", "starting folder `DIR`, inside the GitOps repository")
	flags.StringArrayVarP(&a.files, "file", "f", nil, "pipeline `FILE` or glob, relative to the starting folder; repeatable (default: lockage.yaml)")
	flags.StringVarP(&a.format, "output", "o", "text", "`FORMAT` of the results: text, wide (text with whole ids) or json")
	flags.StringVar(&a.progress, "progress", "auto", "`MODE` of the progress on standard error: auto, plain or none")
	flags.StringVar(&a.cacheDir, "cache-dir", "", "cache `DIR` for Git objects and charts (default: the user's cache directory)")
	flags.DurationVar(&a.timeout, "timeout", 0, "time limit of the run, a `DURATION` such as 5m (default: none)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "more detail on standard error")
}

// formatMermaid is the format of a graph in Mermaid's language.
const formatMermaid = "mermaid"

func (a *app) validate() error {
	switch {
	case !slices.Contains([]string{"text", "wide", "json", formatMermaid}, a.format):
		return usagef("--output %q: want text, wide or json", a.format)
	case a.progress != "auto" && a.progress != "plain" && a.progress != "none":
		return usagef("--progress %q: want auto, plain or none", a.progress)
	case a.timeout < 0:
		return usagef("--timeout %s: want a positive duration", a.timeout)
	}
	if a.shard != "" {
		var err error
		if a.part, err = publish.ParseShard(a.shard, os.Getenv); err != nil {
			return usagef("--shard %w", err)
		}
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

// prepare makes a wrong number of arguments a usage error, and completes arguments that are stages, for cmd and its
// subcommands.
func (a *app) prepare(cmd *cobra.Command) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return usagef("%w; see %q", plainArgumentError(cmd, given, err), cmd.CommandPath()+" --help")
			}
			return nil
		}
	}
	if strings.Contains(cmd.Use, "STAGE") {
		cmd.ValidArgsFunction = a.completeStages
	}
	a.completeFlags(cmd)
	for _, sub := range cmd.Commands() {
		a.prepare(sub)
	}
}

// plainFlagError returns what a flag wants, without the words of the parser, or the flag that an unknown one resembles.
func plainFlagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		return didYouMean(err, "--", unknown.GetSpecifiedName(), names)
	}
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	flag := invalid.GetFlag()
	want := "true or false"
	if flag.Value.Type() != "bool" {
		name, _ := pflag.UnquoteUsage(flag)
		want = "a valid " + name
	}
	return fmt.Errorf("--%s %q: want %s", flag.Name, invalid.GetValue(), want)
}

// didYouMean adds to an error the name that an unknown one resembles, if any.
func didYouMean(err error, prefix, unknown string, names []string) error {
	if near := strictyaml.Nearest(unknown, names); near != "" {
		return fmt.Errorf("%w (did you mean %s%s?)", err, prefix, near)
	}
	return err
}

// plainArgumentError returns how to write a verb that was given too few or too many arguments. A command of subcommands reports
// one that it does not know.
func plainArgumentError(cmd *cobra.Command, given []string, err error) error {
	if cmd.HasSubCommands() {
		var names []string
		for _, sub := range cmd.Commands() {
			names = append(names, sub.Name())
		}
		return didYouMean(err, "", given[0], names)
	}
	what := "arguments are missing"
	if len(given) > 0 {
		what = fmt.Sprintf("too many arguments, %q", given)
	}
	return fmt.Errorf("%s: write %s", what, strings.TrimSuffix(cmd.UseLine(), " [flags]"))
}

// completeFlags completes the values of flags that are stages, pipelines or words.
func (a *app) completeFlags(cmd *cobra.Command) {
	values := map[string]cobra.CompletionFunc{
		"output":   cobra.FixedCompletions([]cobra.Completion{"text", "wide", "json"}, cobra.ShellCompDirectiveNoFileComp),
		"progress": cobra.FixedCompletions([]cobra.Completion{"auto", "plain", "none"}, cobra.ShellCompDirectiveNoFileComp),
		"kind":     cobra.FixedCompletions([]cobra.Completion{"helm", "kustomize"}, cobra.ShellCompDirectiveNoFileComp),
		"pipeline": a.completePipelines, "stage": a.completeStages, "health": a.completeStages, "rebuilt": a.completeStages,
	}
	for name, complete := range values {
		if flag := cmd.Flag(name); flag != nil && (cmd.LocalNonPersistentFlags().Lookup(name) == flag || !cmd.HasParent()) {
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // it fails for a second one of the same flag
		}
	}
}

// completePipelines completes the names of the checkout's pipelines.
func (a *app) completePipelines(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	d, err := a.checkedOut(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, p := range d.pipelines {
		names = append(names, p.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeStages completes the names of the stages in the checkout's pipelines, and after a / or for several pipelines PIPELINE/STAGE.
func (a *app) completeStages(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	d, err := a.checkedOut(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, p := range d.pipelines {
		names = append(names, p.Order()...)
		for _, stage := range p.Order() {
			if len(d.pipelines) > 1 || strings.Contains(typed, "/") {
				names = append(names, p.Name+"/"+stage)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

func (a *app) policyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.policy, "policy", "", "policy ref, the branch to trust: `REMOTE@BRANCH` (default: the remote's default branch)")
}

func (a *app) shardFlag(cmd *cobra.Command, before string) {
	cmd.Flags().StringVar(&a.shard, "shard", "", before+"part `K/N` of the pipelines; /N has K from the environment of the job, auto both (default: all)")
}

func dryRunFlag(cmd *cobra.Command, dryRun *bool) {
	cmd.Flags().BoolVar(dryRun, "dry-run", false, "print what would be done; write nothing and open no key")
}

// releaseFlag adds a flag that names a release; "" means that the verb chooses one. checkReleases refuses invalid ids.
func releaseFlag(cmd *cobra.Command, id *string, name, usage string) {
	cmd.Flags().StringVar(id, name, "", usage)
	cmd.Flags().Lookup(name).Annotations = map[string][]string{annotationRelease: nil}
}

const annotationRelease = "release"

// checkReleases checks the flags that name releases.
func checkReleases(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		_, release := f.Annotations[annotationRelease]
		id := f.Value.String()
		if release && id == "" {
			err = usagef("--%s is empty: name a release, or leave the flag out", f.Name)
		}
		if release && err == nil {
			if lerr := lock.CheckName(id); lerr != nil {
				err = usagef("--%s %w", f.Name, lerr)
			}
		}
	})
	return err
}

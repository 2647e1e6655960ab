package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockage/lockage/hydrate/lock"
)

// policyFlag adds --policy.
func (a *app) policyFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.policy, "policy", "", "policy ref, the branch to trust: `REMOTE@REF` (default: the remote's default branch)")
}

// dryRunFlag adds --dry-run.
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
		if id := f.Value.String(); release && id != "" && err == nil {
			if lerr := lock.CheckID(id); lerr != nil {
				err = usagef("--%s %w", f.Name, lerr)
			}
		}
	})
	return err
}

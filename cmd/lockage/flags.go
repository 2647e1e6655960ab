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

// releaseID is the value of a flag that names a release; "" means that the verb chooses one. checkReleases refuses ids that
// are not valid.
type releaseID string

// Set implements [pflag.Value].
func (r *releaseID) Set(id string) error {
	*r = releaseID(id)
	return nil
}

// Type implements [pflag.Value].
func (r *releaseID) Type() string { return "id" }

func (r *releaseID) String() string { return string(*r) }

// checkReleases checks the flags that name releases.
func checkReleases(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if id, ok := f.Value.(*releaseID); ok && *id != "" && err == nil {
			if lerr := lock.CheckID(string(*id)); lerr != nil {
				err = usagef("--%s %w", f.Name, lerr)
			}
		}
	})
	return err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish"
)

type lockCheckResult struct {
	Pipeline string             `json:"pipeline"`
	Lock     string             `json:"lock"`
	Result   lock.Outcome       `json:"result"`
	Checks   []lock.CheckResult `json:"checks"`
}

func (r lockCheckResult) Text(w io.Writer) {
	fmt.Fprintf(w, "%s %s: %s\n", r.Pipeline, r.Lock, r.Result)
	table(w, func(w io.Writer) {
		for _, c := range r.Checks {
			fmt.Fprintf(w, "  %s\t%s\t%s\n", c.Result, c.Check, strings.ReplaceAll(c.Reason, "\n", "\n\t\t"))
		}
	})
}

// err names the checks that a lock does not pass; the result has the reasons.
func (r lockCheckResult) err() error {
	var failed, unknown []string
	for _, c := range r.Checks {
		switch c.Result {
		case lock.Fail:
			failed = append(failed, c.Check)
		case lock.Unknown:
			unknown = append(unknown, c.Check)
		}
	}
	switch {
	case slices.Contains(failed, lock.CheckFormat):
		return usagef("%s is not a lock", r.Lock)
	case failed != nil:
		return fmt.Errorf("lock %s is %w: %s", r.Lock, policy.ErrDenied, strings.Join(append(failed, unknown...), ", "))
	case unknown != nil:
		return fmt.Errorf("lock %s: who had to answer did not: %s", r.Lock, strings.Join(unknown, ", "))
	}
	return nil
}

func newLockCheckCommand(a *app) *cobra.Command {
	var offline bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the current lock against itself, Git and the registry",
		Long: `Check examines the current lock of every pipeline as it is in the work tree: its two files agree, its release is its commit
and not one that another release replaced before, the commit exists in the source repository, the image's tag names its digest, and the commit that the image names in its
labels, if any, is the locked one. Of an upstream chart it asks whether the version is still the archive that was locked. It also looks for private keys that were committed. The exit status is 3 if a check fails.`,
		Example: `  lockage lock check
  lockage lock check --offline -f 'apps/*/lockage.yaml'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.checkLocks(cmd.Context(), offline) },
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "only the checks that need neither the source repository nor the registry")
	return cmd
}

func (a *app) checkLocks(ctx context.Context, offline bool) error {
	w, err := a.workspace(ctx)
	if err != nil {
		return err
	}
	files, err := w.Present(ctx)
	if err != nil {
		return err
	}
	pipelines, err := a.usable(w.Pipelines(files, a.files))
	if err != nil {
		return err
	}
	var asked lock.Asked
	if !offline {
		asked = lock.Asked{Commits: history{repository: w.Repository}, Images: oci.NewImages(a.registries("")), Charts: chartArchives{a.chartFetcher()}}
	}
	order := w.Checkout("HEAD", a.warning)
	order.Expect(pipelines)
	results := list[lockCheckResult]{}
	var errs []error
	for _, p := range pipelines {
		checks, err := lock.Check(ctx, files, p.Lock, p.SourceRepo, order, asked)
		if err != nil {
			errs = append(errs, named(err, p.Name))
			continue
		}
		r := lockCheckResult{Pipeline: p.Name, Lock: path.Join(p.Lock, "current.yaml"), Result: lock.Pass, Checks: checks}
		if len(checks) == 1 { // there is no lock yet
			r.Result = checks[0].Result
		}
		for _, c := range checks {
			if c.Result == lock.Fail || c.Result == lock.Unknown && r.Result == lock.Pass {
				r.Result = c.Result
			}
		}
		if !slices.ContainsFunc(results, func(other lockCheckResult) bool { return other.Lock == r.Lock }) {
			errs = append(errs, r.err())
		}
		results = append(results, r)
	}
	a.emit(results)
	if w.Head.Hash == "" { // nothing is committed yet
		return errors.Join(errs...)
	}
	committed, err := w.Files(ctx)
	if err == nil {
		err = publish.DenyPrivateKeys(committed, string(w.Head.Hash), pipelines)
	}
	return errors.Join(append(errs, err)...)
}

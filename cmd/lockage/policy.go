package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/policytest"
)

func newPolicyTestCommand(a *app) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Test gates with tables of evidence and verdicts",
		Long: `Test runs tables of cases: evidence and objects in, verdicts of gates out. The gates are those of a FILE itself, or of a
stage of a pipeline file. Paths in a FILE are relative to the folder of --directory. Test fetches nothing and needs no key: it
makes keys for the statements. Without --verbose it lists the gates of failed cases only.

  gates:                        # or pipeline: lockage.yaml and stage: production
    - {approval: {by: [sre, manager], count: 2}}
    - {cel: 'objects.all(o, o.kind != "Pod")'}
  cases:
    - name: one approval is not enough
      objects: [{apiVersion: v1, kind: Service, metadata: {name: web}}]
      statements: [{type: approval, by: sre}]
      expect: {approval: {result: fail, reason: 1 of 2}, cel: pass}
      result: fail

Exit status: 0 all cases have the expected verdicts; 1 some do not; 2 a FILE is malformed.`,
		Example: `  lockage policy test tests/gates.yaml
  lockage policy test --markdown tests/*.yaml >> "$GITHUB_STEP_SUMMARY"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if markdown && a.format != "text" {
				return usagef("--markdown and --output %s exclude each other", a.format)
			}
			return a.testPolicy(cmd.Context(), args, markdown)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "results as Markdown, for a pull request or a step summary")
	return cmd
}

// policyTests are the results of policy test: a list of reports, and how to show it.
type policyTests struct {
	reports []policytest.Report
	options policytest.Options
}

// MarshalJSON returns the list of reports.
func (rs policyTests) MarshalJSON() ([]byte, error) { return json.Marshal(rs.reports) }

func (rs policyTests) Text(w io.Writer) { fmt.Fprint(w, policytest.Text(rs.reports, rs.options)) }

func (a *app) testPolicy(ctx context.Context, names []string, markdown bool) error {
	var reports []policytest.Report
	var problems strictyaml.Problems
	for _, name := range names {
		at := name
		if !filepath.IsAbs(at) {
			at = filepath.Join(a.dir, at)
		}
		data, err := strictyaml.ReadFile(os.DirFS(filepath.Dir(at)), filepath.Base(at))
		if err != nil {
			return usageError{fmt.Errorf("read test file: %w", err)}
		}
		found, err := policytest.Run(ctx, name, data, os.DirFS(a.dir))
		var malformed strictyaml.Problems
		switch {
		case errors.As(err, &malformed):
			problems = append(problems, malformed...)
		case err != nil:
			return err
		}
		reports = append(reports, found...)
	}
	if err := problems.Err(); err != nil {
		return err
	}
	if markdown {
		a.format = "wide" // no line of it is broken
	}
	a.emit(policyTests{reports: reports, options: policytest.Options{Verbose: a.verbose, Markdown: markdown}})
	failed := 0
	for _, r := range reports {
		if r.Result != policy.Pass {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases do not have the expected verdict", failed, len(reports))
	}
	return nil
}

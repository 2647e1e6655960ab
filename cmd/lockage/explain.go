package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

type explanations []explanation

// explanation is what promote would do to a stage, and what each gate waits for.
type explanation struct {
	promoteResult
	Live  *shownRelease `json:"live,omitempty"`
	Needs []need        `json:"needs"`
}

// need is what lets a check or gate pass that does not yet.
type need struct {
	Gate   string        `json:"gate"`
	Result policy.Result `json:"result"`
	Reason string        `json:"reason"`
	When   *time.Time    `json:"when,omitempty"` // it passes by itself, where that is known
	Do     string        `json:"do,omitempty"`   // a command or an act
}

func (es explanations) Text(w io.Writer) {
	for i, e := range es {
		if i > 0 {
			fmt.Fprintln(w)
		}
		live := "nothing is live"
		if e.Live != nil {
			live = "live is " + e.Live.Release
		}
		fmt.Fprintf(w, "%s/%s: %s\n  %s\n", e.Pipeline, e.Stage, live, e.verdict())
		var passed []string
		for _, g := range e.Gates {
			if g.Result == policy.Pass || g.Result == policy.Waived {
				passed = append(passed, fmt.Sprintf("%s (%s)", g.Gate, g.Result))
			}
		}
		if len(passed) > 0 {
			fmt.Fprintf(w, "  passed: %s\n", strings.Join(passed, ", "))
		}
		for _, n := range e.Needs {
			fmt.Fprintf(w, "  %s: %s: %s\n", n.Gate, n.Result, n.Reason)
			if n.When != nil {
				fmt.Fprintf(w, "    when: %s\n", n.When.UTC().Format("2006-01-02 15:04 MST"))
			}
			if n.Do != "" {
				fmt.Fprintf(w, "    do:   %s\n", n.Do)
			}
		}
		for _, note := range e.Notes {
			fmt.Fprintf(w, "  note: %s\n", note)
		}
	}
}

// verdict is the answer in one line.
func (e explanation) verdict() string {
	switch e.Action {
	case promote.Promoted, promote.Noop:
		return fmt.Sprintf("%s is ready: lockage promote %s/%s", e.Release, e.Pipeline, e.Stage)
	case promote.Unchanged:
		return "nothing newer is there to promote"
	case promote.Denied, promote.Pending:
		if len(e.Needs) > 0 {
			return fmt.Sprintf("%s does not pass yet:", e.Release)
		}
	}
	return e.Error
}

func newExplainCommand(a *app) *cobra.Command {
	var o promote.Options
	cmd := &cobra.Command{
		Use:   "explain STAGE...",
		Short: "Explain why a release is not live in a stage yet, what lets it pass, and when",
		Long: `Explain judges what promote would take for a stage, writes nothing and opens no key. For each gate that does not pass it prints the
reason, the time at which it passes by itself, where that is known, and what somebody can do.

The exit status is 0 whatever the verdict: promote --dry-run is the check for scripts.`,
		Example: `  lockage explain production
  lockage explain production --release git-3f5c0e0a8f4b7f2d9c6f1f0f0c7f4a6d1c2b3a49
  lockage explain shop/production -f 'apps/*/lockage.yaml'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, stages []string) error {
			o.Stages = stages
			return a.explain(cmd.Context(), o)
		},
	}
	a.policyFlag(cmd)
	releaseFlag(cmd, &o.Release, "release", "release to explain, an `ID` git-<4 to 40 hex>[-<hex>] (default: the one that promote takes)")
	return cmd
}

func (a *app) explain(ctx context.Context, o promote.Options) error {
	shown, err := a.explanations(ctx, o)
	if shown != nil {
		a.emit(shown)
	}
	return err
}

// explanations judges stages as promote does, and writes nothing. They are nil if nothing was judged.
func (a *app) explanations(ctx context.Context, o promote.Options) (shown explanations, err error) {
	o.DryRun = true
	if o.Environment, err = a.environment(ctx, true); err != nil {
		return nil, err
	}
	d, err := a.declared(ctx)
	if err != nil {
		return nil, err
	}
	results, err := promote.Promote(ctx, o)
	if err != nil {
		return nil, err
	}
	shown = explanations{}
	var errs []error
	for _, r := range results {
		e := explanation{promoteResult: promotionResult(r, true), Needs: []need{}}
		if r.From != nil {
			e.Live = &shownRelease{Release: r.From.Release, Digest: r.From.Digest}
		} else if r.To != nil && r.Action == promote.Unchanged {
			e.Live = &shownRelease{Release: r.To.Release, Digest: r.To.Digest}
		}
		e.explain(d)
		shown = append(shown, e)
		if r.Action == promote.Failed {
			errs = append(errs, beside{fmt.Errorf("%s/%s: %w", r.Pipeline, r.Stage, r.Err), r.Pipeline + "/" + r.Stage, string(r.Action)})
		}
	}
	return shown, errors.Join(errs...)
}

// explain adds what the verdict needs.
func (e *explanation) explain(d declaration) {
	for _, c := range e.Checks {
		if c.Result != policy.Pass {
			e.Needs = append(e.Needs, need{Gate: c.Check, Result: c.Result, Reason: c.Reason, Do: "lockage verify " + e.Pipeline + "/" + e.Stage})
		}
	}
	kinds := e.kinds(d)
	for i, g := range e.Gates {
		if g.Result == policy.Pass || g.Result == policy.Waived {
			continue
		}
		n := need{Gate: g.Gate, Result: g.Result, Reason: g.Reason, When: g.RetryAfter, Do: remedies[kinds[i]]}
		n.Do = strings.NewReplacer("STAGE", e.Pipeline+"/"+e.Stage, "RELEASE", e.Release).Replace(n.Do)
		e.Needs = append(e.Needs, n)
	}
}

// kinds returns the kind of each gate of the verdict; a gate that the pipeline file does not declare is its own.
func (e *explanation) kinds(d declaration) []string {
	kinds := make([]string, len(e.Gates))
	for i, g := range e.Gates {
		kinds[i] = g.Gate
	}
	at := slices.IndexFunc(d.pipelines, func(p *pipeline.Pipeline) bool { return p.Name == e.Pipeline })
	if at < 0 {
		return kinds
	}
	declared, _, err := d.expand(d.pipelines[at], e.Stage)
	if err != nil {
		return kinds
	}
	for j, name := range policy.GateNames(declared.Gates) {
		for i, g := range e.Gates {
			if g.Gate == name {
				kinds[i] = declared.Gates[j].Kind
			}
		}
	}
	return kinds
}

// remedies are what somebody can do for a gate, by its kind.
var remedies = map[string]string{
	policy.GateOrder:    "promote the release to the stages before: lockage explain shows one of them",
	policy.KindApproval: "lockage approve STAGE --key KEY",
	"attestation":       "lockage attest STAGE --type URI --predicate FILE --key KEY, by one of the identities that the gate names",
	"reproduced":        "lockage attest --rebuilt STAGE --key KEY; lockage verify STAGE --release RELEASE --rebuild names the files that differ",
	"image":             "sign the image by one of the identities that the gate names: cosign sign",
	policy.KindFile:     "commit the file to the policy ref",
	policy.KindReview:   "approve the pull request of the stage",
	policy.KindSource:   "release a commit that is signed",
	"cel":               "release manifests that meet the expression: lockage pull candidate:STAGE shows these",
	"rego":              "release manifests that meet the policy: lockage policy test tries one",
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/publish"
)

// upResult is a step of up.
type upResult struct {
	Step    string `json:"step"` // discover, hydrate, promote or health
	Stage   string `json:"stage,omitempty"`
	Results any    `json:"results"`
	Error   string `json:"error,omitempty"`
}

func (r upResult) Text(w io.Writer) {
	outcome := "done"
	if r.Error != "" {
		outcome = "not done, see above"
	}
	fmt.Fprintf(w, "%s\t%s\n", r.name(), outcome)
}

func (r upResult) name() string {
	if r.Stage != "" {
		return r.Step + " " + r.Stage
	}
	return r.Step
}

// upResults are the steps of a run, and what waits for somebody after it.
type upResults struct {
	steps []upResult
	waits explanations
}

// MarshalJSON returns the steps.
func (rs upResults) MarshalJSON() ([]byte, error) { return json.Marshal(rs.steps) }

func (rs upResults) Text(w io.Writer) {
	table(w, func(w io.Writer) {
		for _, r := range rs.steps {
			r.Text(w)
		}
	})
	if len(rs.waits) > 0 {
		fmt.Fprintln(w, "\nWaits for somebody:")
		rs.waits.Text(w)
	}
}

// Sections implements sectioned: each step with its own results.
func (rs upResults) Sections() (all []section) {
	for _, r := range rs.steps {
		s := section{title: r.name() + ": done"}
		if r.Error != "" {
			s.title = r.name() + ": not done"
		}
		var b strings.Builder
		if results, ok := r.Results.(result); ok {
			results.Text(&b)
		}
		s.text = narrow(b.String()) + r.Error
		all = append(all, s)
	}
	if len(rs.waits) > 0 {
		var b strings.Builder
		rs.waits.Text(&b)
		all = append(all, section{"waits for somebody", narrow(b.String())})
	}
	return all
}

func newUpCommand(a *app) *cobra.Command {
	u := upper{app: a, discoverer: lockDiscoverer{lockWriter: lockWriter{app: a, push: true}}}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Discover, hydrate, promote what is ready, and attest health: the one job of a small team",
		Long: `Up does what a scheduled job of the GitOps repository does, in order: lock discover --push, hydrate, promote --ready, and attest
--health for each stage in --health. It goes on after what fails, because that may be of one pipeline only, and its exit status is that of
the step that went worst. At the end it says what the other stages wait for, as explain does; the step summary of a job has all of it.

Where the application's own CI writes locks, leave the first step out with --no-discover.`,
		Example: `  lockage up
  lockage up -f 'apps/*/lockage.yaml' --no-discover
  lockage up --path deploy/chart --health staging --key env://PROMOTER_KEY`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u.wait = a.waitTimeout(cmd, u.wait)
			return u.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	u.discoverer.searchFlags(f)
	f.BoolVar(&u.noDiscover, "no-discover", false, "leave out the search for new releases")
	f.StringArrayVar(&u.health, "health", nil, "`STAGE` whose live artifact to attest the health of, with --key; repeatable")
	f.StringVar(&u.key, "key", "", "`KEY` to attest health with: a file, or env://NAME")
	f.DurationVar(&u.wait, "timeout-wait", healthTimeout, "with --health: `DURATION` to wait for the cluster, unless --timeout says; 0 checks once")
	a.policyFlag(cmd)
	dryRunFlag(cmd, &u.dryRun)
	return cmd
}

// upper runs the steps of up.
type upper struct {
	app        *app
	discoverer lockDiscoverer
	noDiscover bool
	health     []string
	key        string
	wait       time.Duration
	dryRun     bool
	results    upResults
	errs       []error
}

func (u *upper) run(ctx context.Context) error {
	if (len(u.health) > 0) != (u.key != "") {
		return usagef("--health STAGE and --key KEY belong together")
	}
	if !u.noDiscover {
		u.do(ctx, upResult{Step: "discover"}, func(a *app) error {
			d := u.discoverer
			d.app, d.dryRun = a, u.dryRun
			return d.run(ctx)
		})
	}
	u.do(ctx, upResult{Step: "hydrate"}, func(a *app) error {
		var o publish.Options
		o.DryRun = u.dryRun
		return a.hydrate(ctx, o, false)
	})
	u.do(ctx, upResult{Step: "promote"}, func(a *app) error {
		o := promote.Options{Ready: true}
		o.DryRun = u.dryRun
		return a.promote(ctx, o, promote.Promote)
	})
	for _, stage := range u.health {
		if u.dryRun {
			break
		}
		u.do(ctx, upResult{Step: "health", Stage: stage}, func(a *app) error {
			f := attestFlags{subject: "artifact", signFlags: signFlags{key: u.key}}
			f.health.question.Stage, f.health.question.Timeout = stage, u.wait
			return a.attestHealth(ctx, f)
		})
	}
	if err := u.explain(ctx); err != nil {
		u.app.warn("what waits for somebody is not known: %v", err)
	}
	u.app.emit(u.results)
	return worst(u.errs)
}

// explain finds what the stages without auto wait for, as explain prints it.
func (u *upper) explain(ctx context.Context) error {
	if u.dryRun || u.app.format == "json" && os.Getenv("GITHUB_ACTIONS") != "true" {
		return nil
	}
	d, err := u.app.declared(ctx)
	if err != nil {
		return nil //nolint:nilerr // the steps failed by it
	}
	var o promote.Options
	for _, p := range d.pipelines {
		for _, s := range p.Stages {
			if !s.Auto {
				o.Stages = append(o.Stages, p.Name+"/"+s.Name)
			}
		}
	}
	if len(o.Stages) == 0 || ctx.Err() != nil {
		return nil
	}
	found, err := u.app.explanations(ctx, o)
	for _, e := range found {
		if e.Action != promote.Unchanged && e.Action != promote.Failed {
			u.results.waits = append(u.results.waits, e)
		}
	}
	return err
}

// do runs a step as the verb of that name would run, and keeps what came out.
func (u *upper) do(ctx context.Context, r upResult, step func(a *app) error) {
	if ctx.Err() != nil {
		return
	}
	part := *u.app
	part.results, part.leftOut, part.opened, part.tally = nil, nil, nil, tally{}
	u.app.clear()
	end := u.app.section(r.name())
	err := step(&part)
	end()
	u.app.renders, u.app.charts, u.app.opened = part.renders, part.charts, part.opened
	u.app.tally.done, u.app.tally.all = u.app.tally.done+part.tally.done, u.app.tally.all+part.tally.all
	u.app.tally.met = u.app.tally.met || part.tally.met
	if r.Results = part.results; r.Results == nil {
		r.Results = []any{}
	}
	r.Error = messageOf(err)
	u.results.steps = append(u.results.steps, r)
	known := slices.ContainsFunc(u.errs, func(e error) bool { return e.Error() == r.Error }) // each step reads the policy ref, say
	if err != nil && !known {
		u.errs = append(u.errs, err)
	}
	if part.leftOut != nil && u.app.leftOut == nil {
		u.app.leftOut = part.leftOut // each step finds the same
	}
}

// section begins a part of the log, which GitHub, Gitea and GitLab fold, and returns what ends it.
func (a *app) section(title string) (end func()) {
	switch {
	case a.format == "json":
		return func() {}
	case os.Getenv("GITHUB_ACTIONS") == "true":
		fmt.Fprintf(a.stdout, "::group::%s\n", title)
		return func() { fmt.Fprintln(a.stdout, "::endgroup::") }
	case os.Getenv("GITLAB_CI") == "true":
		id := "lockage_" + strings.NewReplacer(" ", "_", "/", "_").Replace(title)
		fmt.Fprintf(a.stdout, "\x1b[0Ksection_start:%d:%s\r\x1b[0K%s\n", time.Now().Unix(), id, title)
		return func() { fmt.Fprintf(a.stdout, "\x1b[0Ksection_end:%d:%s\r\x1b[0K\n", time.Now().Unix(), id) }
	}
	fmt.Fprintf(a.stdout, "== %s\n", title)
	return func() { fmt.Fprintln(a.stdout) }
}

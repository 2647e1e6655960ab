package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/sides"
	"github.com/lockage/lockage/sign/predicate"
)

type historyResults []historyResult

const shownTime = "2006-01-02 15:04:05"

type historyResult struct {
	Pipeline   string           `json:"pipeline"`
	Stage      string           `json:"stage"`
	Candidate  *foundCandidate  `json:"candidate,omitempty"` // that a digest was found as
	Promotions []shownPromotion `json:"promotions"`
	Broken     string           `json:"broken,omitempty"`

	moved  bool // Broken says that the history is still in a former place
	unread bool // an error says why there may be more
}

type shownPromotion struct {
	Sequence     int               `json:"sequence"`
	Action       predicate.Action  `json:"action"`
	Release      string            `json:"release"`
	From         digest.Digest     `json:"from,omitempty"`
	FromRelease  string            `json:"fromRelease,omitempty"`
	To           digest.Digest     `json:"to"`                    // "" for a new beginning at nothing
	Input        digest.Digest     `json:"inputDigest,omitempty"` // of what was rendered to it
	Time         time.Time         `json:"time"`
	TimeSource   string            `json:"timeSource"` // whose word it is: the URL of a timestamp authority or log, or claimed by the promoter
	Since        time.Time         `json:"since"`      // that the content is live without a break, as soak counts it
	PolicyCommit string            `json:"policyCommit"`
	Record       digest.Digest     `json:"record"`
	Commit       string            `json:"commit,omitempty"`
	Key          string            `json:"key"`
	Reason       string            `json:"reason,omitempty"`
	Checks       []predicate.Check `json:"checks"`
	Source       *ledger.Origin    `json:"source,omitempty"` // the commit that was rendered
	Gitops       *ledger.Origin    `json:"gitops,omitempty"` // under which it was

	Carried *predicate.Origin `json:"carried,omitempty"` // from where the history was before
	Holds   predicate.Holds   `json:"holds,omitempty"`   // what comes back by name alone from then on
}

func (rs historyResults) Text(w io.Writer) {
	for i, r := range rs {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s/%s\n", r.Pipeline, r.Stage)
		if c := r.Candidate; c != nil {
			fmt.Fprintf(w, "  candidate %s %s, made from GitOps commit %s\n", c.Release, c.Digest, c.GitopsCommit)
			if c.Unproven != "" {
				fmt.Fprintf(w, "  UNPROVEN: %s\n", c.Unproven)
			}
		}
		if len(r.Promotions) == 0 && !r.unread && r.Candidate == nil {
			fmt.Fprintln(w, "  nothing was promoted yet")
		}
		for _, p := range r.Promotions {
			release := p.Release
			if slices.ContainsFunc(r.Promotions, func(o shownPromotion) bool { return o.Release == release && o.To != p.To }) {
				release = lock.Hydration(release, p.Input) // one of several
			}
			fmt.Fprintf(w, "  %d  %s  %s %s\n", p.Sequence, p.Time.UTC().Format(shownTime), p.Action, release)
			for _, line := range p.details() {
				fmt.Fprintf(w, "       %s\n", line)
			}
		}
		label := "  BROKEN: "
		if r.moved {
			label = "  MOVED: "
		}
		if r.Broken != "" {
			fmt.Fprintf(w, "%s%s\n", label, strings.ReplaceAll(r.Broken, "\n", "\n"+label))
		}
	}
}

// details returns the lines about a promotion after the first: what it was made from, who signed it, what people approved and waived.
func (p shownPromotion) details() []string {
	lines := []string{"to " + cmp.Or(p.To.String(), "nothing: a new beginning")}
	if p.From != "" {
		lines = append(lines, fmt.Sprintf("from %s %s", p.From, p.FromRelease))
	}
	if p.Since.Before(p.Time) {
		lines = append(lines, "the content is live since "+p.Since.UTC().Format(shownTime))
	}
	if p.Source != nil && p.Gitops != nil {
		lines = append(lines, fmt.Sprintf("source commit %s of %s", p.Source.Commit, p.Source.URL), fmt.Sprintf("GitOps commit %s of %s", p.Gitops.Commit, p.Gitops.URL))
	}
	if p.Commit != "" {
		lines = append(lines, fmt.Sprintf("commit %s, record %s", p.Commit, p.Record))
	}
	lines = append(lines, fmt.Sprintf("signed by %s (key %s), by the policy of commit %s", pipeline.RolePromoter, p.Key, p.PolicyCommit))
	passed := 0
	for _, c := range p.Checks {
		name, isGate := strings.CutPrefix(c.Name, "gate:")
		kind, _, _ := strings.Cut(name, "#")
		switch {
		case c.Result != "pass":
			lines = append(lines, fmt.Sprintf("%s %s: %s", strings.ToUpper(c.Result), c.Name, c.Reason))
		case len(c.Evidence) > 0, isGate && slices.Contains([]string{policy.KindReview, policy.GatePullRequest, policy.KindFile, policy.KindSource}, kind):
			lines = append(lines, name+": "+c.Reason)
		default:
			passed++
		}
	}
	lines = append(lines, fmt.Sprintf("%d more checks passed", passed))
	if p.Reason != "" {
		lines = append(lines, "because: "+p.Reason)
	}
	if p.Carried != nil {
		lines = append(lines, fmt.Sprintf("carried over from %s, stage %s of pipeline %s, commit %s", p.Carried.Path, p.Carried.Stage, p.Carried.Pipeline, p.Carried.Commit))
	}
	for _, h := range p.Holds {
		if !h.Since.Before(p.Time) {
			lines = append(lines, fmt.Sprintf("holds %s %s", h.Digest, h.Release))
		}
	}
	for i, line := range lines {
		lines[i] = terminal.Blank(line)
	}
	return lines
}

func newHistoryCommand(a *app) *cobra.Command {
	var limit int
	var release, file string
	cmd := &cobra.Command{
		Use:   "history STAGE|DIGEST",
		Short: "Show what was promoted to a stage, when, and why it was allowed",
		Long: `History lists the promotions of a stage, the newest first, and verifies each: a promotion is a commit of the live ref with a
record by the promoter that names its parent and its tree. It shows every gate that was waived. A promotion that the registry
has and the live ref lacks ends the list, with exit status 3. Pipelines and keys are read at the policy ref, whatever is
checked out.

DIGEST, sha256:<12 to 64 hex>, lists the stages that have an artifact of that digest, or of a release with that image, as a candidate
or had it live.

With --export, everything that proves one promotion is written to one tar file: the artifact, the statements as Sigstore bundles, the
keys and the policy that it was judged by, and in VERIFY.md the commands with which cosign verifies them without a network.`,
		Example: `  lockage history production
  lockage history production --export promotion.tar
  lockage history sha256:60ab… -f 'apps/*/lockage.yaml'
  lockage history production --limit 5 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case file != "" && limit != 0:
				return usagef("--export writes one promotion: leave out --limit")
			case file != "":
				return a.export(cmd.Context(), args[0], release, file)
			case release != "":
				return usagef("--release selects the promotion that --export FILE writes")
			}
			return a.history(cmd.Context(), args[0], limit)
		},
	}
	cmd.Flags().StringVar(&file, "export", "", "`FILE` for all that proves one promotion, a tar")
	releaseFlag(cmd, &release, "release", "with --export: release whose last promotion is written, an `ID` (default: that of the newest promotion)")
	cmd.Flags().IntVar(&limit, "limit", 0, "`NUMBER` of promotions to show, the newest first; older ones are not verified (default: all)")
	a.policyFlag(cmd)
	return cmd
}

func (a *app) history(ctx context.Context, name string, limit int) error {
	if limit < 0 {
		return usagef("--limit %d: want a number of promotions", limit)
	}
	if bare, err := isDigest(name); err != nil {
		return err
	} else if bare {
		return a.historyOf(ctx, digest.Digest(name), limit)
	}
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	pipelines, stage, err := verify.Having(d.pipelines, strings.TrimPrefix(name, sides.LivePrefix))
	if err != nil {
		return err
	}
	results := historyResults{}
	var errs []error
	for _, p := range pipelines {
		r, err := d.history(ctx, p, stage, limit)
		r.unread = err != nil
		if errors.Is(err, live.ErrBroken) {
			r.Broken, r.moved = err.Error(), errors.Is(err, live.ErrMoved)
		}
		results = append(results, r)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s/%s: %w", p.Name, stage, err))
		}
	}
	a.emit(results)
	return errors.Join(errs...)
}

func (d declaration) history(ctx context.Context, p *pipeline.Pipeline, stage string, limit int) (historyResult, error) {
	r := historyResult{Pipeline: p.Name, Stage: stage, Promotions: []shownPromotion{}}
	s, err := d.open(ctx, p, stage)
	if errors.Is(err, lock.ErrNoRelease) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	var promotions []live.Promotion
	state, err := live.Read(ctx, s)
	for p, historyErr := range live.HistoryOf(ctx, s, state) {
		if historyErr != nil {
			err = cmp.Or(err, historyErr)
			break
		}
		promotions = append(promotions, p)
		if limit > 0 && len(promotions) >= limit && !p.Continues() {
			break
		}
	}
	for i, start := range live.Starts(promotions, time.Now()) {
		if i < limit || limit == 0 {
			shown := showPromotion(promotions[i], start)
			shown.Input = s.Inputs(promotions[i])
			r.Promotions = append(r.Promotions, shown)
		}
	}
	return r, err
}

func showPromotion(p live.Promotion, since time.Time) shownPromotion {
	s := shownPromotion{
		Sequence:     p.Sequence,
		Action:       p.Action,
		Release:      p.To.Release,
		To:           p.To.Digest,
		Time:         p.When(),
		TimeSource:   cmp.Or(p.Signed.Source, "claimed"),
		Since:        since,
		PolicyCommit: p.Policy.Commit,
		Record:       p.Record,
		Commit:       p.Commit,
		Key:          p.Key,
		Reason:       p.Reason,
		Checks:       nonNil(p.Checks),
		Carried:      p.Carried,
		Holds:        p.Holds,
	}
	if m := p.Metadata; m.Lockage.Source.Commit != "" {
		s.Source, s.Gitops = &m.Lockage.Source, &ledger.Origin{URL: m.RepoURL, Commit: m.DrySHA}
	}
	if p.From != nil {
		s.From, s.FromRelease = p.From.Digest, p.From.Release
	}
	return s
}

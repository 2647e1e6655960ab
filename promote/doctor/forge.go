package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/policy/verify"
)

const (
	maxBranches = 100 // of one repository, that the forge is asked about
	maxNamed    = 6   // of the branches of one finding
)

// branch is one that decides or proves what is live.
type branch struct {
	name   string
	policy bool
}

// Forges asks the forges of the repositories that decide and prove what is live who may push there: to the policy ref, to candidates, and to live
// refs. open opens the forge of a repository by its URL. Repositories without one, or without a token, are left out.
func Forges(ctx context.Context, at *workspace.Policy, remotes verify.Remotes, pipelines []*pipeline.Pipeline,
	expand func(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error), open func(url string) (*forge.Repository, error)) ([]Finding, error) {
	branches, err := recorded(ctx, at, remotes, pipelines, expand)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, url := range slices.Sorted(maps.Keys(branches)) {
		repository, err := open(url)
		if forge.Unavailable(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found = append(found, protected(ctx, repository, branches[url])...)
	}
	return found, nil
}

// recorded returns the branches by the URL of their repository.
func recorded(ctx context.Context, at *workspace.Policy, remotes verify.Remotes, pipelines []*pipeline.Pipeline,
	expand func(p *pipeline.Pipeline, stage string) (pipeline.Expanded, error)) (map[string][]branch, error) {
	found := map[string][]branch{}
	add := func(url string, b branch) {
		if !slices.ContainsFunc(found[url], func(o branch) bool { return o.name == b.name }) {
			found[url] = append(found[url], b)
		}
	}
	if at.Remote() != nil {
		add(at.Remote().URL(), branch{at.Branch(), true})
	}
	for _, p := range pipelines {
		for _, stage := range p.Order() {
			declared, err := expand(p, stage)
			if errors.Is(err, lock.ErrNoRelease) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s/%s: %w", p.Name, stage, err)
			}
			candidates, err := verify.LedgerRemote(ctx, declared, remotes)
			if err != nil {
				return nil, err
			}
			live, place, err := verify.LiveRef(ctx, declared, remotes)
			if err != nil {
				return nil, err
			}
			add(candidates.URL(), branch{name: declared.Ledger.Candidates})
			add(live.URL(), branch{name: place.Branch})
		}
	}
	return found, nil
}

// protected examines the rules of a repository.
func protected(ctx context.Context, repository *forge.Repository, branches []branch) []Finding {
	subject, rest := repository.String(), branches[min(len(branches), maxBranches):]
	branches = branches[:len(branches)-len(rest)]
	var names []string
	for _, b := range branches {
		names = append(names, b.name)
	}
	rules, err := repository.Protections(ctx, names)
	if err != nil {
		return []Finding{{subject, "branch-rules", Warning, "the rules of its branches could not be read: " + text(err),
			"run this with the token of an administrator in LOCKAGE_FORGE_TOKEN, or compare the rules with docs/protection.md"}}
	}
	found := judged(subject, branches, rules)
	if len(rest) > 0 {
		found = append(found, Finding{subject, "branch-rules", Warning, fmt.Sprintf("%d more branches were not examined", len(rest)), "examine pipelines one by one, with -f"})
	}
	return found
}

// judged compares what rules allow with what the branches are for.
func judged(subject string, branches []branch, rules []forge.Protection) []Finding {
	var found []Finding
	add := func(finding, reason, next string, is func(b branch, p forge.Protection) bool) {
		var names []string
		for i, p := range rules {
			if is(branches[i], p) {
				names = append(names, branches[i].name)
			}
		}
		if len(names) > 0 {
			found = append(found, Finding{subject, finding, Warning, fmt.Sprintf(reason, listed(names)), next})
		}
	}
	add("unprotected-branch", "no rule protects %s: who may write to the repository can change or set back what is live or trusted", "protect these branches by patterns, as docs/protection.md lists them",
		func(_ branch, p forge.Protection) bool { return !p.Covered })
	add("pushed-by-anybody", "who may write to the repository may push to %s", "let the hydrator push to candidates, the promoter of a stage to its live ref, and nobody else",
		func(b branch, p forge.Protection) bool { return p.Covered && p.Anybody && !b.policy })
	add("pushed-past-review", "who may write to the repository may push to %s without a review", "require pull requests; a job that writes locks can open one",
		func(b branch, p forge.Protection) bool { return p.Covered && p.Anybody && b.policy })
	add("force-push", "force-pushes to %s are allowed", "forbid them", func(_ branch, p forge.Protection) bool { return p.Covered && p.Force })
	add("deletion", "%s may be deleted", "forbid it", func(_ branch, p forge.Protection) bool { return p.Covered && p.Delete })
	add("rebase", "pull requests into %s may be rebased or fast-forwarded: commits inside of them look like tips of the policy ref", "allow merge commits and squashing alone",
		func(b branch, p forge.Protection) bool { return b.policy && p.Rebase })
	byPushers := map[string][]string{}
	for i, p := range rules {
		if p.Covered && !p.Anybody && len(p.Pushers) > 0 {
			who := strings.Join(p.Pushers, ", ")
			byPushers[who] = append(byPushers[who], branches[i].name)
		}
	}
	for _, who := range slices.Sorted(maps.Keys(byPushers)) {
		found = append(found, Finding{subject, "pushers", Good, fmt.Sprintf("%s: only %s may push", listed(byPushers[who]), who), ""})
	}
	return found
}

// listed names some of many.
func listed(names []string) string {
	more := ""
	if n := len(names) - maxNamed; n > 0 {
		names, more = names[:maxNamed], fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ") + more
}

package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
)

func TestApproved(t *testing.T) {
	t.Parallel()
	const head, older = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	at := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	by := func(user, commit string) policy.PullApproval {
		return policy.PullApproval{User: user, Commit: commit, Time: at}
	}
	for name, test := range map[string]struct {
		change    func(*policy.Pull)
		none      bool // no pull request
		approvals []policy.PullApproval
		merged    bool
		want      policy.Result
		reason    string
	}{
		"approved":                     {approvals: []policy.PullApproval{by("ada", head)}, want: policy.Pass, reason: "ada at 2026-04-01T12:00:00Z"},
		"approved by two":              {approvals: []policy.PullApproval{by("ada", head), by("grace", head)}, want: policy.Pass, reason: "grace at"},
		"approved twice by one":        {approvals: []policy.PullApproval{by("ada", head), by("Ada", head)}, want: policy.Pass},
		"approved, and before":         {approvals: []policy.PullApproval{by("ada", head), by("grace", older)}, want: policy.Pass},
		"no pull request":              {none: true, want: policy.Pending, reason: "there is no pull request"},
		"nobody":                       {want: policy.Pending, reason: "nobody approved"},
		"an older head":                {approvals: []policy.PullApproval{by("ada", older)}, want: policy.Pending, reason: "ada approved 222222222222, another commit"},
		"a commit the forge withholds": {approvals: []policy.PullApproval{by("ada", "")}, want: policy.Pending, reason: "does not show which commit"},
		"the author's own":             {approvals: []policy.PullApproval{by("Bot", head)}, want: policy.Pending, reason: "author Bot does not count"},
		"closed": {
			change: func(p *policy.Pull) { p.State = policy.PullClosed }, approvals: []policy.PullApproval{by("ada", head)},
			want: policy.Fail, reason: "closed without being merged",
		},
		"merged, and the branch has something else": {
			change: func(p *policy.Pull) { p.State = policy.PullMerged }, approvals: []policy.PullApproval{by("ada", head)},
			want: policy.Fail, reason: "delete branch review/x",
		},
		"merged by hand, approved": {
			change: func(p *policy.Pull) { p.State = policy.PullMerged }, approvals: []policy.PullApproval{by("ada", head)},
			merged: true, want: policy.Pass,
		},
		"merged by hand, not approved": {
			change: func(p *policy.Pull) { p.State = policy.PullMerged }, merged: true, want: policy.Fail, reason: "revert the merge",
		},
		"a head that the forge does not know yet": {
			change: func(p *policy.Pull) { p.Head = older }, approvals: []policy.PullApproval{by("ada", older)},
			want: policy.Pending, reason: "has not seen the push yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := policy.Proposal{
				Head: "review/x", Base: "stage/x", Commit: head, Shown: policy.Shown{Branch: "review/x", Path: "x", Commit: head},
				Current: !test.merged, Landed: test.merged, Approvals: test.approvals,
			}
			if !test.none {
				p.Pull = policy.Pull{URL: "https://forge/1", State: policy.PullOpen, Author: "bot", Head: head}
				if test.change != nil {
					test.change(&p.Pull)
				}
			}
			result := policy.Approved(p)
			expect(t, result, test.want, test.reason)
			if two := name == "approved by two"; two != (result.Property == policy.TwoReviewed) || !two && result.Property != "" {
				t.Errorf("property %q", result.Property)
			}
		})
	}
}

// TestApprovedProposal is about what is proposed, not about who approved it.
func TestApprovedProposal(t *testing.T) {
	t.Parallel()
	const head = "1111111111111111111111111111111111111111"
	for name, c := range map[string]struct {
		change func(*policy.Proposal)
		want   policy.Result
		reason string
	}{
		"live already":     {func(p *policy.Proposal) { p.Live, p.Commit = "abc", "" }, policy.Pass, "live since commit abc"},
		"no branch":        {func(p *policy.Proposal) { p.Commit = "" }, policy.Pending, "no pull request shows it yet"},
		"another artifact": {func(p *policy.Proposal) { p.Shown.Commit, p.Pull.Shows = "", "git-2" }, policy.Pending, "shows git-2"},
		"below the head":   {func(p *policy.Proposal) { p.Shown.Commit, p.Pull.URL, p.Pull.Shows = "abc", "u", "git-2" }, policy.Pending, "pull request u shows git-2"},
		"other files":      {func(p *policy.Proposal) { p.Shown.Differences = "a.yaml" }, policy.Fail, "its files in x are others: a.yaml; promote proposes it again"},
		"overtaken":        {func(p *policy.Proposal) { p.Current = false }, policy.Fail, "branch stage/x has something else in x"},
		"no token":         {func(p *policy.Proposal) { p.Pull = policy.Pull{Unknown: "no token"} }, policy.Fail, "cannot be asked: no token"},
	} {
		p := policy.Proposal{
			Head: "review/x", Base: "stage/x", Commit: head, Shown: policy.Shown{Branch: "review/x", Path: "x", Commit: head}, Current: true,
			Pull: policy.Pull{State: policy.PullOpen, Head: head, Author: "bot"}, Approvals: []policy.PullApproval{{User: "ada", Commit: head}},
		}
		if r := policy.Approved(p); r.Result != policy.Pass {
			t.Fatalf("what %s changes does not pass: %+v", name, r)
		}
		// Where a gate counts approvals, the pull request needs none for itself.
		counted := p
		counted.Reviewed, counted.Approvals = true, nil
		expect(t, policy.Approved(counted), policy.Pass, "proposes exactly the artifact")
		c.change(&counted)
		expect(t, policy.Approved(counted), c.want, c.reason)
		c.change(&p)
		expect(t, policy.Approved(p), c.want, c.reason)
	}
}

func TestMerged(t *testing.T) {
	t.Parallel()
	shown := policy.Shown{Branch: "stage/x", Path: "x", Commit: "c"}
	other := shown
	other.Differences = "a.yaml"
	absent := policy.Shown{Branch: "stage/x", Path: "x", Missing: "no commit names it"}
	for name, c := range map[string]struct {
		merge  policy.Merge
		want   policy.Result
		reason string
	}{
		"merged":                         {policy.Merge{Shown: shown, Pull: policy.Pull{State: policy.PullMerged}}, policy.Pass, "merged: commit c of branch stage/x has the artifact's files in x"},
		"pushed, open":                   {policy.Merge{Shown: shown, Pull: policy.Pull{State: policy.PullOpen, URL: "u"}}, policy.Fail, "no pull request"},
		"other files":                    {policy.Merge{Shown: other}, policy.Fail, "its files in x are others: a.yaml"},
		"merged, says the forge":         {policy.Merge{Shown: shown, Pull: policy.Pull{State: policy.PullMerged}}, policy.Pass, "merged"},
		"pushed, without a pull request": {policy.Merge{Shown: shown, Head: "review/x"}, policy.Fail, "no pull request from review/x brought it there"},
		"pushed, closed":                 {policy.Merge{Shown: shown, Pull: policy.Pull{State: policy.PullClosed, URL: "u"}}, policy.Fail, "no pull request"},
		"cannot be asked":                {policy.Merge{Shown: shown, Pull: policy.Pull{Unknown: "no token"}}, policy.Pass, "merged"},
		"not merged yet":                 {policy.Merge{Proposed: true, Shown: absent, Pull: policy.Pull{State: policy.PullOpen, URL: "u"}}, policy.Pending, "pull request u is open: merge it"},
		"closed":                         {policy.Merge{Proposed: true, Shown: absent, Pull: policy.Pull{State: policy.PullClosed, URL: "u"}}, policy.Fail, "was closed without being merged"},
		"merged, and overwritten":        {policy.Merge{Proposed: true, Shown: absent, Pull: policy.Pull{State: policy.PullMerged, URL: "u"}}, policy.Fail, "u was merged, and branch stage/x does not show the artifact"},
		"no pull request":                {policy.Merge{Shown: absent, Proposed: true}, policy.Pending, "no pull request shows it yet"},
		"another release":                {policy.Merge{Shown: absent, Pull: policy.Pull{State: policy.PullOpen, URL: "u", Shows: "git-2"}}, policy.Pending, "pull request u shows git-2"},
		"forge that is not asked":        {policy.Merge{Proposed: true, Shown: absent, Head: "review/x", Pull: policy.Pull{Unknown: "no token"}}, policy.Pending, "its state is unknown: no token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, policy.Merged(c.merge), c.want, c.reason)
		})
	}
	for next, s := range map[string]policy.Shown{"": shown, "others: a.yaml": other, "no commit names it; promote it": absent} {
		if check := policy.ShownOn("mirror", s, "promote it"); (check.Result == policy.Pass) != (next == "") || !strings.Contains(check.Reason, next) {
			t.Errorf("%v: %+v", s, check)
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	declared := []pipeline.Gate{{Kind: "soak"}, {Kind: policy.KindApproval}, {Kind: policy.KindWindow, Name: "soak"}, {Kind: policy.KindFile}}
	results := func(order, soak policy.Result) []policy.GateResult {
		return []policy.GateResult{
			{Gate: policy.GateReview, Result: policy.Pending}, {Gate: policy.GateOrder, Result: order},
			{Gate: "soak", Result: soak}, {Gate: "approval", Result: policy.Fail}, {Gate: "soak", Result: policy.Pending}, {Gate: "file", Result: policy.Fail},
		}
	}
	for _, c := range []struct {
		order, soak policy.Result
		want        bool
	}{{policy.Pass, policy.Pass, true}, {policy.Waived, policy.Waived, true}, {policy.Pending, policy.Pass, false}, {policy.Pass, policy.Pending, false}, {policy.Pass, policy.Fail, false}} {
		if got := policy.Due(results(c.order, c.soak), declared); got != c.want {
			t.Errorf("order %s, soak %s: %t", c.order, c.soak, got)
		}
	}
}

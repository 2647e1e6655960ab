package pullrequest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/publish/pullrequest"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const head, older = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	at := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	by := func(user, commit string) forge.Approval { return forge.Approval{User: user, Commit: commit, Time: at} }
	for name, test := range map[string]struct {
		change    func(*forge.PullRequest)
		none      bool // no pull request
		approvals []forge.Approval
		reviewers []string
		merged    bool
		want      pullrequest.Verdict
		reason    string
	}{
		"approved":                     {approvals: []forge.Approval{by("ada", head)}, want: pullrequest.Approved, reason: "ada at 2026-04-01T12:00:00Z"},
		"no pull request":              {none: true, want: pullrequest.Denied, reason: "there is no pull request"},
		"nobody":                       {want: pullrequest.Awaited, reason: "nobody approved"},
		"an older head":                {approvals: []forge.Approval{by("ada", older)}, want: pullrequest.Awaited, reason: "ada approved 222222222222, another commit"},
		"a commit the forge withholds": {approvals: []forge.Approval{by("ada", "")}, want: pullrequest.Awaited, reason: "does not show which commit"},
		"the author's own":             {approvals: []forge.Approval{by("Bot", head)}, want: pullrequest.Awaited, reason: "author Bot does not count"},
		"a named reviewer":             {approvals: []forge.Approval{by("ADA", head)}, reviewers: []string{"ada", "acme/sre"}, want: pullrequest.Approved},
		"somebody who is not named":    {approvals: []forge.Approval{by("eve", head)}, reviewers: []string{"ada"}, want: pullrequest.Awaited, reason: "eve is not among"},
		"teams only":                   {approvals: []forge.Approval{by("ada", head)}, reviewers: []string{"acme/sre"}, want: pullrequest.Denied, reason: "only teams"},
		"closed": {
			change: func(p *forge.PullRequest) { p.State = forge.StateClosed }, approvals: []forge.Approval{by("ada", head)},
			want: pullrequest.Denied, reason: "closed without being merged",
		},
		"merged, and the branch has something else": {
			change: func(p *forge.PullRequest) { p.State = forge.StateMerged }, approvals: []forge.Approval{by("ada", head)},
			want: pullrequest.Denied, reason: "hydrate again",
		},
		"merged by hand, approved": {
			change: func(p *forge.PullRequest) { p.State = forge.StateMerged }, approvals: []forge.Approval{by("ada", head)},
			merged: true, want: pullrequest.Approved,
		},
		"merged by hand, not approved": {
			change: func(p *forge.PullRequest) { p.State = forge.StateMerged }, merged: true, want: pullrequest.Denied, reason: "revert the merge",
		},
		"a head that the forge does not know yet": {
			change: func(p *forge.PullRequest) { p.Head.Commit = older }, approvals: []forge.Approval{by("ada", older)},
			want: pullrequest.Awaited, reason: "has not seen the push yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{approvals: test.approvals}
			if !test.none {
				pull := forge.PullRequest{
					Number: 1, URL: "https://forge/1", State: forge.StateOpen, Author: "bot",
					Head: forge.Branch{Name: "review/x", Commit: head}, Base: forge.Branch{Name: "stage/x"},
				}
				if test.change != nil {
					test.change(&pull)
				}
				f.pulls = []forge.PullRequest{pull}
			}
			got, err := pullrequest.Judge(t.Context(), f, pullrequest.Question{
				Head: "review/x", Base: "stage/x", Commit: head, Reviewers: test.reviewers, Merged: test.merged,
			})
			if err != nil || got.Verdict != test.want || !strings.Contains(got.Reason, test.reason) {
				t.Errorf("%s: %s, %v; want %s with %q", got.Verdict, got.Reason, err, test.want, test.reason)
			}
			if len(f.calls) > 2 {
				t.Errorf("asked %q", f.calls)
			}
		})
	}
}

package pullrequest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/forge"
)

// Verdict is the state of a review.
type Verdict string

// The verdicts.
const (
	Approved Verdict = "approved"
	Awaited  Verdict = "awaited" // an approval is missing, or the forge has not seen a push yet
	Denied   Verdict = "denied"
)

// Question asks whether exactly one commit is approved.
type Question struct {
	Head, Base string   // branches
	Commit     string   // of the head, to be approved
	Reviewers  []string // whose approval counts: users, or teams as owner/team; none means every user who may write to the repository
	Merged     bool     // accept a merged pull request as well as an open one
}

// Judgement is the answer.
type Judgement struct {
	Pull    forge.PullRequest // zero for none
	Verdict Verdict
	Reason  string // one sentence: who approved, or what is missing
}

// Judge reads the pull request, with one request (a few on Gitea if it is not open), and its reviews.
func Judge(ctx context.Context, f Forge, q Question) (Judgement, error) {
	pull, found, err := f.Find(ctx, q.Head, q.Base)
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Pull: pull, Verdict: Denied}
	switch {
	case !found:
		j.Reason = fmt.Sprintf("there is no pull request from %s into %s: run hydrate again, with an API token", q.Head, q.Base)
		return j, nil
	case pull.State == forge.StateClosed:
		j.Reason = fmt.Sprintf("pull request %s was closed without being merged: reopen it if the release is wanted", pull.URL)
		return j, nil
	case pull.State == forge.StateMerged && !q.Merged:
		j.Reason = fmt.Sprintf("pull request %s was merged before, and %s has other files now: run hydrate again", pull.URL, q.Base)
		return j, nil
	case pull.Head.Commit != q.Commit:
		j.Verdict = Awaited
		j.Reason = fmt.Sprintf("pull request %s has the head %.12s, and branch %s is at %.12s: the forge has not seen the push yet", pull.URL, pull.Head.Commit, q.Head, q.Commit)
		return j, nil
	}
	approvals, err := f.Approvals(ctx, pull)
	if err != nil {
		return j, err
	}
	j.Verdict, j.Reason = q.count(pull, approvals)
	return j, nil
}

// count counts the approvals of a pull request.
func (q Question) count(pull forge.PullRequest, approvals []forge.Approval) (Verdict, string) {
	people := slices.DeleteFunc(slices.Clone(q.Reviewers), func(name string) bool { return strings.Contains(name, "/") })
	if len(people) == 0 && len(q.Reviewers) > 0 {
		return Denied, "mirror.reviewers names only teams, whose members are unknown here: add the users whose approval counts"
	}
	named := func(user string) bool {
		return len(people) == 0 || slices.ContainsFunc(people, func(name string) bool { return strings.EqualFold(name, user) })
	}
	var counted, others []string
	for _, a := range approvals {
		switch {
		case strings.EqualFold(a.User, pull.Author):
			others = append(others, fmt.Sprintf("the author %s does not count", a.User))
		case !named(a.User):
			others = append(others, fmt.Sprintf("%s is not among mirror.reviewers", a.User))
		case a.Commit == "":
			others = append(others, fmt.Sprintf("the forge does not show which commit %s approved", a.User))
		case a.Commit != q.Commit:
			others = append(others, fmt.Sprintf("%s approved %.12s, another commit", a.User, a.Commit))
		default:
			counted = append(counted, fmt.Sprintf("%s at %s", a.User, a.Time.UTC().Format("2006-01-02T15:04:05Z")))
		}
	}
	if len(counted) > 0 {
		return Approved, fmt.Sprintf("commit %s was approved by %s: %s", q.Commit, strings.Join(counted, ", "), pull.URL)
	}
	if pull.State == forge.StateMerged {
		return Denied, fmt.Sprintf("pull request %s was merged by hand without an approval of commit %.12s: revert the merge on %s, and run hydrate again",
			pull.URL, q.Commit, q.Base)
	}
	reason := fmt.Sprintf("nobody approved commit %.12s yet: %s", q.Commit, pull.URL)
	if len(people) > 0 {
		reason += ", which needs " + strings.Join(people, " or ")
	}
	if len(others) > 0 {
		reason += " (" + strings.Join(others, "; ") + ")"
	}
	return Awaited, reason
}

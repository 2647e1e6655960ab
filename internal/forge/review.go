package forge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Approval is a reviewer's valid approval.
type Approval struct {
	User   string
	Commit string // the approved head; empty if the forge does not know it, and then it should count for none
	Time   time.Time
}

type verdict int

const (
	commented verdict = iota
	approved
	rejected  // changes are requested
	dismissed // was an approval or a rejection
)

type review struct {
	user    string
	verdict verdict
	commit  string
	time    time.Time
	order   int64
	counts  bool // its author may approve, of countedReviews
}

// reviews is the part of a driver for reviews.
type reviews interface {
	// reviews returns all reviews of a pull request, in any order.
	reviews(ctx context.Context, pull PullRequest) ([]review, error)
	// mayApprove reports whether the author of a valid approval may write to the repository.
	mayApprove(ctx context.Context, review review) (bool, error)
	// member reports whether a user belongs to a team of an owner. One that does not exist has no members.
	member(ctx context.Context, owner, team, user string) (bool, error)
}

// countedReviews is the driver of a forge whose reviews show whether they count.
type countedReviews struct{}

func (countedReviews) mayApprove(_ context.Context, review review) (bool, error) {
	return review.counts, nil
}

// Approvals returns the valid approvals, oldest first: each user's last review, if it approves, was not dismissed, and the
// user may write to the repository (anybody may approve in a public one). Each has the approved commit, which may differ
// from the head. A user is the name of the forge's account; the caller decides whether the author's own approval counts.
//
// GitLab stores no commit with an approval: it is the newest version of the merge request before the approval's time.
func (r *Repository) Approvals(ctx context.Context, pull PullRequest) ([]Approval, error) {
	all, err := r.driver.reviews(ctx, pull)
	if err != nil {
		return nil, r.fail("read the reviews of pull request "+r.reference(pull.Number), err)
	}
	var approvals []Approval
	for _, review := range latestApprovals(all) {
		ok, err := r.driver.mayApprove(ctx, review)
		if err != nil {
			return nil, r.fail("read the permissions of "+review.user, err)
		}
		if ok {
			approvals = append(approvals, Approval{User: review.user, Commit: review.commit, Time: review.time})
		}
	}
	return approvals, nil
}

// Member reports whether a user belongs to a team, named as owner/team or, of the repository's owner, as team. On GitLab it is a
// group. A team that does not exist has no members. The token must be allowed to read them.
func (r *Repository) Member(ctx context.Context, team, user string) (bool, error) {
	at := strings.LastIndexByte(team, '/')
	owner := r.path[:strings.LastIndexByte(r.path, '/')]
	if at >= 0 {
		owner = team[:at]
	}
	is, err := r.driver.member(ctx, owner, team[at+1:], user)
	return is, r.fail(fmt.Sprintf("read whether %s belongs to the team %s", user, team), err)
}

// latestApprovals returns each user's last review if it approves. A withdrawn review does not restore an earlier one.
func latestApprovals(all []review) []review {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b review) int { return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.order, b.order)) })
	last := map[string]review{}
	for _, review := range all {
		if review.verdict != commented && review.user != "" {
			last[strings.ToLower(review.user)] = review
		}
	}
	return slices.DeleteFunc(all, func(review review) bool {
		return review.verdict != approved || last[strings.ToLower(review.user)] != review
	})
}

package forge

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// Approval is a reviewer's approval that stands.
type Approval struct {
	User   string
	Commit string // the head that it was given on; empty where the forge cannot tell, and then it should count for none
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
	counts  bool // GitLab, Gitea: its author may approve
}

// reviews is what drivers know of reviews.
type reviews interface {
	// reviews returns all of a pull request, in any order.
	reviews(ctx context.Context, pull PullRequest) ([]review, error)
	// mayApprove reports whether a standing approval comes from somebody who may write to the repository.
	mayApprove(ctx context.Context, review review) (bool, error)
}

// Approvals returns the approvals that stand, oldest first: each user's last word, where it was not dismissed and no
// request for changes, and where the user may write to the repository (anybody may approve in a public one). Each has the
// commit it was given on, which need not be the head any more. A user is the name of the forge's account; whether the
// author's own counts is for the caller to say.
//
// GitLab keeps no commit with an approval. It is the newest version of the merge request before the approval's time.
func (r *Repository) Approvals(ctx context.Context, pull PullRequest) ([]Approval, error) {
	all, err := r.driver.reviews(ctx, pull)
	if err != nil {
		return nil, r.fail("read the reviews of pull request "+r.reference(pull.Number), err)
	}
	var approvals []Approval
	for _, review := range standing(all) {
		ok, err := r.driver.mayApprove(ctx, review)
		if err != nil {
			return nil, r.fail("read what "+review.user+" may do", err)
		}
		if ok {
			approvals = append(approvals, Approval{User: review.user, Commit: review.commit, Time: review.time})
		}
	}
	return approvals, nil
}

// standing returns each user's last word where it is an approval. What was withdrawn does not bring back what was said
// before it.
func standing(all []review) []review {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b review) int { return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.order, b.order)) })
	last := map[string]review{}
	for _, review := range all {
		if review.verdict != commented && review.user != "" {
			last[strings.ToLower(review.user)] = review
		}
	}
	var out []review
	for _, review := range all {
		if review.verdict == approved && last[strings.ToLower(review.user)] == review {
			out = append(out, review)
		}
	}
	return out
}

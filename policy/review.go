package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// GateReview is the name of the gate that a stage's pull request is: people merged exactly the artifact or, where promotion
// merges, approved exactly the commit that shows it. Where the stage declares a gate of that kind, which says whose approvals
// count, it is GatePullRequest, and is about the pull request alone.
const (
	GateReview      = KindReview
	GatePullRequest = "pull-request"
)

// GateOfPull returns the name of the gate that the pull request of a stage with these gates is.
func GateOfPull(gates []pipeline.Gate) string {
	if NeedsOf(gates).Review {
		return GatePullRequest
	}
	return GateReview
}

// Pull is a pull request as the forge shows it.
type Pull struct {
	State   PullState // PullNone for none
	Unknown string    // why the forge was not asked; "" if it was
	URL     string
	Author  string
	Head    string // commit
	Shows   string // the release that the review branch shows; "" for none
}

// follows is the result for a release that the pull request of its stage does not show.
func (p Pull) follows() GateResult {
	switch {
	case p.Shows == "":
		return pending(time.Time{}, "no pull request shows it yet: promote opens one when the release is due")
	case p.URL == "":
		return pending(time.Time{}, "the review branch shows %s, and shows this release when it is due and that one was promoted, closed or nobody approved it", p.Shows)
	}
	return pending(time.Time{}, "pull request %s shows %s, and shows this release when it is due and that one was promoted, closed or nobody approved it", p.URL, p.Shows)
}

// PullState is what became of a pull request.
type PullState string

// The states of pull requests.
const (
	PullNone   PullState = ""
	PullOpen   PullState = "open"
	PullMerged PullState = "merged"
	PullClosed PullState = "closed"
)

// PullApproval is an approval of a pull request.
type PullApproval struct {
	User   string
	Commit string // that was approved; "" if the forge does not show it
	Time   time.Time
	Teams  []string // of those that a gate names, the ones that the user belongs to
}

// Merge is what is known of a release that people have to merge into the stage branch.
type Merge struct {
	Head     string // the review branch
	Proposed bool   // that shows it
	Shown    Shown  // on the stage branch
	Pull     Pull   // that brought it there, or is to
}

// Merged judges whether people merged an artifact, by whatever method. That the stage branch shows it is not enough where the
// forge can be asked: the stage's pull request must have brought it there. Otherwise a push to the stage branch would do, or a commit
// below the head of a review branch, which no reviewer sees in what that changes.
func Merged(m Merge) GateResult {
	branch := m.Shown.Branch
	switch {
	case m.Shown.intact() && m.Pull.Unknown == "" && m.Pull.State != PullMerged:
		return fail("branch %s shows the artifact since commit %s, and no pull request from %s brought it there: it came by a push or with something else; revert that commit and merge the pull request",
			branch, m.Shown.Commit, m.Head)
	case m.Shown.intact() && m.Pull.Unknown != "":
		return pass("merged, as branch %s has it, and nobody was asked who merged it (%s): commit %s has the artifact's files in %s", branch, m.Pull.Unknown, m.Shown.Commit, m.Shown.Path)
	case m.Shown.intact():
		return pass("merged: commit %s of branch %s has the artifact's files in %s", m.Shown.Commit, branch, m.Shown.Path)
	case m.Shown.Commit != "":
		return fail("%s", m.Shown.differs())
	case m.Proposed && m.Pull.Unknown != "":
		return pending(time.Time{}, "branch %s does not show the artifact: merge the pull request from %s (its state is unknown: %s)", branch, m.Head, m.Pull.Unknown)
	case !m.Proposed || m.Pull.State == PullNone:
		return m.Pull.follows()
	case m.Pull.State == PullOpen:
		return pending(time.Time{}, "pull request %s is open: merge it", m.Pull.URL)
	case m.Pull.State == PullClosed:
		return fail("pull request %s was closed without being merged", m.Pull.URL)
	}
	return fail("pull request %s was merged, and branch %s does not show the artifact: delete branch %s to have it proposed again", m.Pull.URL, branch, m.Head)
}

// Proposal is what is known of a release that people have to approve before promotion merges it.
type Proposal struct {
	Live      string // the commit of the live ref that shows the same content; "" if that is not live
	Head      string // the review branch
	Commit    string // its head; "" if it does not exist
	Shown     Shown  // on the review branch
	Base      string // the stage branch
	Current   bool   // the stage branch has what the proposal is made on
	Landed    bool   // the stage branch has the proposal already: somebody merged it
	Pull      Pull
	Reviewed  bool // a gate says whose approvals count, and counts them
	Approvals []PullApproval
}

// Approved judges whether the review branch shows exactly the artifact, on what the stage branch has now, and somebody approved
// exactly that commit.
func Approved(p Proposal) GateResult {
	const again = "promote proposes it again, and it has to be approved again"
	switch {
	case p.Live != "":
		return pass("the same content is live since commit %s: there is nothing to review", p.Live)
	case p.Commit == "" || p.Shown.Commit != p.Commit:
		return p.Pull.follows()
	case !p.Shown.intact():
		return fail("%s; %s", p.Shown.differs(), again)
	case !p.Current && !p.Landed:
		return fail("branch %s has something else in %s than when %s was proposed: %s", p.Base, p.Shown.Path, p.Head, again)
	case p.Pull.Unknown != "":
		return fail("whether commit %s of branch %s is approved cannot be asked: %s", p.Commit, p.Head, p.Pull.Unknown)
	case p.Pull.State == PullNone:
		return pending(time.Time{}, "there is no pull request from %s into %s yet: promote opens it, with an API token", p.Head, p.Base)
	case p.Pull.State == PullClosed:
		return fail("pull request %s was closed without being merged: reopen it if the release is wanted", p.Pull.URL)
	case p.Pull.State == PullMerged && !p.Landed:
		return fail("pull request %s was merged before, and %s has other files now: delete branch %s to have it proposed again", p.Pull.URL, p.Base, p.Head)
	case p.Pull.Head != p.Commit:
		return pending(time.Time{}, "pull request %s has the head %.12s, and branch %s is at %.12s: the forge has not seen the push yet", p.Pull.URL, p.Pull.Head, p.Head, p.Commit)
	}
	if p.Reviewed {
		return pass("pull request %s proposes exactly the artifact, in commit %s", p.Pull.URL, p.Commit)
	}
	return p.count()
}

// Asks reports whether approvals of the pull request decide.
func (p Proposal) Asks() bool {
	return p.Pull.Head == p.Commit && (p.Pull.State == PullOpen || p.Pull.State == PullMerged && p.Landed)
}

// count counts the approvals of a pull request: everybody counts whom the forge lets approve.
func (p Proposal) count() GateResult {
	var counted, others []string
	people := map[string]bool{}
	for _, a := range p.Approvals {
		switch {
		case strings.EqualFold(a.User, p.Pull.Author):
			others = append(others, fmt.Sprintf("the author %s does not count", a.User))
		case a.Commit == "":
			others = append(others, fmt.Sprintf("the forge does not show which commit %s approved", a.User))
		case a.Commit != p.Commit:
			others = append(others, fmt.Sprintf("%s approved %.12s, another commit", a.User, a.Commit))
		default:
			counted = append(counted, fmt.Sprintf("%s at %s", a.User, a.Time.UTC().Format(time.RFC3339)))
			people[strings.ToLower(a.User)] = true
		}
	}
	if len(counted) > 0 {
		result := pass("commit %s was approved by %s: %s", p.Commit, strings.Join(counted, ", "), p.Pull.URL)
		if len(people) >= reviewParties {
			result.Property = TwoReviewed
		}
		return result
	}
	if p.Pull.State == PullMerged {
		return fail("pull request %s was merged by hand without an approval of commit %.12s: revert the merge on %s, and promote proposes it again", p.Pull.URL, p.Commit, p.Base)
	}
	reason := fmt.Sprintf("nobody approved commit %.12s yet: %s", p.Commit, p.Pull.URL)
	if len(others) > 0 {
		reason += " (" + strings.Join(others, "; ") + ")"
	}
	return pending(time.Time{}, "%s", reason)
}

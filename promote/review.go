package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/publish/pullrequest"
)

// review is the evidence about the review of a release.
type review struct {
	branch   string
	proposal ledger.Proposal
	pull     forge.PullRequest // zero for none
	forge    *forge.Repository // nil without a token
	facts    policy.Reviewed
}

// returns adds to the facts that the stage was rolled back from a release, and what was counted for it before. A new beginning that
// held the release knows no more of that than its own time.
func (r *run) returns(ctx context.Context, s *stage, l lock.Lock, f *policy.Facts) error {
	past, err := r.past(ctx, s.view, l)
	if err != nil {
		return err
	}
	of := func(v visit) bool { return v.To.Release == l.ReleaseID }
	i := slices.IndexFunc(past, of)
	left := i >= 0 && past[i].undone != nil
	if left {
		f.RolledBack = past[i].undone.Time
	}
	for _, v := range past {
		// What was made within the beginning's second may be from before it.
		if at := v.Time.Add(time.Second); v.holds(l.ReleaseID, "", false) && at.After(f.RolledBack) {
			f.RolledBack = at
		}
		for _, c := range v.Checks {
			if left && of(v) {
				f.Spent = append(f.Spent, c.Evidence...)
			}
		}
	}
	return nil
}

// forge opens the forge of a stage's pull requests. All stages of a run share one: its writes take turns.
func (r *run) forge(ctx context.Context, s *stage) (*forge.Repository, error) {
	url := s.live.Remote.URL()
	return r.forges.Get(url, func() (*forge.Repository, error) { return forge.Open(ctx, url, r.Forge) })
}

// judgeReview judges the review of a release.
func (r *run) judgeReview(ctx context.Context, s *stage, j *judgement) (policy.GateResult, error) {
	j.review = &review{branch: pipeline.ReviewBranch(s.pipeline.Name, s.stage.Name, j.artifact.Release)}
	var result policy.GateResult
	if j.declared.Mirror.ShowsLive() {
		proposal, err := r.proposal(ctx, s, j)
		if err != nil {
			return result, err
		}
		result = policy.Approved(proposal)
	} else {
		merge, err := r.merge(ctx, s, j)
		if err != nil {
			return result, err
		}
		result = policy.Merged(merge)
	}
	result.Gate = policy.GateOfPull(j.declared.Gates)
	return result, nil
}

// approvals asks the forge who approved the pull request, and which teams that a gate names they belong to.
func (r *run) approvals(ctx context.Context, s *stage, j *judgement) ([]policy.PullApproval, error) {
	named := policy.NeedsOf(j.declared.Gates).Reviewers
	all, err := j.review.forge.Approvals(ctx, j.review.pull)
	var approvals []policy.PullApproval
	for _, a := range all {
		approval := policy.PullApproval{User: a.User, Commit: a.Commit, Time: a.Time}
		for _, name := range named {
			if strings.EqualFold(name, a.User) || a.Commit != j.review.pull.Head.Commit {
				continue
			}
			member, err := j.review.forge.Member(ctx, name, a.User)
			if forge.Refused(err) {
				s.note("%v", err)
			} else if err != nil {
				return nil, err
			}
			if member {
				approval.Teams = append(approval.Teams, name)
			}
		}
		approvals = append(approvals, approval)
	}
	return approvals, err
}

// merge reads what the stage branch shows of the artifact, and asks the forge, where it can be asked, whether people merged it.
func (r *run) merge(ctx context.Context, s *stage, j *judgement) (policy.Merge, error) {
	into := verify.StagePlace(j.declared.Mirror)
	m := policy.Merge{Head: j.review.branch}
	var err error
	if m.Shown, j.examined.Compared, err = verify.Shown(ctx, s.live.Remote, into, j.artifact.Digest, j.examined.Tree); err != nil {
		return m, err
	}
	if m.Shown.Differences != "" {
		return m, nil
	}
	if m.Pull, err = r.pull(ctx, s, j); err != nil || !policy.NeedsOf(j.declared.Gates).Review {
		return m, err
	}
	j.review.facts, err = r.mergedHead(ctx, s, j, m)
	return m, err
}

// mergedHead reads who approved the head of a pull request that people merge. It must show what the stage branch does.
func (r *run) mergedHead(ctx context.Context, s *stage, j *judgement, m policy.Merge) (policy.Reviewed, error) {
	facts := policy.Reviewed{Pull: m.Pull, Missing: m.Pull.Unknown}
	switch {
	case facts.Missing != "":
		return facts, nil
	case m.Pull.State == policy.PullNone:
		facts.Missing = "there is no pull request from " + m.Head
		return facts, nil
	case m.Shown.Commit != "":
		same, err := sameFiles(ctx, s.live.Remote, j.declared.Mirror.Path, m.Pull.Head, m.Shown.Commit)
		if err != nil || !same {
			facts.Missing = fmt.Sprintf("commit %.12s, the head of pull request %s, does not have the artifact's files", m.Pull.Head, m.Pull.URL)
			return facts, err
		}
	}
	facts.Commit = m.Pull.Head
	var err error
	facts.Approvals, err = r.approvals(ctx, s, j)
	return facts, err
}

// sameFiles reports whether two commits have the same files below a path. One that is gone has none.
func sameFiles(ctx context.Context, remote *git.Remote, path string, ids ...string) (bool, error) {
	var commits []git.Commit
	for _, id := range ids {
		c, err := remote.Commit(ctx, git.Hash(id))
		if errors.Is(err, git.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		commits = append(commits, c)
	}
	trees, err := remote.PathIDs(ctx, path, commits...)
	return err == nil && trees[0] != "" && trees[0] == trees[1], err
}

// pull asks the forge for the pull request of the release.
func (r *run) pull(ctx context.Context, s *stage, j *judgement) (policy.Pull, error) {
	repository, err := r.forge(ctx, s)
	if forge.Unavailable(err) {
		return policy.Pull{Unknown: err.Error()}, nil
	}
	if err != nil {
		return policy.Pull{}, err
	}
	pull, found, err := repository.Find(ctx, j.review.branch, j.declared.Mirror.Branch)
	if err == nil {
		j.review.pull, j.review.forge = pull, repository
	}
	if err != nil || !found {
		return policy.Pull{}, err
	}
	return policy.Pull{State: policy.PullState(pull.State), URL: pull.URL, Author: pull.Author, Head: pull.Head.Commit}, nil
}

// proposal reads what the review branch proposes, and who approved it.
func (r *run) proposal(ctx context.Context, s *stage, j *judgement) (policy.Proposal, error) {
	m := j.declared.Mirror
	p := policy.Proposal{Head: j.review.branch, Base: m.Branch, Reviewed: policy.NeedsOf(j.declared.Gates).Review}
	if current := s.state.Live; current != nil && s.state.Unpromoted == nil && current.To.Content == j.artifact.Content {
		p.Live = current.Commit
		return p, nil
	}
	proposed, err := ledger.Proposed(ctx, s.live.Remote, p.Head, verify.StagePlace(m))
	if err != nil || proposed.Head == "" {
		return p, err
	}
	p.Commit, p.Current, p.Landed = string(proposed.Head), proposed.Current, proposed.Landed
	if p.Shown, j.examined.Compared, err = verify.Shown(ctx, s.live.Remote, ledger.Place{Branch: p.Head, Path: m.Path}, j.artifact.Digest, j.examined.Tree); err != nil {
		return p, err
	}
	if p.Pull, err = r.pull(ctx, s, j); err != nil || p.Pull.Unknown != "" {
		return p, err
	}
	j.review.proposal = proposed
	if p.Asks() {
		p.Approvals, err = r.approvals(ctx, s, j)
		j.review.facts = policy.Reviewed{Pull: p.Pull, Commit: p.Commit, Approvals: p.Approvals}
	}
	return p, err
}

// merged returns the commit that a promotion merges: the approved head, so that the forge shows its pull request as merged.
func (j *judgement) merged() git.Hash {
	if j.review == nil || j.review.pull.Number == 0 || !j.review.proposal.Current || j.review.proposal.Landed {
		return ""
	}
	return j.review.proposal.Head
}

// showVerdict writes what delays a promotion to the head of its pull request. A failure to write does not change the
// promotion.
func (r *run) showVerdict(ctx context.Context, s *stage, j *judgement) {
	err := j.outcome()
	if err == nil || r.DryRun || !j.review.open() {
		return
	}
	state := forge.Status{Context: pullrequest.StatusContext(s.stage.Name), State: forge.Pending, Description: err.Error(), URL: j.review.pull.URL}
	if _, err := j.review.forge.SetStatus(ctx, string(j.review.proposal.Head), state); err != nil {
		s.note("the verdict is not on the pull request: %v", err)
	}
}

// open reports whether the head that was judged has an open pull request.
func (v *review) open() bool {
	return v != nil && v.forge != nil && v.pull.State == forge.StateOpen && v.pull.Head.Commit == string(v.proposal.Head)
}

// landed shows on the forge that the release is live: a commit status, and a pull request that is merged or else closed with
// a pointer. It notes a failure, which the next hydration repairs.
func (r *run) landed(ctx context.Context, s *stage, j *judgement) {
	if j.review == nil || j.review.forge == nil || j.review.proposal.Head == "" {
		return
	}
	_, err := j.review.forge.SetStatus(ctx, string(j.review.proposal.Head), forge.Status{
		Context:     pullrequest.StatusContext(s.stage.Name),
		State:       forge.Success,
		Description: "promoted: record " + s.result.Record.String(),
		URL:         j.review.forge.CommitURL(s.live.Remote.URL(), s.result.Commit),
	})
	if err == nil && j.review.open() {
		_, err = pullrequest.CloseLanded(ctx, j.review.forge, j.review.pull, s.result.Commit)
	}
	if err != nil {
		s.note("the release is live, and its pull request does not show that: %v", err)
	}
}

package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/publish/pullrequest"
)

// review is what the review branch of a stage shows, and its pull request.
type review struct {
	remote   *git.Remote // of the mirror
	branch   string
	into     ledger.Place
	proposal ledger.Proposal
	forge    *forge.Repository // nil if it cannot be asked
	unknown  string            // why not
	pull     forge.PullRequest // the newest one between both branches; zero for none
}

// reviewed reads what the review branch of a stage shows, once a run.
func (r *run) reviewed(ctx context.Context, s *stage, declared pipeline.Expanded) (*review, error) {
	if s.review != nil {
		return s.review, nil
	}
	v := &review{branch: pipeline.ReviewBranch(s.pipeline.Name, s.stage.Name), into: verify.StagePlace(declared.Mirror)}
	var err error
	if v.remote, err = verify.MirrorRemote(ctx, declared, r.Workspace.Repository); err != nil {
		return nil, err
	}
	if v.proposal, err = ledger.Proposed(ctx, v.remote, v.branch, v.into); err != nil {
		return nil, err
	}
	// All stages of a run share the forge: its writes take turns.
	url := v.remote.URL()
	v.forge, err = r.forges.Get(url, func() (*forge.Repository, error) { return forge.Open(ctx, url, r.Forge) })
	switch {
	case forge.Unavailable(err):
		v.unknown = err.Error()
	case err != nil:
		return nil, err
	case v.proposal.Head != "":
		if v.pull, _, err = v.forge.Find(ctx, v.branch, v.into.Branch); err != nil {
			return nil, err
		}
	}
	s.review = v
	return v, nil
}

// judgeReview judges the review of a release.
func (r *run) judgeReview(ctx context.Context, s *stage, j *judgement) (policy.GateResult, error) {
	v, err := r.reviewed(ctx, s, j.declared)
	if err != nil {
		return policy.GateResult{}, err
	}
	j.proposed = v.proposal.Shows.Digest() == j.artifact.Digest
	j.review.Pull = v.named(v.pull)
	var result policy.GateResult
	if j.declared.Mirror.ShowsLive() {
		var proposal policy.Proposal
		proposal, err = r.approved(ctx, s, j)
		result = policy.Approved(proposal)
	} else {
		var merge policy.Merge
		merge, err = r.merged(ctx, s, j)
		result = policy.Merged(merge)
	}
	result.Gate = policy.GateOfPull(j.declared.Gates)
	return result, err
}

// named describes a pull request of the stage, zero for none.
func (v *review) named(pull forge.PullRequest) policy.Pull {
	return policy.Pull{
		State: policy.PullState(pull.State), URL: pull.URL, Author: pull.Author, Head: pull.Head.Commit,
		Shows: v.proposal.Shows.Lockage.Release, Unknown: v.unknown,
	}
}

// approvals asks the forge who approved a pull request, and which teams that a gate names they belong to.
func (r *run) approvals(ctx context.Context, s *stage, j *judgement, pull forge.PullRequest) ([]policy.PullApproval, error) {
	named := policy.NeedsOf(j.declared.Gates).Reviewers
	all, err := s.review.forge.Approvals(ctx, pull)
	var approvals []policy.PullApproval
	for _, a := range all {
		approval := policy.PullApproval{User: a.User, Commit: a.Commit, Time: a.Time}
		for _, name := range named {
			if strings.EqualFold(name, a.User) || a.Commit != pull.Head.Commit {
				continue
			}
			member, err := s.review.forge.Member(ctx, name, a.User)
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

// merged reads what the stage branch shows of the artifact, and asks the forge, where it can be asked, whether people merged it.
func (r *run) merged(ctx context.Context, s *stage, j *judgement) (policy.Merge, error) {
	v := s.review
	m := policy.Merge{Head: v.branch, Proposed: j.proposed}
	var err error
	if m.Shown, err = s.shown(ctx, j, v.into); err != nil {
		return m, err
	}
	pull := v.pull
	if m.Shown.Commit != "" && v.forge != nil {
		if pull, _, err = v.forge.Merged(ctx, v.branch, v.into.Branch, m.Shown.Commit); err != nil {
			return m, err
		}
	}
	m.Pull = v.named(pull)
	if !policy.NeedsOf(j.declared.Gates).Review {
		return m, nil
	}
	return m, r.mergedHead(ctx, s, j, m, pull)
}

// shown reads what a branch of the mirror shows of the artifact.
func (s *stage) shown(ctx context.Context, j *judgement, at ledger.Place) (shown policy.Shown, err error) {
	shown, j.examined.Compared, err = verify.Shown(ctx, s.review.remote, at, j.artifact.Digest, j.examined.Tree)
	return shown, err
}

// mergedHead reads who approved the head of a pull request that people merge. It must show what the stage branch does.
func (r *run) mergedHead(ctx context.Context, s *stage, j *judgement, m policy.Merge, pull forge.PullRequest) error {
	j.review.Pull = m.Pull
	switch {
	case m.Pull.Unknown != "":
		j.review.Missing = m.Pull.Unknown
		return nil
	case m.Shown.Commit == "" && !j.proposed:
		j.review.Due = true
		return nil
	case pull.Number == 0:
		j.review.Missing = "no pull request shows the artifact"
		return nil
	case m.Shown.Commit != "":
		same, err := sameFiles(ctx, s.review.remote, s.review.into.Path, pull.Head.Commit, m.Shown.Commit)
		if err != nil || !same {
			j.review.Missing = fmt.Sprintf("commit %.12s, the head of pull request %s, does not have the artifact's files", pull.Head.Commit, pull.URL)
			return err
		}
	}
	j.review.Commit = pull.Head.Commit
	var err error
	j.review.Approvals, err = r.approvals(ctx, s, j, pull)
	return err
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

// approved reads what the review branch proposes, and who approved it.
func (r *run) approved(ctx context.Context, s *stage, j *judgement) (policy.Proposal, error) {
	v := s.review
	p := policy.Proposal{Head: v.branch, Base: v.into.Branch, Reviewed: policy.NeedsOf(j.declared.Gates).Review, Pull: j.review.Pull}
	if current := s.state.Live; current != nil && s.state.Unpromoted == nil && current.To.Content == j.artifact.Content {
		p.Live = current.Commit
		return p, nil
	}
	if j.review.Due = !j.proposed; j.review.Due {
		return p, nil
	}
	p.Commit, p.Current, p.Landed = string(v.proposal.Head), v.proposal.Current, v.proposal.Landed
	var err error
	if p.Shown, err = s.shown(ctx, j, ledger.Place{Branch: v.branch, Path: v.into.Path}); err != nil {
		return p, err
	}
	if p.Asks() {
		p.Approvals, err = r.approvals(ctx, s, j, v.pull)
		j.review.Commit, j.review.Approvals = p.Commit, p.Approvals
	}
	return p, err
}

// merges returns the commit that a promotion merges: the approved head, so that the forge shows its pull request as merged.
func (s *stage) merges(j *judgement) git.Hash {
	if !j.proposed || !j.declared.Mirror.ShowsLive() || s.review.pull.Number == 0 || !s.review.proposal.Current || s.review.proposal.Landed {
		return ""
	}
	return s.review.proposal.Head
}

// open reports whether an open pull request shows the release that was judged.
func (s *stage) open(j *judgement) bool {
	return j.proposed && s.review.pull.State == forge.StateOpen && s.review.pull.Head.Commit == string(s.review.proposal.Head)
}

// showVerdict writes what delays a promotion to the head of its pull request. A failure to write does not change the
// promotion.
func (r *run) showVerdict(ctx context.Context, s *stage, j *judgement) {
	err := j.outcome()
	if err == nil || r.DryRun || !s.open(j) || !j.declared.Mirror.ShowsLive() {
		return
	}
	v := s.review
	state := forge.Status{Context: pullrequest.StatusContext(s.stage.Name), State: forge.Pending, Description: err.Error(), URL: v.pull.URL}
	if _, err := v.forge.SetStatus(ctx, string(v.proposal.Head), state); err != nil {
		s.note("the verdict is not on the pull request: %v", err)
	}
}

// landed shows on the forge that the release is live: a commit status, and a pull request that is merged or else closed with
// a pointer. It notes a failure, which the next promotion repairs.
func (r *run) landed(ctx context.Context, s *stage, j *judgement) {
	if !j.proposed || !j.declared.Mirror.ShowsLive() || s.review.forge == nil {
		return
	}
	v := s.review
	_, err := v.forge.SetStatus(ctx, string(v.proposal.Head), forge.Status{
		Context:     pullrequest.StatusContext(s.stage.Name),
		State:       forge.Success,
		Description: "promoted: record " + s.result.Record.String(),
		URL:         v.forge.CommitURL(v.remote.URL(), s.result.Commit),
	})
	if err == nil && s.open(j) {
		v.pull, err = pullrequest.CloseLanded(ctx, v.forge, v.pull, s.result.Commit)
	}
	if err != nil {
		s.note("the release is live, and its pull request does not show that: %v", err)
	}
}

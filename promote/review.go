package promote

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish/pullrequest"
)

// GateReview is the name of the gate that a stage's pull request is: people merged exactly the artifact or, where promotion
// merges, approved exactly the commit that shows it.
const GateReview = "review"

// review is what was found out about the review of a release.
type review struct {
	branch   string
	proposal mirror.Proposal
	pull     forge.PullRequest // zero where there is none, or none can be asked for
	forge    *forge.Repository // nil where there is no token
}

// forges are the repositories with pull requests, opened once.
type forges struct {
	mu     sync.Mutex
	opened map[string]*forge.Repository
}

func (f *forges) open(ctx context.Context, url string, o forge.Options) (*forge.Repository, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.opened[url]; r != nil {
		return r, nil
	}
	r, err := forge.Open(ctx, url, o)
	if err == nil {
		if f.opened == nil {
			f.opened = map[string]*forge.Repository{}
		}
		f.opened[url] = r
	}
	return r, err
}

// judgeReview judges the review of a release; nil where the stage has none.
func (r *run) judgeReview(ctx context.Context, s *stage, j *judgement) (*policy.GateResult, error) {
	if !j.declared.Mirror.Reviewed() {
		return nil, nil //nolint:nilnil // there is no such gate
	}
	m := j.declared.Mirror
	j.review = &review{branch: pullrequest.Branch(s.pipeline.Name, s.stage.Name, j.artifact.Release)}
	g := &policy.GateResult{Gate: GateReview, Result: policy.Fail}
	var err error
	if m.ShowsLive() {
		err = r.judgeApproval(ctx, s, j, g)
	} else {
		err = r.judgeMerge(ctx, s, j, g)
	}
	if err != nil {
		return nil, fmt.Errorf("review: %w", err)
	}
	return g, nil
}

// judgeMerge passes where the stage branch shows the artifact: people merged it, by whatever method.
func (r *run) judgeMerge(ctx context.Context, s *stage, j *judgement, g *policy.GateResult) error {
	m := j.declared.Mirror
	into := mirror.Place{Branch: m.Branch, Path: m.Path}
	found, err := mirror.Check(ctx, s.live.Remote, into, j.artifact.Digest, j.artifact.Content, j.examined.Tree)
	switch {
	case err == nil && len(found.Differences) == 0:
		if g.Reason, err = s.setBack(ctx, j); err != nil || g.Reason != "" {
			return err
		}
		if g.Reason, err = r.smuggled(ctx, s, j, into); err != nil || g.Reason != "" {
			return err
		}
		g.Result = policy.Pass
		g.Reason = fmt.Sprintf("merged: commit %s of branch %s has the artifact's files in %s", found.Commit, m.Branch, m.Path)
		return nil
	case err == nil:
		g.Reason = fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s",
			found.Commit, m.Branch, m.Path, mirror.Names(found.Differences))
		return nil
	case !errors.Is(err, mirror.ErrNotShown):
		return err
	}
	repository, err := r.forges.open(ctx, s.live.Remote.URL(), r.Forge)
	if forge.Unavailable(err) {
		g.Reason = fmt.Sprintf("branch %s does not show the artifact: merge the pull request from %s (what it is cannot be told: %v)", m.Branch, j.review.branch, err)
		return nil
	}
	if err != nil {
		return err
	}
	pull, there, err := repository.Find(ctx, j.review.branch, m.Branch)
	if err != nil {
		return err
	}
	switch {
	case !there:
		g.Reason = fmt.Sprintf("branch %s does not show the artifact, and there is no pull request from %s: hydrate again", m.Branch, j.review.branch)
	case pull.State == forge.StateOpen:
		g.Result = policy.Pending
		g.Reason = fmt.Sprintf("pull request %s is open: merge it", pull.URL)
	case pull.State == forge.StateClosed:
		g.Reason = fmt.Sprintf("pull request %s was closed without being merged", pull.URL)
	default:
		g.Reason = fmt.Sprintf("pull request %s was merged, and branch %s does not show the artifact: hydrate again", pull.URL, m.Branch)
	}
	return nil
}

// smuggled says why an artifact that the stage branch shows below others was not merged by people; "" where it was. Whoever may
// push to review branches can put a commit that shows it below the head of another release's: no reviewer sees it in what that
// changes, and a merge by fast-forward or rebase brings it to the stage branch. Only the forge can tell, where it can be asked.
func (r *run) smuggled(ctx context.Context, s *stage, j *judgement, into mirror.Place) (string, error) {
	top, ok, err := mirror.Shown(ctx, s.live.Remote, into)
	if err != nil || ok && top.Digest() == j.artifact.Digest {
		return "", err
	}
	repository, err := r.forges.open(ctx, s.live.Remote.URL(), r.Forge)
	if forge.Unavailable(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	pull, there, err := repository.Find(ctx, j.review.branch, into.Branch)
	if err != nil || there && pull.State == forge.StateMerged {
		return "", err
	}
	what := "there is no pull request from " + j.review.branch
	if there {
		what = "pull request " + pull.URL + " was not merged"
	}
	return fmt.Sprintf("branch %s shows the artifact below others, and %s: it came there with something else; promote what is newer, or merge it",
		into.Branch, what), nil
}

// judgeApproval passes where the review branch shows exactly the artifact, on what the stage branch has now, and somebody
// approved exactly that commit.
func (r *run) judgeApproval(ctx context.Context, s *stage, j *judgement, g *policy.GateResult) error {
	m := j.declared.Mirror
	if current := s.state.Live; current != nil && s.state.Unpromoted == nil && current.To.Content == j.artifact.Content {
		g.Result = policy.Pass
		g.Reason = fmt.Sprintf("the same content is live since commit %s: there is nothing to review", current.Commit)
		return nil
	}
	into := mirror.Place{Branch: m.Branch, Path: m.Path}
	proposal, err := mirror.Proposed(ctx, s.live.Remote, j.review.branch, into)
	if err != nil {
		return err
	}
	if g.Reason, err = proposes(ctx, s.live.Remote, proposal, mirror.Place{Branch: j.review.branch, Path: m.Path}, into, j); err != nil {
		return err
	}
	shown := g.Reason == ""
	if proposal.Head == "" {
		return nil
	}
	repository, err := r.forges.open(ctx, s.live.Remote.URL(), r.Forge)
	if forge.Unavailable(err) {
		if shown {
			g.Reason = fmt.Sprintf("whether commit %s of branch %s is approved cannot be asked: %v", proposal.Head, j.review.branch, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	judged, err := pullrequest.Judge(ctx, repository, pullrequest.Question{
		Head: j.review.branch, Base: m.Branch, Commit: string(proposal.Head), Reviewers: m.Reviewers, Merged: proposal.Landed,
	})
	if err != nil {
		return err
	}
	j.review.proposal, j.review.pull, j.review.forge = proposal, judged.Pull, repository
	if !shown {
		return nil
	}
	g.Reason = judged.Reason
	switch judged.Verdict {
	case pullrequest.Approved:
		g.Result = policy.Pass
	case pullrequest.Awaited:
		g.Result = policy.Pending
	case pullrequest.Denied:
	}
	return nil
}

// proposes says why a review branch does not propose exactly the artifact for what the stage branch has now; "" where it
// does.
func proposes(ctx context.Context, remote *git.Remote, p mirror.Proposal, at, into mirror.Place, j *judgement) (string, error) {
	if p.Head == "" {
		return fmt.Sprintf("there is no branch %s: hydrate again", at.Branch), nil
	}
	found, err := mirror.Check(ctx, remote, at, j.artifact.Digest, j.artifact.Content, j.examined.Tree)
	switch {
	case errors.Is(err, mirror.ErrNotShown), err == nil && found.Commit != string(p.Head):
		return fmt.Sprintf("the head of branch %s, %s, does not name the artifact: hydrate again, and have it reviewed again", at.Branch, p.Head), nil
	case err != nil:
		return "", err
	case len(found.Differences) > 0:
		return fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s; hydrate again, and have it reviewed again",
			found.Commit, at.Branch, at.Path, mirror.Names(found.Differences)), nil
	case !p.Current && !p.Landed:
		return fmt.Sprintf("branch %s has something else in %s than when %s was proposed: hydrate again, and have it reviewed again", into.Branch, into.Path, at.Branch), nil
	}
	return "", nil
}

// merge is the commit that a promotion merges: the head that was approved, so that the forge sees its pull request merged.
func (j *judgement) merge() git.Hash {
	if j.review == nil || j.review.pull.Number == 0 || !j.review.proposal.Current || j.review.proposal.Landed {
		return ""
	}
	return j.review.proposal.Head
}

// showVerdict writes to the head of a pull request what stands in the way of its promotion. That it cannot be written changes
// nothing about it.
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

// open tells whether there is an open pull request for the head that was judged.
func (v *review) open() bool {
	return v != nil && v.forge != nil && v.pull.State == forge.StateOpen && v.pull.Head.Commit == string(v.proposal.Head)
}

// landed tells the forge that the release is live: commit status, and a pull request that is merged or else closed with a
// pointer. What fails here is told, and done by the next hydration.
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
		s.note("the release is live, and its pull request does not say so: %v", err)
	}
}

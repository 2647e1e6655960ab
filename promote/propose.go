package promote

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/publish/pullrequest"
	"github.com/lockage/lockage/sign/predicate"
)

// asked is what people may be asked about: the newest release that is due, and the one that the review branch shows, if it is due. Nil
// for none.
type asked struct{ due, shown *judgement }

// add adds a release that is due, after all newer ones.
func (a *asked) add(j *judgement) {
	if a.due == nil {
		a.due = j
	}
	if j.proposed {
		a.shown = j
	}
}

// due reports whether people may be asked about a release.
func (s *stage) due(j *judgement) bool {
	return s.review != nil && j.checks.Result() == policy.Pass && !s.has(j.artifact) && policy.Due(j.gates, j.declared.Gates)
}

// has reports whether the content of an artifact is live.
func (s *stage) has(a predicate.Artifact) bool {
	now := s.now()
	return now != nil && now.Content == a.Content
}

// now returns what is live after this run; nil for nothing.
func (s *stage) now() *predicate.Artifact {
	switch {
	case s.result.Commit != "":
		return s.result.To
	case s.state.Live != nil:
		return &s.state.Live.To
	}
	return nil
}

// keepReview keeps the pull request of a stage that people review: it shows the newest release that is due, and stays with one that
// somebody approved. A failure does not change the promotion.
func (r *run) keepReview(ctx context.Context, s *stage, people asked) {
	if s.review == nil || r.DryRun {
		return
	}
	if err := r.keepPull(ctx, s, people); err != nil && ctx.Err() == nil {
		s.note("pull request from %s into %s: %v", s.review.branch, s.review.into.Branch, err)
	}
}

func (r *run) keepPull(ctx context.Context, s *stage, people asked) error {
	v := s.review
	for _, j := range []**judgement{&people.due, &people.shown} {
		if *j != nil && s.has((*j).artifact) { // since this run
			*j = nil
		}
	}
	if shown := people.shown; shown != nil {
		if shown.gates[0].Result == policy.Pass && !shown.declared.Mirror.ShowsLive() {
			return nil // people merged it, and it waits for another gate
		}
		stays, err := r.stays(ctx, s, shown)
		if err != nil {
			return err
		}
		if stays {
			people.due = shown
		}
	}
	switch now := s.now(); {
	case people.due != nil:
		return r.propose(ctx, s, people.due)
	case now == nil || v.pull.State != forge.StateOpen:
		return nil
	default:
		passed, err := r.passed(ctx, s, *now)
		if err != nil || !passed {
			return err
		}
		v.pull, err = pullrequest.CloseOlder(ctx, v.forge, v.pull, now.Release)
		return err
	}
}

// stays reports whether somebody approved a release that the review branch shows: its head, or the artifact.
func (r *run) stays(ctx context.Context, s *stage, j *judgement) (bool, error) {
	first := len(j.gates) - len(j.declared.Gates)
	for i, g := range j.declared.Gates {
		if g.Kind == policy.KindApproval && j.gates[first+i].Result == policy.Pass {
			return true, nil
		}
	}
	if !s.open(j) {
		return false, nil
	}
	approvals, err := s.review.forge.Approvals(ctx, s.review.pull)
	return slices.ContainsFunc(approvals, func(a forge.Approval) bool {
		return a.Commit == s.review.pull.Head.Commit && !strings.EqualFold(a.User, s.review.pull.Author)
	}), err
}

// passed reports whether the review branch shows a release that is older than what is live, or its content.
func (r *run) passed(ctx context.Context, s *stage, now predicate.Artifact) (bool, error) {
	shows := s.review.proposal.Shows.Lockage
	if shows.Content == now.Content {
		return true, nil
	}
	for id, err := range r.history(ctx, s.pipeline, maxReleases) {
		switch {
		case err != nil:
			return false, err
		case id == now.Release:
			return shows.Release != "", nil
		case id == shows.Release:
			return false, nil
		}
	}
	return false, nil // one of them never was current
}

// propose makes the review branch show a release, and keeps its pull request.
func (r *run) propose(ctx context.Context, s *stage, j *judgement) error {
	v, m := s.review, j.declared.Mirror
	sign, err := r.CommitSigner(j.declared)
	if err != nil {
		return err
	}
	created, _ := time.Parse(time.RFC3339, j.examined.Manifest.Annotations[ocispec.AnnotationCreated])
	change := ledger.Change{
		Artifact:   j.examined.Entry.Artifact,
		Commit:     r.policyRef.Commit,
		Place:      v.into,
		Review:     v.branch,
		Attributes: m.Attributes,
		Time:       created,
		Tree:       func(context.Context) (fs.FS, error) { return j.examined.Tree, nil },
		Sign:       sign,
	}
	results, err := r.BranchWriter(v.remote).Write(ctx, []ledger.Change{change})
	if err != nil {
		return fmt.Errorf("%w; it needs the right to push to branch %s", err, v.branch)
	}
	written := results[0]
	if written.Err != nil {
		return written.Err
	}
	s.result.Proposal = &Proposal{Release: j.artifact.Release, Branch: v.branch, Commit: written.Commit, Changed: written.Written}
	if written.Landed { // somebody merged it, however
		s.result.Proposal.Branch = v.into.Branch
		if v.pull.State != forge.StateOpen {
			return nil
		}
		v.pull, err = pullrequest.CloseLanded(ctx, v.forge, v.pull, written.Commit)
		return err
	}
	proposal := pullrequest.Propose(v.remote, change, written, m, j.lock.Image.Pinned())
	for i, name := range policy.GateNames(j.declared.Gates) {
		if policy.OfPeople(j.declared.Gates[i].Kind) {
			proposal.Waits = append(proposal.Waits, name)
		}
	}
	return r.openPull(ctx, s, proposal)
}

// openPull opens the pull request of a proposal that was written, or brings it up to date. Without a token it says where a person opens it.
func (r *run) openPull(ctx context.Context, s *stage, p pullrequest.Proposal) error {
	v, result := s.review, s.result.Proposal
	if v.forge == nil {
		result.Compare = forge.CompareURL(v.remote.URL(), p.Branch, p.Review, r.Forge)
		at := ""
		if result.Compare != "" {
			at = " at " + result.Compare
		}
		s.note("no pull request is opened: %s; open it from %s into %s%s", v.unknown, p.Review, p.Branch, at)
		return nil
	}
	kept, err := pullrequest.Keep(ctx, v.forge, v.pull, p)
	for _, warning := range kept.Warnings {
		s.note("%s", warning)
	}
	if err != nil {
		return err
	}
	result.PullRequest = kept.URL
	result.Changed = result.Changed || kept.Change != forge.Unchanged
	switch kept.State {
	case forge.StateClosed:
		s.note("%s was closed and stays closed: reopen it if the release is wanted", kept.URL)
	case forge.StateMerged:
		s.note("%s was merged, but branch %s no longer shows the release: to propose it again, delete branch %s", kept.URL, p.Branch, p.Review)
	}
	return nil
}

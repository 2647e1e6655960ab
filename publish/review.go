package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/publish/pullrequest"
)

// branches are where a stage is written and, for a review, which branch it is proposed for.
func branches(s *stageRun) (branch, base string) {
	m := s.planned.Declared.Mirror
	if !s.planned.Declared.Mirror.Reviewed() {
		return m.Branch, ""
	}
	return pullrequest.Branch(s.planned.Pipeline, s.planned.Name, s.planned.Lock.ReleaseID), m.Branch
}

// request is a stage's pull request.
type request struct {
	url     string
	compare string // page on which a person opens it, where there is no token
	changed bool
	err     error
}

// desk is one repository with pull requests.
type desk struct {
	remote *git.Remote
	url    string
	keeper *pullrequest.Keeper // nil where none can be asked
	err    error
}

// review keeps the pull requests of the stages whose review branches were written.
func (r *run) review(ctx context.Context, stages []*stageRun) {
	desks := map[string]*desk{}
	for _, s := range stages {
		if !s.planned.Declared.Mirror.Reviewed() || s.published.Err != nil || s.mirrorErr != nil || s.shown.Superseded || s.shown.Commit == "" {
			continue
		}
		name := s.planned.Declared.Mirror.Remote
		if desks[name] == nil {
			desks[name] = r.desk(ctx, name)
		}
		if err := r.reviewStage(ctx, desks[name], s); err != nil {
			s.request.err = fmt.Errorf("pull request: %w", err)
		}
	}
}

func (r *run) desk(ctx context.Context, name string) *desk {
	d := &desk{}
	if d.remote, d.err = r.Workspace.Repository.Remote(ctx, name); d.err != nil {
		return d
	}
	d.url = d.remote.URL()
	repository, err := forge.Open(ctx, d.url, r.Forge)
	if d.err = err; err == nil {
		d.keeper = pullrequest.NewKeeper(repository)
	}
	return d
}

// byHand tells whether a repository is one on which people open pull requests themselves.
func (d *desk) byHand() bool {
	return errors.Is(d.err, forge.ErrNoToken) || errors.Is(d.err, forge.ErrNoForge) || errors.Is(d.err, forge.ErrUnknownForge)
}

func (r *run) reviewStage(ctx context.Context, d *desk, s *stageRun) error {
	branch, base := branches(s)
	name := s.planned.Pipeline + "/" + s.planned.Name
	switch {
	case d.byHand() && s.shown.Taken:
		return nil
	case d.byHand():
		s.request.compare = forge.CompareURL(d.url, base, branch, r.Forge)
		at := ""
		if s.request.compare != "" {
			at = " at " + s.request.compare
		}
		r.Warn(fmt.Sprintf("%s: no pull request is opened: %v; open it from %s into %s%s", name, d.err, branch, base, at))
		return nil
	case d.err != nil:
		return d.err
	case s.shown.Taken:
		pull, found, err := d.keeper.Taken(ctx, branch, base, s.shown.Commit)
		if found {
			s.request.url, s.request.changed = pull.URL, true
		}
		return err
	}
	kept, err := d.keeper.Keep(ctx, r.proposal(ctx, d, s))
	s.request.url, s.request.changed = kept.URL, kept.Change == forge.Created || kept.Change == forge.Updated
	for _, warning := range kept.Warnings {
		r.Warn(fmt.Sprintf("%s: %s", name, warning))
	}
	for _, url := range kept.Superseded {
		r.Step(fmt.Sprintf("%s: closed %s, superseded", name, url))
	}
	switch {
	case err != nil:
		return err
	case kept.State == forge.StateClosed:
		r.Warn(fmt.Sprintf("%s: %s was closed, and is left so: open it again if the release is wanted", name, kept.URL))
	case kept.State == forge.StateMerged:
		r.Warn(fmt.Sprintf("%s: %s was merged, and branch %s does not show it any more: to propose it again, delete branch %s and hydrate again",
			name, kept.URL, base, branch))
	case s.request.changed:
		r.Step(fmt.Sprintf("%s: pull request %s %s", name, kept.URL, kept.Change))
	}
	return nil
}

// proposal is what the pull request of a stage says.
func (r *run) proposal(ctx context.Context, d *desk, s *stageRun) pullrequest.Proposal {
	m, l := s.planned.Declared.Mirror, s.planned.Lock
	branch, base := branches(s)
	return pullrequest.Proposal{
		Pipeline:  s.planned.Pipeline,
		Stage:     s.planned.Name,
		Release:   l.ReleaseID,
		Head:      branch,
		Base:      base,
		Commit:    s.shown.Commit,
		On:        s.shown.Base,
		Promotes:  m.ShowsLive(),
		Labels:    m.Labels,
		Reviewers: m.Reviewers,
		Draft:     m.Draft,
		AutoMerge: m.AutoMerge,
		Source:    pullrequest.Origin{Commit: l.GitCommit, Link: forge.CommitURL(s.job.SourceURL, l.GitCommit, r.Forge)},
		GitOps:    pullrequest.Origin{Commit: s.published.GitOpsCommit, Link: forge.CommitURL(s.job.GitOpsURL, s.published.GitOpsCommit, r.Forge)},
		Image:     l.Image.Pinned(),
		Artifact:  s.published.Reference,
		Content:   s.published.ContentDigest.String(),
		Link:      forge.CommitURL(d.url, s.shown.Commit, r.Forge),
		Changes:   func(ctx context.Context) (diff.Changes, error) { return r.changes(ctx, d.remote, s) },
		Older:     func(release string) bool { return r.older(ctx, s, release) },
	}
}

// changes compares what the stage branch had, on which the proposal stands, with the artifact.
func (r *run) changes(ctx context.Context, remote *git.Remote, s *stageRun) (diff.Changes, error) {
	files, err := mirror.Files(ctx, remote, git.Hash(s.shown.Base), s.planned.Declared.Mirror.Path)
	if err != nil {
		return diff.Changes{}, err
	}
	tree, err := r.pull(ctx, s)
	if err != nil {
		return diff.Changes{}, err
	}
	return pullrequest.Compare(files, tree)
}

// older tells whether a release came before that of a stage, as the policy ref knows: what it does not know is newer than
// this run.
func (r *run) older(ctx context.Context, s *stageRun, release string) bool {
	files, err := r.trunk.Files(ctx)
	if err != nil {
		return false
	}
	current, err := lock.Current(files, s.lockDir)
	if err != nil || current.Lock.ReleaseID == release {
		return false
	}
	other, err := lock.Release(files, s.lockDir, release)
	if err != nil {
		return false
	}
	if current.Lock.ReleaseID == s.planned.Lock.ReleaseID {
		return true
	}
	theirs, own := other.Created(), s.planned.Lock.Created()
	return !theirs.IsZero() && theirs.Before(own)
}

// withReview adds to a stage's result what became of its review.
func (s *stageRun) withReview(out Stage) Stage {
	branch, base := branches(s)
	if out.Branch = branch; s.shown.Taken {
		out.Branch = base
	}
	out.PullRequest, out.Compare = s.request.url, s.request.compare
	switch {
	case s.request.err != nil:
		out.Action, out.Err = Failed, s.request.err
	case s.request.changed && out.Action == Unchanged:
		out.Action = Pushed
	}
	return out
}

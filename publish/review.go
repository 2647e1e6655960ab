package publish

import (
	"context"
	"fmt"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/publish/pullrequest"
)

// review keeps the pull requests of the stages whose review branches are up to date.
func (r *run) review(ctx context.Context, stages []*stage) {
	opened := map[*git.Remote]*pullRequests{}
	for _, s := range stages {
		if s.reviewBranch() == "" || s.result.Err != nil || s.shown.Superseded || s.shown.Commit == "" {
			continue
		}
		if s.shown.Landed {
			s.result.Branch = s.Declared.Mirror.Branch
		}
		if opened[s.remote] == nil {
			opened[s.remote] = r.pullRequests(ctx, s.remote)
		}
		if err := s.review(ctx, opened[s.remote]); err != nil {
			s.fail(fmt.Errorf("pull request: %w", err))
		}
	}
}

// pullRequests are those of one repository.
type pullRequests struct {
	*pullrequest.Keeper
	err error // why there is no Keeper
}

func (r *run) pullRequests(ctx context.Context, remote *git.Remote) *pullRequests {
	repository, err := forge.Open(ctx, remote.URL(), r.Forge)
	if err != nil {
		return &pullRequests{err: err}
	}
	return &pullRequests{Keeper: pullrequest.NewKeeper(repository)}
}

// review keeps the stage's pull request, or warns that a person has to open it.
func (s *stage) review(ctx context.Context, pulls *pullRequests) error {
	r, branch, base := s.run, s.reviewBranch(), s.Declared.Mirror.Branch
	switch {
	case forge.Unavailable(pulls.err):
		if s.shown.Landed {
			return nil
		}
		at := ""
		if s.result.Compare = forge.CompareURL(s.remote.URL(), base, branch, r.Forge); s.result.Compare != "" {
			at = " at " + s.result.Compare
		}
		r.Warn(fmt.Sprintf("%s: no pull request is opened: %v; open it from %s into %s%s", s, pulls.err, branch, base, at))
		return nil
	case pulls.err != nil:
		return pulls.err
	case s.shown.Landed:
		pull, found, err := pulls.CloseLanded(ctx, branch, base, s.shown.Commit)
		if found {
			s.result.PullRequest = pull.URL
			s.pushed()
		}
		return err
	}
	kept, err := pulls.Keep(ctx, s.proposal(ctx))
	s.result.PullRequest = kept.URL
	changed := kept.Change == forge.Created || kept.Change == forge.Updated
	if changed {
		s.pushed()
	}
	for _, warning := range kept.Warnings {
		r.Warn(fmt.Sprintf("%s: %s", s, warning))
	}
	for _, url := range kept.Superseded {
		r.Step(fmt.Sprintf("%s: closed %s, superseded", s, url))
	}
	switch {
	case err != nil:
		return err
	case kept.State == forge.StateClosed:
		r.Warn(fmt.Sprintf("%s: %s was closed and stays closed: reopen it if the release is wanted", s, kept.URL))
	case kept.State == forge.StateMerged:
		r.Warn(fmt.Sprintf("%s: %s was merged, but branch %s no longer shows the release: to propose it again, delete branch %s and run hydrate again",
			s, kept.URL, base, branch))
	case changed:
		r.Step(fmt.Sprintf("%s: pull request %s %s", s, kept.URL, kept.Change))
	}
	return nil
}

// proposal describes the stage's pull request.
func (s *stage) proposal(ctx context.Context) pullrequest.Proposal {
	change := s.change()
	return pullrequest.Proposal{
		Change:  change,
		Commit:  s.shown.Commit,
		On:      s.shown.Base,
		Remote:  s.remote.URL(),
		Mirror:  s.Declared.Mirror,
		Image:   s.Lock.Image.Pinned(),
		Changes: pullrequest.Between(s.remote, s.shown.Base, change),
		Older:   func(release string) bool { return s.older(ctx, release) },
	}
}

// older reports whether a release came before that of the stage, by the policy ref. A release that it does not know is newer
// than this run.
func (s *stage) older(ctx context.Context, release string) bool {
	files, err := s.run.policyRef.Files(ctx)
	if err != nil {
		return false
	}
	dir := s.release.Pipeline.Lock
	current, err := lock.Current(files, dir)
	if err != nil || current.Lock.ReleaseID == release {
		return false
	}
	other, err := lock.Release(files, dir, release)
	if err != nil {
		return false
	}
	if current.Lock.ReleaseID == s.Lock.ReleaseID {
		return true
	}
	theirs, own := other.Created(), s.Lock.Created()
	return !theirs.IsZero() && theirs.Before(own)
}

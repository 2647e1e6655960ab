package publish

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/publish/pullrequest"
)

// review keeps the pull requests of the stages whose review branches are up to date.
func (r *run) review(ctx context.Context, stages []*stage) {
	keepers := map[*git.Remote]*pullrequest.Keeper{}
	for _, s := range stages {
		if s.reviewBranch() == "" || s.result.Err != nil || s.shown.Superseded || s.shown.Commit == "" {
			continue
		}
		if s.shown.Landed {
			s.result.Branch = s.Declared.Mirror.Branch
		}
		if keepers[s.remote] == nil {
			keepers[s.remote] = pullrequest.Open(ctx, s.remote.URL(), r.Forge)
		}
		if err := s.review(ctx, keepers[s.remote]); err != nil {
			s.fail(fmt.Errorf("pull request: %w", err))
		}
	}
}

// review keeps the stage's pull request, or warns that a person has to open it.
func (s *stage) review(ctx context.Context, keeper *pullrequest.Keeper) error {
	branch, base := s.reviewBranch(), s.Declared.Mirror.Branch
	if s.shown.Landed {
		pull, found, err := keeper.CloseLanded(ctx, branch, base, s.shown.Commit)
		if found {
			s.result.PullRequest = pull.URL
			s.pushed()
		}
		if forge.Unavailable(err) {
			return nil
		}
		return err
	}
	proposal := pullrequest.Propose(s.remote, s.change(), s.shown, s.Declared.Mirror, s.Lock.Image.Pinned())
	proposal.Older = func(release string) bool { return s.older(ctx, release) }
	kept, err := keeper.Keep(ctx, proposal)
	if forge.Unavailable(err) {
		s.result.Compare = forge.CompareURL(s.remote.URL(), base, branch, s.run.Forge)
		at := ""
		if s.result.Compare != "" {
			at = " at " + s.result.Compare
		}
		s.run.Warn(fmt.Sprintf("%s: no pull request is opened: %v; open it from %s into %s%s", s, err, branch, base, at))
		return nil
	}
	s.result.PullRequest = kept.URL
	for _, warning := range kept.Warnings {
		s.run.Warn(fmt.Sprintf("%s: %s", s, warning))
	}
	for _, url := range kept.Superseded {
		s.run.Step(fmt.Sprintf("%s: closed %s, superseded", s, url))
	}
	changed := kept.Change == forge.Created || kept.Change == forge.Updated
	if changed {
		s.pushed()
	}
	switch {
	case err != nil:
		return err
	case kept.State == forge.StateClosed:
		s.run.Warn(fmt.Sprintf("%s: %s was closed and stays closed: reopen it if the release is wanted", s, kept.URL))
	case kept.State == forge.StateMerged:
		s.run.Warn(fmt.Sprintf("%s: %s was merged, but branch %s no longer shows the release: to propose it again, delete branch %s and run hydrate again",
			s, kept.URL, base, branch))
	case changed:
		s.run.Step(fmt.Sprintf("%s: pull request %s %s", s, kept.URL, kept.Change))
	}
	return nil
}

// older reports whether a release came before that of the stage, by the policy ref. A release that it does not know is newer
// than this run.
func (s *stage) older(ctx context.Context, release string) bool {
	since, err := s.run.ref().Since(ctx, s.release.Pipeline.Lock, release)
	return err == nil && slices.Contains(since, s.Lock.ReleaseID)
}

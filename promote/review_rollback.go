package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/publish/pullrequest"
	"github.com/lockage/lockage/sign/predicate"
)

// proposeRollback puts a rollback that the live branch does not take on a review branch, for people to merge. It comes into
// force, record and all, with the merge. An earlier run's proposal is found again, since its record is.
func (r *run) proposeRollback(ctx context.Context, s *stage, j *judgement, entry mirror.Entry, refusal error) error {
	entry.Base, entry.Branch = entry.Branch, pullrequest.RollbackBranch(s.pipeline.Name, s.stage.Name, j.artifact.Release)
	writer := mirror.NewWriter(s.live.Remote, r.trunk, mirror.Backoff(firstPause, r.Random))
	results, err := writer.Write(ctx, []mirror.Entry{entry})
	if err != nil || results[0].Taken {
		return fmt.Errorf("live ref: %w", refusal) // it is no matter of protection
	}
	s.note("branch %s takes no push: %v", entry.Base, refusal)
	s.result.Record = "" // it is not in force
	return r.openRollback(ctx, s, j, entry.Branch, results[0].Commit, results[0].Base)
}

// openRollback opens the pull request of a rollback, or finds it. The error is ErrPending as long as that may be merged.
func (r *run) openRollback(ctx context.Context, s *stage, j *judgement, branch, commit, base string) error {
	m, url := j.declared.Mirror, s.live.Remote.URL()
	repository, err := r.forges.open(ctx, url, r.Forge)
	if noForge(err) {
		text := fmt.Sprintf("%v; open a pull request from %s into %s", err, branch, m.Branch)
		if compare := forge.CompareURL(url, m.Branch, branch, r.Forge); compare != "" {
			text += " at " + compare
		}
		return fmt.Errorf("%w: %s, and merge it", ErrPending, text)
	}
	if err != nil {
		return err
	}
	l, o := j.lock.Lock, r.forgeOptions(repository)
	kept, err := pullrequest.NewKeeper(repository).Keep(ctx, pullrequest.Proposal{
		Pipeline: s.pipeline.Name, Stage: s.stage.Name, Release: j.artifact.Release,
		Head: branch, Base: m.Branch, Commit: commit, On: base,
		Promotes: true, RollBack: true,
		Labels: m.Labels, Reviewers: m.Reviewers,
		Source:   pullrequest.Origin{Commit: l.GitCommit, Link: forge.CommitURL(j.declared.SourceRepo, l.GitCommit, r.Forge)},
		GitOps:   pullrequest.Origin{Commit: j.examined.GitOpsCommit, Link: forge.CommitURL(r.trunk.URL(), j.examined.GitOpsCommit, o)},
		Image:    l.Image.Pinned(),
		Artifact: s.repository.Reference(j.artifact.Digest.String()),
		Content:  j.artifact.Content.String(),
		Link:     forge.CommitURL(url, commit, o),
		Changes: func(ctx context.Context) (diff.Changes, error) {
			files, err := mirror.Files(ctx, s.live.Remote, git.Hash(base), m.Path)
			if err != nil {
				return diff.Changes{}, err
			}
			return pullrequest.Compare(files, j.examined.Tree)
		},
	})
	switch {
	case err != nil:
		return err
	case kept.State == forge.StateClosed:
		return fmt.Errorf("branch %s is protected, and %s was closed: open it again, and merge it to go back", m.Branch, kept.URL)
	}
	return fmt.Errorf("%w: branch %s is protected: merge %s to go back", ErrPending, m.Branch, kept.URL)
}

// refusedRollback tells whether a push of a rollback failed for a reason that a pull request may get around.
func refusedRollback(ctx context.Context, action predicate.Action, j *judgement, err error) bool {
	return err != nil && action == predicate.RolledBack && j.declared.Mirror.ShowsLive() &&
		!errors.Is(err, mirror.ErrMoved) && !errors.Is(err, git.ErrStale) && ctx.Err() == nil
}

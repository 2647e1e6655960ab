package promote

import (
	"context"
	"fmt"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/forge"
	"github.com/lockage/lockage/publish/pullrequest"
)

// proposeRollback proposes a rollback that the live branch does not take on a review branch, for people to merge. It comes
// into force, record and all, with the merge. A later run finds the proposal, since it finds the record. The error is
// ErrPending as long as the pull request may be merged.
func (r *run) proposeRollback(ctx context.Context, s *stage, j *judgement, change mirror.Change, refusal error) error {
	change.Review = pullrequest.RollbackBranch(s.pipeline.Name, s.stage.Name, j.artifact.Release)
	results, err := r.BranchWriter(s.live.Remote, r.policyRef).Write(ctx, []mirror.Change{change})
	if err != nil || results[0].Landed {
		return fmt.Errorf("live ref: %w", refusal) // the cause is not a protected branch
	}
	s.note("branch %s takes no push: %v", change.Branch, refusal)
	s.result.Record = "" // it is not in force
	url := s.live.Remote.URL()
	proposal := pullrequest.Propose(s.live.Remote, change, results[0], j.declared.Mirror, j.lock.Lock.Image.Pinned())
	kept, err := pullrequest.Open(ctx, url, r.Forge).Keep(ctx, proposal)
	switch {
	case forge.Unavailable(err):
		text := fmt.Sprintf("%v; open a pull request from %s into %s", err, change.Review, change.Branch)
		if compare := forge.CompareURL(url, change.Branch, change.Review, r.Forge); compare != "" {
			text += " at " + compare
		}
		return fmt.Errorf("%w: %s, and merge it", ErrPending, text)
	case err != nil:
		return err
	case kept.State == forge.StateClosed:
		return fmt.Errorf("branch %s is protected, and %s was closed: reopen it, and merge it to roll back", change.Branch, kept.URL)
	}
	return fmt.Errorf("%w: branch %s is protected: merge %s to go back", ErrPending, change.Branch, kept.URL)
}

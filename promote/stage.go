package promote

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/notify"
)

// stage is one stage of a run: what is kept of it, and the outcome.
type stage struct {
	*view
	level    int // the most stages in a row before it: stages of one level do not depend on each other
	state    live.State
	review   *review // nil until it is read, and for a stage that people do not review
	proposes bool    // it is only proposed, and not promoted
	result   Result
	notice   notify.Notice // of what moved; without receivers for nothing
	unpacked int64         // bytes of the run's that it takes
}

// read reads what is live, and completes what an earlier run began.
func (r *run) read(ctx context.Context, s *stage) error {
	var err error
	s.result.Branch = s.live.Place.Branch
	if s.state, err = s.read(ctx); err != nil {
		return err
	}
	if s.state.Live != nil {
		s.result.From = &s.state.Live.To
	}
	if err := r.meet(ctx, s); err != nil {
		return err
	}
	switch u := s.state.Unpromoted; {
	case u != nil && s.state.Refused != "":
		s.note("branch %s: %s", s.live.Place.Branch, s.state.Refused)
	case u != nil:
		s.note("branch %s shows %s, which was not promoted: it is unpromoted until it passes", s.live.Place.Branch, u.Lockage.Release)
	}
	drift, bare := s.state.Drift(), s.state.Bare
	if s.state.Live == nil || !drift && !bare {
		return nil
	}
	if !r.DryRun {
		if err := s.live.Follow(ctx, *s.state.Live, s.state.Head); err != nil {
			return err
		}
		if drift {
			s.notice = notify.Notice{Event: notify.About(s.live, *s.state.Live, r.Now()), Receivers: s.receivers}
		}
	}
	artifact := s.state.Live.To.Digest
	what, done := fmt.Sprintf("%s, which is live, lacked what was signed about it", artifact), "it is attached again"
	if drift {
		what, done = s.live.Artifacts.Reference(s.stage.Name)+" did not name what is live", fmt.Sprintf("it names %s again", artifact)
	}
	if r.DryRun {
		done = "a run without --dry-run puts it right"
	}
	s.note("%s: %s", what, done)
	return nil
}

// meet makes sure that the policy ref contains the commit that the last promotion was judged by: what is decided next is decided by
// no older policy. A policy ref whose history was rewritten does not contain it any more, which is only said.
func (r *run) meet(ctx context.Context, s *stage) error {
	if s.state.Live == nil {
		return nil
	}
	commit := s.state.Live.Policy.Commit
	if on, err := r.policyRef.Contains(ctx, commit); err != nil || on {
		return err
	}
	ref, err := r.Workspace.Policy(ctx, r.PolicyRef, func(string) {})
	if err != nil {
		return err
	}
	if on, err := ref.Contains(ctx, commit); err != nil {
		return err
	} else if on {
		return fmt.Errorf("%w: %s has moved on to commit %.12s since this run began, and the last promotion was judged by that or an earlier one; run it again",
			ErrConflict, ref.Name(), ref.Tip())
	}
	older, err := ref.Older(ctx, commit)
	switch {
	case err != nil:
		return err
	case older:
		return fmt.Errorf("%w: %s is at commit %.12s, which is older than %.12s, by which the last promotion was judged: its remote lags behind another one, or it was set back; take back a commit by `git revert`, on top of %.12s",
			policy.ErrDenied, ref.Name(), ref.Tip(), commit, commit)
	}
	s.note("%s does not contain commit %.12s, by which the last promotion was judged: its history was rewritten, or it is older than that", ref.Name(), commit)
	return nil
}

// isLive reports whether an artifact is live, and the live ref shows it.
func (s *stage) isLive(d digest.Digest) bool {
	return s.state.Live != nil && s.state.Unpromoted == nil && s.state.Live.To.Digest == d
}

// note adds a note once: several releases may lead to it.
func (s *stage) note(format string, args ...any) {
	if note := fmt.Sprintf(format, args...); !slices.Contains(s.result.Notes, note) {
		s.result.Notes = append(s.result.Notes, note)
	}
}

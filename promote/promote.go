package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// maxJudged bounds how many releases are judged before the newest one's verdict is reported.
const maxJudged = 25

// promote promotes one stage.
func (r *run) promote(ctx context.Context, s *stage) error {
	if err := r.look(ctx, s); err != nil {
		return err
	}
	if r.Release == "" {
		return r.promoteNewest(ctx, s)
	}
	f, err := lock.Release(r.files, s.pipeline.Lock, r.Release)
	if err != nil {
		return fmt.Errorf("%s: %w", r.trunk.Name(), err)
	}
	s.result.Release = r.Release
	j, err := r.judge(ctx, s, f)
	if err != nil {
		return err
	}
	return r.settle(ctx, s, j)
}

// look reads what is live, and completes what an earlier run began.
func (r *run) look(ctx context.Context, s *stage) error {
	var err error
	if s.state, err = live.Read(ctx, s.live); err != nil {
		return denied(err)
	}
	s.result.From = artifactOf(s.state.Live)
	if u := s.state.Unpromoted; u != nil {
		s.note("branch %s shows %s, which no promotion put there: it is unpromoted until it passes", s.live.Place.Branch, u.Lockage.Release)
	}
	tag := s.repository.Reference(s.stage.Name)
	if s.live.Remote == nil && s.state.Live == nil && s.state.Tag != "" {
		// Nothing else tells what is live: to go on would forget what was, and what was rolled back from.
		return fmt.Errorf("%w: %s names %s, which was never promoted: point it at what was promoted last, or delete it to begin anew",
			policy.ErrDenied, tag, s.state.Tag)
	}
	if s.state.Live == nil || !s.state.Drift() {
		return nil
	}
	if r.DryRun {
		s.note("%s is not what is live: it would be put right", tag)
		return nil
	}
	if err := r.follow(ctx, s, s.state.Live.To, s.state.Head); err != nil {
		return err
	}
	s.note("%s was not what is live: it is %s again", tag, s.state.Live.To.Digest)
	return nil
}

// promoteNewest promotes the newest release that passes its gates. Where none does, the verdict on the newest one is the
// result; and so it is where one does not verify: that is looked into, and not passed over. Behind a release that was rolled
// back from there is none: what is older than that was replaced for a reason.
func (r *run) promoteNewest(ctx context.Context, s *stage) error {
	history := r.releases(ctx, s.pipeline.Lock)
	last, err := r.horizon(s, history)
	if err != nil {
		return err
	}
	left, err := r.leftContents(ctx, s)
	if err != nil {
		return err
	}
	var first *judgement
	var absent []string
	judged := 0
	for i := 0; i <= last && judged < maxJudged; i++ {
		id, ok, err := history.at(i)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		candidate, err := s.repository.Lookup(ctx, oci.CandidateTag(s.stage.Name, id))
		if err != nil {
			return err
		}
		switch {
		case candidate == "":
			absent = append(absent, id)
			continue
		case s.isLive(candidate):
			i = last // nothing behind it is newer
			continue
		}
		f, err := lock.Release(r.files, s.pipeline.Lock, id)
		if err != nil {
			return fmt.Errorf("%s: %w", r.trunk.Name(), err)
		}
		held, err := r.held(ctx, s, f.Lock, candidate)
		if err != nil {
			return denied(err)
		}
		if held {
			s.note("%s was rolled back from and is held: name it with --release to promote it again", id)
			break
		}
		if first != nil && len(first.declared.Waivers.By) == 0 {
			// The newest one's verdict is known; of the others only one that can pass is of interest.
			order, err := r.order(ctx, s, f.Lock)
			if err != nil {
				return err
			}
			if order != nil && order.Result != policy.Pass {
				continue
			}
		}
		j, err := r.judge(ctx, s, f)
		if err != nil {
			return err
		}
		judged++
		switch err := j.outcome(); {
		case err == nil && left[j.artifact.Content]:
			s.note("%s has the content that was rolled back from, and is held: name it with --release to promote it", id)
			continue
		case err == nil && first != nil:
			s.note("%s is newer and does not pass: %v", first.artifact.Release, first.outcome())
			fallthrough
		case err == nil, j.checks.Result() != policy.Pass:
			s.result.Release = id
			return r.settle(ctx, s, j)
		}
		if first == nil {
			first = j
		}
	}
	if first != nil {
		s.result.Release = first.artifact.Release
		return r.settle(ctx, s, first)
	}
	if len(absent) > 0 {
		s.note("not hydrated for this stage: %s", strings.Join(absent, ", "))
	}
	s.result.Action = Unchanged
	if s.state.Live != nil {
		s.result.Release = s.state.Live.To.Release
		s.result.To = artifactOf(s.state.Live)
	}
	return nil
}

// isLive tells whether an artifact is what is live, and the live ref shows it.
func (s *stage) isLive(d digest.Digest) bool {
	return s.state.Live != nil && s.state.Unpromoted == nil && s.state.Live.To.Digest == d
}

// horizon is the last place in the history whose release is not older than what is live.
func (r *run) horizon(s *stage, history *sequence[string]) (int, error) {
	if s.state.Live == nil {
		return maxReleases - 1, nil
	}
	at, err := place(history, s.state.Live.To.Release)
	if err != nil || at >= 0 {
		return at, err
	}
	// It never was current: a hotfix, say. Then the locks' own times have to tell.
	f, err := lock.Release(r.files, s.pipeline.Lock, s.state.Live.To.Release)
	if err != nil || f.Lock.Created().IsZero() {
		return 0, fmt.Errorf("release %s is live and not among the current ones of %s: what is newer cannot be told, name one with --release",
			s.state.Live.To.Release, s.pipeline.Lock)
	}
	for i := range maxReleases {
		id, ok, err := history.at(i)
		if err != nil || !ok {
			return i - 1, err
		}
		other, err := lock.Release(r.files, s.pipeline.Lock, id)
		if err != nil {
			return 0, err
		}
		if !other.Lock.Created().After(f.Lock.Created()) {
			return i - 1, nil
		}
	}
	return maxReleases - 1, nil
}

// settle makes the result of a judgement, and carries it out where it passed.
func (r *run) settle(ctx context.Context, s *stage, j *judgement) error {
	s.result.Checks, s.result.Gates = j.checks, j.gates
	to := j.artifact
	s.result.To = &to
	if err := j.outcome(); err != nil {
		return err
	}
	current := s.state.Live
	switch {
	case s.isLive(to.Digest):
		s.result.Action = Unchanged
		return nil
	case current != nil && current.To.Content == to.Content:
		s.result.Action = Noop
	default:
		s.result.Action = Promoted
	}
	if r.Ready && s.result.Action == Promoted {
		held, err := r.hold(ctx, s)
		if err != nil {
			return err
		}
		if held != nil {
			s.result.Gates = append(s.result.Gates, *held)
			return fmt.Errorf("%w: %s", ErrPending, held.Reason)
		}
	}
	if r.DryRun {
		return nil
	}
	return r.apply(ctx, s, j, predicate.Action(s.result.Action))
}

func (s *stage) note(format string, args ...any) {
	s.result.Notes = append(s.result.Notes, fmt.Sprintf(format, args...))
}

// denied makes a broken record a denial: nothing is decided over what cannot be trusted.
func denied(err error) error {
	if errors.Is(err, live.ErrBroken) && !errors.Is(err, policy.ErrDenied) {
		return fmt.Errorf("%w: %w", policy.ErrDenied, err)
	}
	return err
}

// joined puts several errors in one line.
func joined(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

package promote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
)

// maxJudged bounds how many releases are judged before the newest one's verdict is reported.
const maxJudged = 25

// promote promotes one stage.
func (r *run) promote(ctx context.Context, s *stage) error {
	if r.Release == "" {
		people, err := r.promoteNewest(ctx, s)
		if err == nil || errors.Is(err, ErrPending) || errors.Is(err, policy.ErrDenied) {
			r.keepReview(ctx, s, people)
		}
		return err
	}
	f, input, err := r.named(s)
	if err != nil {
		return err
	}
	s.result.Release = f.ReleaseID
	h, err := r.hydrated(ctx, s.view, f)
	if err != nil {
		return err
	}
	if h.entry.Digest == "" {
		return fmt.Errorf("release %s was not hydrated for this stage: branch %s of %s does not have it; run `lockage hydrate %s --release %s`",
			f.ReleaseID, s.entry.Branch, s.candidates.Remote().Written(), s.pipeline.Argument(s.stage.Name), f.ReleaseID)
	}
	if !lock.BeginsWith(h.entry.Input, input) {
		return fmt.Errorf("the candidate of %s is %s, and promote takes no other hydration of it than the newest; `lockage rollback %s --to %s@%s` takes one that was live",
			f.ReleaseID, lock.Hydration(f.ReleaseID, h.entry.Input), s.pipeline.Argument(s.stage.Name), f.ReleaseID, input)
	}
	j, err := r.judge(ctx, s, f, h)
	if err != nil {
		return err
	}
	if err = r.conclude(ctx, s, j); err != nil && s.due(j) {
		r.keepReview(ctx, s, asked{due: j}) // a person names it, whatever was approved
	}
	return err
}

// promoteNewest promotes the newest release that passes its gates, and returns what people may be asked about. If none does, the verdict
// on the newest one is the result; so is the verdict on one that does not verify: that has to be investigated, and is not skipped.
func (r *run) promoteNewest(ctx context.Context, s *stage) (people asked, err error) {
	last, err := r.oldest(ctx, s)
	if err != nil {
		return people, err
	}
	var newest *judgement // of those that do not pass
	var absent []string
	judged := 0
	for entry, err := range s.hydrated(ctx, r.history(ctx, s.pipeline, last+1), &absent) {
		if err != nil {
			return people, err
		}
		if s.isLive(entry.Digest) {
			r.noteLiveStale(ctx, s, entry.Release, newest)
			break
		}
		if judged >= maxJudged && s.review == nil {
			break
		}
		if judged >= maxJudged && s.review.proposal.Shows.Digest() != entry.Digest {
			continue // people take their time
		}
		id := entry.Release
		j, held, err := r.consider(ctx, s, id, newest)
		if err != nil {
			return people, err
		}
		if held {
			break
		}
		if j == nil {
			continue
		}
		if newest != nil && j.checks.Result() == policy.Pending && j.examined.Report.Digest == "" {
			s.note("%s is not in the registry any more: `lockage hydrate %s --release %s` puts it back", id, s.pipeline.Argument(s.stage.Name), id)
			continue
		}
		judged++
		outcome := j.outcome()
		if s.due(j) {
			people.add(j)
		}
		if outcome == nil && newest != nil {
			s.note("%s is newer and does not pass: %v", newest.artifact.Release, newest.outcome())
		}
		if outcome == nil || j.checks.Result() != policy.Pass {
			s.noteAbsent(absent)
			return people, r.conclude(ctx, s, j)
		}
		newest = cmp.Or(newest, j)
	}
	if newest != nil {
		s.noteAbsent(absent)
		return people, r.conclude(ctx, s, newest)
	}
	s.noteAbsent(absent)
	s.result.Action = Unchanged
	if s.state.Live != nil {
		s.result.Release, s.result.To = s.state.Live.To.Release, &s.state.Live.To
	}
	return people, nil
}

// hydrated yields the candidates of releases, the newest first, as long as the ledger has more of the stage. It adds the releases
// in between that are not hydrated to absent, and notes that there may be older ones than are looked at.
func (s *stage) hydrated(ctx context.Context, releases iter.Seq2[string, error], absent *[]string) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		known, err := s.candidates.Releases(ctx, s.entry.Branch, s.entry.Stage)
		if err != nil {
			yield(ledger.Entry{}, err)
			return
		}
		looked := 0
		for id, err := range releases {
			if err == nil && looked > 0 && len(known) == 0 {
				return
			}
			looked++
			known = slices.DeleteFunc(known, func(release string) bool { return release == id })
			var entry ledger.Entry
			ok := false
			if err == nil {
				entry, ok, err = s.candidate(ctx, id)
			}
			if err == nil && !ok {
				*absent = append(*absent, id)
				continue
			}
			if !yield(entry, err) || err != nil {
				return
			}
		}
		if looked == maxReleases && len(known) > 0 {
			s.note("%d releases were looked at, the newest ones of %s: name an older one with --release", looked, s.pipeline.Lock)
		}
	}
}

// noteAbsent notes the releases that are not hydrated for the stage and would have been judged before all others.
func (s *stage) noteAbsent(absent []string) {
	if len(absent) == 0 {
		return
	}
	const named = 3
	names, more := strings.Join(absent[:min(len(absent), named)], ", "), ""
	if n := len(absent) - named; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	s.note("not hydrated for this stage, because hydration failed or did not run: %s%s; `lockage hydrate %s` says why", names, more, s.pipeline.Argument(s.stage.Name))
}

// consider judges a release of the history, unless it cannot pass: the judgement is nil then. A held release ends the search:
// what is older was replaced for a reason. Newest is the judgement of the newest one that was judged, nil for none.
func (r *run) consider(ctx context.Context, s *stage, id string, newest *judgement) (j *judgement, stop bool, err error) {
	f, err := r.lock(s, id)
	if err != nil {
		return nil, false, err
	}
	h, err := r.hydrated(ctx, s.view, f)
	if err != nil {
		return nil, false, err
	}
	if _, held := s.state.Holds().Of(id, h.entry.Digest); held {
		s.note("%s was rolled back from and is held: name it with --release to promote it again", id)
		return nil, true, nil
	}
	if s.state.Holds().Content(h.entry.Content) {
		s.note("%s has the content that was rolled back from, and is held: name it with --release to promote it", id)
		return nil, false, nil
	}
	if newest != nil && len(newest.declared.Waivers.By) == 0 {
		// The newest one's verdict is known; another release matters only if it can pass.
		others, err := r.others(ctx, s, s.stage.After.Stages, f, h.made())
		if err != nil || s.order(others).Result != policy.Pass {
			return nil, false, err
		}
	}
	j, err = r.judge(ctx, s, f, h)
	return j, false, err
}

// oldest returns the last place in the history whose release is not older than what is live.
func (r *run) oldest(ctx context.Context, s *stage) (int, error) {
	if s.state.Live == nil {
		return maxReleases - 1, nil
	}
	release := s.state.Live.To.Release
	i := 0
	for id, err := range r.history(ctx, s.pipeline, maxReleases) {
		if err != nil || id == release {
			return i, err
		}
		i++
	}
	// It never was current: a hotfix, for example. Then what became current after it was recorded is newer.
	since, err := r.policyRef.Since(ctx, s.pipeline.Lock, release)
	if err != nil {
		return 0, fmt.Errorf("release %s is live and was never current in %s: %w; name a release with --release", release, s.pipeline.Lock, err)
	}
	return min(len(since), maxReleases) - 1, nil
}

// noteStale notes that a candidate is older than a change of what it was made from: it was not hydrated since, or that failed.
func (r *run) noteStale(ctx context.Context, s *stage, declared pipeline.Expanded, release string, h policy.Hydration) {
	if stale, err := live.Stale(ctx, declared, release, h, r.policyRef); err == nil && stale != "" {
		s.note("%s", stale)
	}
}

// noteLiveStale is noteStale for a candidate that is live, unless a newer one was judged.
func (r *run) noteLiveStale(ctx context.Context, s *stage, release string, newest *judgement) {
	if newest != nil {
		return
	}
	f, err := r.lock(s, release)
	if err != nil {
		return
	}
	if h, err := r.hydrated(ctx, s.view, f); err == nil {
		r.noteStale(ctx, s, h.declared, release, h.hydration)
	}
}

// conclude makes a judgement the result, and carries it out if it passed.
func (r *run) conclude(ctx context.Context, s *stage, j *judgement) error {
	to := j.artifact
	s.result.Release, s.result.To = to.Release, &to
	s.result.Checks, s.result.Gates = j.checks, j.gates
	r.noteStale(ctx, s, j.declared, j.artifact.Release, j.made.Hydration)
	if err := j.outcome(); err != nil {
		return err
	}
	current := s.state.Live
	if s.proposes {
		return fmt.Errorf("%w: %s passes all gates, and `lockage promote %s` promotes it", ErrPending, to.Release, s.pipeline.Argument(s.stage.Name))
	}
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
	return r.apply(ctx, s, j)
}

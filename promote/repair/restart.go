package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// restart begins the history of a stage anew, if it is not proven as it is. Broken is why the live ref cannot be read; nil if it
// can.
func (r *run) restart(ctx context.Context, s *stage, broken error) error {
	unread := broken != nil
	if !unread {
		switch former, err := s.live.Former(ctx, s.state); {
		case err == nil && former != nil:
			return fmt.Errorf("%w: leave --reason out", former.Err(s.live))
		case err != nil && former != nil:
			return r.carry(ctx, s, former)
		case errors.Is(err, live.ErrBroken), errors.Is(err, live.ErrUnread):
			broken = err
		case err != nil:
			return err
		default:
			broken = s.live.Witness(ctx, &s.state)
		}
	}
	if !errors.Is(broken, live.ErrBroken) && !errors.Is(broken, live.ErrUnread) {
		return broken // nil if it is proven, or if nothing was ever promoted
	}
	var base live.Promotion
	if s.state.Live != nil {
		base = *s.state.Live
	}
	rec, err := s.live.Record(r.Environment, r.policyRef, predicate.Restarted, base.To, s.state.Newest())
	if err != nil {
		return err
	}
	if rec.Reason = r.Reason; unread {
		rec.Previous = ""
	}
	if err := r.hold(ctx, s, &rec, base.To); err != nil {
		return err
	}
	if err := r.write(ctx, s, rec, &ledger.Promotion{Verb: "Begin anew"}, s.live, base); err != nil {
		return err
	}
	s.planned = r.DryRun
	at := "nothing"
	if base.To.Digest != "" {
		at = base.To.Release
	}
	s.found(!r.DryRun, fmt.Sprintf("begin anew at %s, with number %d; held: %s", at, rec.Sequence, held(rec.Holds)), "%v", broken)
	return nil
}

// held lists the releases that are held.
func held(holds predicate.Holds) string {
	var names []string
	for _, h := range holds {
		names = append(names, cmp.Or(h.Release, h.Digest.String()))
	}
	return cmp.Or(strings.Join(names, " "), "nothing")
}

// hold numbers the record of a new beginning above every one that counted, and holds what any store shows as promoted or left
// after the base: it comes back by name alone, unless it is what is live.
func (r *run) hold(ctx context.Context, s *stage, rec *predicate.Promotion, current predicate.Artifact) error {
	artifacts, err := r.known(ctx, s)
	if err != nil {
		return err
	}
	claimed, highest, err := s.live.Claimed(ctx, artifacts...)
	if errors.Is(err, live.ErrUnread) {
		rec.Reason = fmt.Sprintf("%s (%v)", rec.Reason, err)
	} else if err != nil {
		return err
	}
	var base live.Promotion // the newest that is proven
	if last := s.state.Newest(); last != nil {
		base = *last
	}
	rec.Sequence = max(base.Sequence, highest) + 1
	slices.SortFunc(claimed, func(a, b live.Promotion) int { return b.Sequence - a.Sequence })
	var held predicate.Holds
	for _, p := range claimed {
		if below, err := s.live.Below(ctx, p, base); err != nil {
			return err
		} else if below || p.Record == base.Record {
			continue
		}
		held = append(append(held, p.To.Hold()), p.Holds...) // a rollback's own name what it left
	}
	held = slices.DeleteFunc(held, func(h predicate.Hold) bool { return h.Digest == "" || h.Digest == current.Digest })
	rec.Holds = rec.Holds.With(rec.Time.Add(time.Second), held...) // what was given within this second may be from before it
	return nil
}

// known returns artifacts that may carry records of the stage.
func (r *run) known(ctx context.Context, s *stage) ([]digest.Digest, error) {
	tag, err := s.live.Artifacts.Lookup(ctx, s.result.Stage)
	if err != nil {
		return nil, err
	}
	artifacts := []digest.Digest{tag}
	if s.state.Live != nil {
		artifacts = append(artifacts, s.state.Live.To.Digest)
	}
	entries, err := verify.Entries(ctx, s.declared, r.Workspace.Repository)
	for _, e := range entries {
		artifacts = append(artifacts, e.Digest)
	}
	return artifacts, err
}

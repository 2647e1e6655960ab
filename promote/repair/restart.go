package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
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
	switch {
	case broken == nil:
		return nil // it is proven, or nothing was ever promoted
	case !errors.Is(broken, live.ErrBroken) && !errors.Is(broken, live.ErrUnread):
		return broken
	}
	w := &writing{verb: "Begin anew", from: s.live, rec: predicate.Promotion{Action: predicate.Restarted, Reason: r.Reason}}
	if s.state.Live != nil {
		w.base = *s.state.Live
		var err error
		if w.files, err = ledger.Files(ctx, s.live.Remote, git.Hash(w.base.Commit), w.base.Path); err != nil {
			return err
		}
	}
	if last := s.state.Newest(); last != nil && !unread {
		w.rec.Previous = last.Record
	}
	if err := r.hold(ctx, s, w); err != nil {
		return err
	}
	if err := r.write(ctx, s, w); err != nil {
		return err
	}
	s.planned = r.DryRun
	at := "nothing"
	if w.base.To.Digest != "" {
		at = w.base.To.Release
	}
	s.found(!r.DryRun, fmt.Sprintf("begin anew at %s, with number %d; held: %s", at, w.rec.Sequence, held(w.rec.Holds)), "%v", broken)
	return nil
}

// held lists the releases that are held.
func held(holds []predicate.Artifact) string {
	names := ""
	for _, h := range holds {
		names += h.Release + " "
	}
	if names == "" {
		return "nothing"
	}
	return names[:len(names)-1]
}

// hold numbers the record of a new beginning above every one that counted, and holds what any store shows as promoted or left
// after the base.
func (r *run) hold(ctx context.Context, s *stage, w *writing) error {
	artifacts, err := r.known(ctx, s)
	if err != nil {
		return err
	}
	claimed, highest, err := s.live.Claimed(ctx, artifacts...)
	if errors.Is(err, live.ErrUnread) {
		w.rec.Reason = fmt.Sprintf("%s (%v)", w.rec.Reason, err)
	} else if err != nil {
		return err
	}
	base := 0
	if last := s.state.Newest(); last != nil {
		base = last.Sequence
	}
	w.rec.Sequence = max(base, highest) + 1
	slices.SortFunc(claimed, func(a, b live.Promotion) int { return a.Sequence - b.Sequence })
	for _, p := range claimed {
		if p.Sequence < base || last(s.state, p) {
			continue
		}
		for _, a := range append([]predicate.Artifact{p.To}, p.Holds...) {
			w.hold(a)
		}
		if p.From != nil && p.Action == predicate.RolledBack {
			w.hold(*p.From)
		}
	}
	return nil
}

// last reports whether a record is the newest that is proven.
func last(state live.State, p live.Promotion) bool {
	return state.Newest() != nil && state.Newest().Record == p.Record
}

// hold makes an artifact come back by name alone, unless it is the one that is live.
func (w *writing) hold(a predicate.Artifact) {
	if a.Digest != "" && a.Digest != w.base.To.Digest && !slices.Contains(w.rec.Holds, a) {
		w.rec.Holds = append(w.rec.Holds, a)
	}
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
	remote, err := verify.LedgerRemote(ctx, s.declared, r.Workspace.Repository)
	if err != nil {
		return nil, err
	}
	entries, err := ledger.All(ctx, remote, verify.NameOf(s.declared, ""))
	for _, e := range entries {
		artifacts = append(artifacts, e.Digest)
	}
	return artifacts, err
}

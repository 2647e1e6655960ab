package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/mirror"
)

// maxReads bounds how often a state is read again because its tag moves.
const maxReads = 5

// Read reads and verifies what is live now: the newest promotion, and that it follows on the one before it. It returns
// ErrBroken too if the tag names a promotion that comes after the newest on the live ref: the ref was set back. With an
// error, the state holds what is known: Tag, Head and Tree.
func Read(ctx context.Context, s Stage) (State, error) {
	tag, err := s.Artifacts.Lookup(ctx, s.Stage)
	for attempt := 1; err == nil; attempt++ {
		var state State
		if s.Remote == nil {
			state, err = readTag(ctx, s, tag)
		} else {
			state, err = readRef(ctx, s, tag)
		}
		if state.Tag = tag; !state.Drift() && err == nil || attempt == maxReads {
			return state, err
		}
		// The live ref moves first and the tag follows: they may have been read before and after a promotion, unless the
		// tag is still the same.
		again, rerr := s.Artifacts.Lookup(ctx, s.Stage)
		if rerr != nil {
			return state, rerr
		}
		if again == tag {
			return state, err
		}
		tag, err = again, nil
	}
	return State{}, err
}

func readRef(ctx context.Context, s Stage, tag digest.Digest) (State, error) {
	var shown episodes
	head, err := mirror.History(ctx, s.Remote, s.Place, func(v mirror.Version) (bool, error) {
		shown.add(v)
		return len(shown.all) < 2, nil // the second begins where the first ended
	})
	state := State{Head: head}
	if err != nil {
		return state, err
	}
	if shown.head != nil {
		state.Tree = shown.head.Tree
	}
	state.Unpromoted = shown.unpromoted()
	promotions, errs := make([]Promotion, len(shown.all)), make([]error, len(shown.all)+1)
	var carried []Promotion
	var group sync.WaitGroup
	for i, e := range shown.all {
		group.Go(func() { promotions[i], errs[i] = s.prove(ctx, e) })
	}
	group.Go(func() { carried, errs[len(shown.all)] = s.records(ctx, tag) })
	group.Wait()
	for _, err := range errs { // that of the newest
		if err != nil {
			return state, err
		}
	}
	if len(promotions) > 0 {
		if err := s.intact(shown.all[0], shown.head); err != nil {
			return state, err
		}
		var before *Promotion
		if len(promotions) > 1 {
			before = &promotions[1]
		}
		if err := s.follows(promotions[0], before); err != nil {
			return state, err
		}
		state.Live = &promotions[0]
	}
	if err := s.notAhead(state, tag, carried, 0); err != nil {
		state.Live = nil
		return state, err
	}
	return state, nil
}

// readTag reads what is live by the tag alone.
func readTag(ctx context.Context, s Stage, tag digest.Digest) (State, error) {
	newest, err := s.newest(ctx, tag)
	if err != nil || newest == nil {
		return State{}, err
	}
	previous, err := s.previous(ctx, *newest)
	if err != nil {
		return State{}, err
	}
	if err := s.follows(*newest, previous); err != nil {
		return State{}, err
	}
	return State{Live: newest}, nil
}

// CheckArtifact returns ErrBroken if an artifact that is to be promoted carries a promotion that the live ref lacks. The
// promotion that would come next is allowed on any artifact but the one that the tag names: it was recorded, and not
// finished. Without a mirror there is nothing to compare with.
func CheckArtifact(ctx context.Context, s Stage, state State, artifact digest.Digest) error {
	if s.Remote == nil {
		return nil
	}
	carried, err := s.records(ctx, artifact)
	if err != nil {
		return err
	}
	unfinished := 1
	if artifact == state.Tag {
		unfinished = 0
	}
	return s.notAhead(state, artifact, carried, unfinished)
}

// notAhead returns ErrBroken if an artifact carries a promotion whose number exceeds the live one's by more than unfinished.
func (s Stage) notAhead(state State, artifact digest.Digest, carried []Promotion, unfinished int) error {
	sequence, known := 0, "no promotion"
	if state.Live != nil {
		sequence = state.Live.Sequence
		known = fmt.Sprintf("promotions up to %d", sequence)
	}
	if state.Unpromoted != nil && state.Live != nil && artifact == state.Live.To.Digest {
		unfinished = 1 // what is live is promoted again over what was pushed by hand
	}
	for _, p := range carried {
		if p.Sequence > sequence+unfinished {
			return s.broken("%s carries promotion %d (record %s of %s), and branch %s knows %s: it was set back; "+
				"restore it from a clone or the forge's log of pushes, and see who may force-push to it",
				artifact, p.Sequence, p.Referrer, p.Time.Format(time.RFC3339), s.Place.Branch, known)
		}
	}
	return nil
}

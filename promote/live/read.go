package live

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/mirror"
)

// maxReads bounds how often a state is read whose tag moves meanwhile.
const maxReads = 5

// Read reads and verifies what is live now: the newest promotion, and that it follows on the one before it. A tag that
// names a promotion which the live ref does not know, although it comes after the one that the ref knows, means that the
// ref was set back: ErrBroken. With an error, the state holds what is known all the same: Tag, Head and Standing.
func Read(ctx context.Context, s Stage) (State, error) {
	tag, err := s.Resolve(ctx, s.Claim.Stage)
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
		// The live ref moves first and the tag follows: what was read of one and the other may lie on both sides of a
		// promotion. Where the tag stood still, it does not.
		again, rerr := s.Resolve(ctx, s.Claim.Stage)
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
		state.Standing = shown.head.Tree
		if shown.head.Metadata.Lockage.Record == "" {
			state.Unpromoted = &shown.head.Metadata
		}
	}
	promotions, errs := make([]Promotion, len(shown.all)), make([]error, len(shown.all)+1)
	var carried []Promotion
	var group sync.WaitGroup
	for i, e := range shown.all {
		group.Go(func() { promotions[i], errs[i] = s.prove(ctx, e) })
	}
	group.Go(func() { carried, errs[len(shown.all)] = s.records(ctx, tag) })
	group.Wait()
	for _, err := range errs { // the newest is told of
		if err != nil {
			return state, err
		}
	}
	if len(promotions) > 0 {
		if err := s.intact(shown.all[0], shown.head); err != nil {
			return state, err
		}
		if err := s.follows(promotions[0], before(promotions)); err != nil {
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

func before(promotions []Promotion) *Promotion {
	if len(promotions) < 2 {
		return nil
	}
	return &promotions[1]
}

// readTag reads what is live by the tag alone.
func readTag(ctx context.Context, s Stage, tag digest.Digest) (State, error) {
	var state State
	newest, err := s.newest(ctx, tag)
	if err != nil || newest == nil {
		return state, err
	}
	previous, err := s.previous(ctx, *newest)
	if err != nil {
		return state, err
	}
	if err := s.follows(*newest, previous); err != nil {
		return state, err
	}
	state.Live = newest
	return state, nil
}

// CheckArtifact is ErrBroken where an artifact carries a promotion that the live ref should know and does not. One that
// would come next may stand on any artifact but the one that the tag names: it was written, and not finished. Ask it of
// an artifact before it is promoted. Without a mirror it has nothing to compare with, and is nil.
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

// notAhead compares what an artifact carries with what is live, and lets so many numbers pass.
func (s Stage) notAhead(state State, artifact digest.Digest, carried []Promotion, unfinished int) error {
	live := 0
	if state.Live != nil {
		live = state.Live.Sequence
	}
	if state.Unpromoted != nil && state.Live != nil && artifact == state.Live.To.Digest {
		unfinished = 1 // what is live is promoted again over what was pushed by hand
	}
	for _, p := range carried {
		if p.Sequence > live+unfinished {
			return s.broken("%s carries promotion %d (record %s of %s), and branch %s knows %s: it was set back; "+
				"restore it from a clone or the forge's log of pushes, and see who may force-push to it",
				artifact, p.Sequence, p.Referrer, p.Time.Format(timeFormat), s.Place.Branch, numbered(live))
		}
	}
	return nil
}

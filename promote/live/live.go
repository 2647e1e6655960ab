// Package live reads what is live in a stage, and proves how it came there.
//
// The stage's live ref in Git decides what is live: a branch whose commits show artifacts at a path, as package mirror
// writes them, each naming the record of the promotion in its metadata and in the trailer Lockage-Record. The registry's
// tag of the stage only follows it. Neither is trusted by itself: a version counts if its record is signed by the promoter
// for this pipeline, stage and repository, is about the artifact that is shown, and names the record of the version before
// it.
//
// # What is broken, and what is not
//
//   - A record that is missing, by another key, of another stage, or about another artifact than its commit shows: forged.
//   - A record with a lower number than the one below it: replayed. With the same number, or with another record as the one
//     before: forked. With a number too high, or with nothing below it: a gap.
//   - Files at the head that are not those of the promotion that its metadata names: edited. A commit that restores them
//     repairs it.
//   - A tag that names an artifact with a promotion that comes after the newest on the live ref: the ref was set back. One
//     such promotion is allowed while the head has no record and the artifact is what is live: it was being promoted again
//     over what was pushed by hand.
//   - A head without a record is not broken: somebody merged or pushed a candidate, and State.Unpromoted holds it. What
//     is live is what was promoted last below it.
//   - A record that no commit names is not broken: a promotion that was not finished. It never came into force.
//   - A tag that names something else than the live ref is [State.Drift]: the next promotion moves it.
//
// The files at the head are compared with the metadata by Git's ids. Anybody who can write to the branch can write both:
// ledger.Check proves that the files are the artifact's, bit for bit.
//
// Without a mirror there is no live ref. The chain of records then begins at the newest record of the artifact that the
// stage's tag names: a weaker promise, since anybody who can move a tag can move it back to an older promotion.
package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// ErrBroken is returned if the live ref or the chain of records is not what promotion leaves behind: forged, truncated,
// forked or replayed. The error's text names the place and the reason.
var ErrBroken = errors.New("the record of what is live is broken")

// Stage is a stage, and where its state is kept.
type Stage struct {
	sign.Claim // without a release
	Artifacts  *oci.Repository
	Promoter   *sign.Verifier // trusts the stage's promoter and nobody else
	Remote     *git.Remote    // of the live ref; nil without a mirror
	Place      ledger.Place   // branch and path of the live ref
}

// Open finds where a declared stage keeps its state, and whom it trusts to promote. Files are the policy ref's. It makes no
// request.
func Open(ctx context.Context, files fs.FS, declared pipeline.Expanded, client *oci.Client, remotes verify.Remotes) (Stage, error) {
	promoter, err := verify.Identity(files, declared, pipeline.RolePromoter)
	if err != nil {
		return Stage{}, err
	}
	repository, err := client.Repository(declared.Repository)
	if err != nil {
		return Stage{}, err
	}
	s := Stage{
		Claim:     sign.Claim{Pipeline: declared.Pipeline, Stage: declared.Stage, Repository: repository.Name()},
		Artifacts: repository,
		Promoter:  promoter,
		Place:     PlaceOf(declared),
	}
	if declared.Mirror != nil {
		s.Remote, err = verify.MirrorRemote(ctx, declared, remotes)
	}
	return s, err
}

// PlaceOf returns the live ref of a declared stage: the stage branch if promotion writes it, else a branch that only
// promotion writes. It is zero without a mirror.
func PlaceOf(declared pipeline.Expanded) ledger.Place {
	if declared.Mirror == nil {
		return ledger.Place{}
	}
	at := declared.LiveRef()
	return ledger.Place{Branch: at.Branch, Path: at.Path}
}

// Promotion is a verified record that the live ref's history names; without a mirror, that the chain reaches.
type Promotion struct {
	predicate.Promotion
	Referrer digest.Digest // of the record: what the next one names as the one before
	Commit   string        // on the live ref, the first that shows it; "" without a mirror
	Key      string        // fingerprint of the promoter's key
	// Since is when it became live: the time of the commit if that is later than the record's, which an earlier run may
	// have written that did not reach the commit.
	Since time.Time
}

// State is what is live in a stage now.
type State struct {
	Live *Promotion    // the newest promotion; nil if nothing was promoted yet
	Tag  digest.Digest // what the stage's tag names; "" for nothing
	Head git.Hash      // of the live ref; "" if it does not exist
	Tree git.Hash      // Git's id of what is below the path at Head; "" for nothing

	// Unpromoted is what the head shows without a record because somebody merged, pushed or removed it by hand; it is
	// zero if that names no artifact of lockage. Nil if the head shows what was promoted, or never showed anything.
	Unpromoted *ledger.Metadata
}

// Drift reports whether the stage's tag names something else than what is live.
func (s State) Drift() bool {
	if s.Live == nil {
		return s.Tag != ""
	}
	return s.Tag != s.Live.To.Digest
}

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
	head, err := ledger.History(ctx, s.Remote, s.Place, func(v ledger.Version) (bool, error) {
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
	h := history{stage: s}
	h.yield = func(Promotion, error) bool { return h.last == h.newest } // until the one before the newest
	if err := h.walkRecords(ctx, tag); err != nil {
		return State{}, err
	}
	return State{Live: h.newest}, nil
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

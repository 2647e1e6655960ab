// Package live tells what is live in a stage, and proves how it came there.
//
// What is live is said by the stage's live ref in Git: a branch whose commits show artifacts at a path, as package mirror
// writes them, each naming the record of the promotion in its metadata and in the trailer Lockage-Record. The registry's
// tag of the stage only follows it. Nothing of either is believed by itself: a version counts when its record is signed
// by the promoter for this pipeline, stage and repository, is about the artifact that is shown, and names the record of
// the version before it.
//
// # What is broken, and what is not
//
//   - A record that is missing, by another key, of another stage, or about another artifact than its commit shows: forged.
//   - A record with a lower number than the one below it: replayed. With the same one, or with another record as the one
//     before: forked. With a number too high, or with nothing below it: a gap.
//   - Files at the head that are not those of the promotion that its metadata names: edited. A commit that restores them
//     mends it.
//   - A tag that names an artifact with a promotion that comes after the newest on the live ref: the ref was set back. One
//     such promotion is let pass while the head is without a record and the artifact is what is live: it was being
//     promoted again over what somebody pushed.
//   - A head without a record is not broken: somebody merged or pushed a candidate, and State.Unpromoted says so. What
//     is live is what was promoted last below it.
//   - A record that no commit names is not broken: a promotion that was not finished. It never came into force.
//   - A tag that names something else than the live ref is [State.Drift]: promoting again puts it right.
//
// The files at the head are compared by Git's ids, with what the metadata says. Whoever can write to the branch can write
// both: that the files are the artifact's, bit for bit, is for mirror.Check to prove.
//
// Without a mirror there is no live ref. The chain of records then begins at the newest record of the artifact that the
// stage's tag names: a weaker promise, since whoever can move a tag can move it back to an older promotion.
package live

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// ErrBroken says that the live ref or the chain of records is not what promotion leaves behind: forged, truncated,
// forked or replayed. The error's text says where and how.
var ErrBroken = errors.New("the record of what is live is broken")

// Stage is a stage, and where its state is kept.
type Stage struct {
	Claim      sign.Claim // pipeline, stage and repository; the release is left empty
	Repository verify.Repository
	Resolve    func(ctx context.Context, tag string) (digest.Digest, error) // "" for a tag that is not there
	Promoter   *sign.Verifier                                               // trusts the stage's promoter and nobody else
	Remote     *git.Remote                                                  // of the live ref; nil without a mirror
	Place      mirror.Place                                                 // branch and path of the live ref
}

// Open finds where a declared stage keeps its state, and whom it trusts to promote. Files are the policy ref's. Nothing is
// asked of a server.
func Open(ctx context.Context, files fs.FS, declared pipeline.Expanded, client *oci.Client, remotes verify.Remotes) (Stage, error) {
	promoter, err := verify.Promoter(files, declared)
	if err != nil {
		return Stage{}, err
	}
	repository, err := client.Repository(declared.Repository)
	if err != nil {
		return Stage{}, err
	}
	s := Stage{
		Claim:      sign.Claim{Pipeline: declared.Pipeline, Stage: declared.Stage, Repository: repository.Name()},
		Repository: repository,
		Resolve:    resolver(repository),
		Promoter:   promoter,
		Place:      PlaceOf(declared),
	}
	if declared.Mirror != nil {
		s.Remote, err = verify.MirrorRemote(ctx, declared, remotes)
	}
	return s, err
}

// resolver asks what a tag names; "" for one that is not there.
func resolver(repository *oci.Repository) func(context.Context, string) (digest.Digest, error) {
	return func(ctx context.Context, tag string) (digest.Digest, error) {
		desc, err := repository.Resolve(ctx, tag)
		if errors.Is(err, oci.ErrNotFound) {
			return "", nil
		}
		return desc.Digest, err
	}
}

// PlaceOf is the live ref of a declared stage: the stage branch where promotion writes it, else a branch beside it that
// nothing else writes. It is zero without a mirror.
func PlaceOf(declared pipeline.Expanded) mirror.Place {
	m := declared.Mirror
	if m == nil {
		return mirror.Place{}
	}
	return mirror.Place{Branch: m.LiveBranch(), Path: m.Path}
}

// Promotion is one verified record that the live ref's history names (without a mirror: that the chain reaches).
type Promotion struct {
	predicate.Promotion
	Referrer digest.Digest // of the record: what the next one names as the one before
	Commit   string        // on the live ref, the first that shows it; "" without a mirror
	Key      string        // fingerprint of the promoter's key
	// Since is from when on it was live: the time of the commit where that is later than the record's, which may have
	// been written by a run that did not come to the commit.
	Since time.Time
}

// State is what is live in a stage now.
type State struct {
	Live     *Promotion    // the newest promotion; nil where nothing was promoted yet
	Tag      digest.Digest // what the stage's tag names; "" for nothing
	Head     git.Hash      // of the live ref; "" where it does not exist
	Standing git.Hash      // Git's id of what lies below the path at Head; "" for nothing

	// Unpromoted is what the head shows without a record, where somebody merged, pushed or removed it by hand; it is
	// zero for what names no artifact of lockage. Nil where the head shows what was promoted, or never showed anything.
	Unpromoted *mirror.Metadata
}

// Drift tells whether the stage's tag is not what is live.
func (s State) Drift() bool {
	if s.Live == nil {
		return s.Tag != ""
	}
	return s.Tag != s.Live.To.Digest
}

package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign/predicate"
)

// maxClaimed bounds the versions of a place whose records are read although they do not count, and the places that records name.
const maxClaimed = 500

// Claimed returns all records of the stage that live refs show, today's and those before edits of its pipeline file, and that the
// registry has of these artifacts and others, by any key. They prove nothing. Highest is the highest number among them. With an error
// that is [ErrUnread], they are those of all other places.
func (s Stage) Claimed(ctx context.Context, others ...digest.Digest) (claimed []Promotion, highest int, err error) {
	if claimed, highest, err = s.claims(ctx, others); err != nil {
		return nil, 0, err
	}
	var unread error // the first one
	err = s.formerly(ctx, claimed, func(then Stage, err error) error {
		if err == nil {
			var also []Promotion
			var high int
			also, high, err = then.claims(ctx, others)
			claimed, highest = append(claimed, also...), max(highest, high)
		}
		if err != nil && ctx.Err() == nil && (then.Remote == nil || then.Remote.URL() != s.Remote.URL()) {
			unread, err = cmp.Or(unread, fmt.Errorf("%w: %w", ErrUnread, err)), nil
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range claimed {
		if p.Sequence < math.MaxInt32 { // one above is forged, to leave no room
			highest = max(highest, p.Sequence)
		}
	}
	return claimed, highest, unread
}

// formerly visits where the stage was recorded before edits of its pipeline file, or why that cannot be opened. It leaves out other
// remotes, which may be gone, from which the history was carried over.
func (s Stage) formerly(ctx context.Context, claimed []Promotion, visit func(Stage, error) error) error {
	if s.past == nil {
		return nil
	}
	return s.past.earlier(ctx, func(declared pipeline.Expanded, _ string) (bool, error) {
		at := declared.LiveRef()
		if at.Remote != s.past.declared.LiveRef().Remote && slices.ContainsFunc(claimed, func(p Promotion) bool {
			return p.Carried != nil && p.Carried.Pipeline == declared.Pipeline && p.Carried.Stage == declared.Stage && p.Carried.Path == at.Path
		}) {
			return true, nil
		}
		then, err := s.past.open(ctx, declared)
		if err == nil && then.Artifacts.Name() != s.Artifacts.Name() {
			then.Artifacts = nil // Git knows what was promoted, and the registry may be gone
		}
		return true, visit(then, err)
	})
}

// claims returns what is claimed of a stage in one place, and where its records say that they were carried from, and the highest number
// of those in the registry that the promoter signed.
func (s Stage) claims(ctx context.Context, others []digest.Digest) ([]Promotion, int, error) {
	c := claims{chain: chain{Stage: s}, followed: map[predicate.Origin]bool{}}
	_, err := ledger.History(ctx, s.Remote, s.Place, c.versions(ctx))
	highest := 0
	if err == nil && s.Artifacts != nil {
		highest, err = c.registry(ctx, others)
	}
	for i := 0; err == nil && i < len(c.all); i++ {
		err = c.follow(ctx, c.all[i].Carried)
	}
	return c.all, highest, err
}

// claims collects what is claimed.
type claims struct {
	chain
	all      []Promotion
	followed map[predicate.Origin]bool
}

// registry collects what the registry has of the artifacts that are claimed, that the tag names, and of others.
func (c *claims) registry(ctx context.Context, others []digest.Digest) (highest int, err error) {
	tag, err := c.Artifacts.Lookup(ctx, c.Stage.Stage)
	if err != nil {
		return 0, err
	}
	artifacts := map[digest.Digest]bool{tag: true}
	for _, d := range others {
		artifacts[d] = true
	}
	for _, p := range c.all {
		artifacts[p.To.Digest] = true
	}
	for artifact := range artifacts {
		bundles, err := c.attached(ctx, artifact)
		if err != nil {
			return 0, err
		}
		c.all = append(c.all, c.claimed(artifact, bundles)...)
		for _, p := range c.proven(artifact, bundles) {
			highest = max(highest, p.Sequence)
		}
	}
	return highest, nil
}

// follow reads the place that a record names as the one before, if there is one.
func (c *claims) follow(ctx context.Context, from *predicate.Origin) error {
	if from == nil || c.followed[*from] || len(c.followed) == maxClaimed {
		return nil
	}
	c.followed[*from] = true
	commit, err := git.ParseHash(from.Commit)
	if err != nil {
		return nil //nolint:nilerr // it claims nothing
	}
	c.Claim = from.Claim
	if err = ledger.HistoryFrom(ctx, c.Remote, commit, from.Path, c.versions(ctx)); errors.Is(err, git.ErrNotFound) {
		return nil // nobody has it
	}
	return err
}

// versions collects what versions of a place claim, of no more of them than are read.
func (c *claims) versions(ctx context.Context) func(ledger.Version) (bool, error) {
	left := maxClaimed
	return func(v ledger.Version) (bool, error) {
		statements, err := v.Statements(ctx, c.Remote)
		for _, artifact := range []digest.Digest{v.Metadata.Digest(), predicate.Nothing} {
			if artifact != "" {
				c.all = append(c.all, c.claimed(artifact, statements.Bundles)...)
			}
		}
		left--
		return left > 0, err
	}
}

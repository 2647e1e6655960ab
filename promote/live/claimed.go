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
	"github.com/lockage/lockage/hydrate/workspace"
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
	c := claims{followed: map[predicate.Origin]bool{}}
	if err := c.read(ctx, s, others); err != nil {
		return nil, 0, err
	}
	var unread error // the first one
	err = s.earlier(ctx, func(declared pipeline.Expanded, _ workspace.Change) (bool, error) {
		then, err := s.at(ctx, declared)
		if err == nil {
			if then.Artifacts.Name() != s.Artifacts.Name() {
				then.Artifacts = nil // Git knows what was promoted, and the registry may be gone
			}
			err = c.read(ctx, then, others)
		}
		if err != nil && ctx.Err() == nil && (then.Remote == nil || then.Remote.URL() != s.Remote.URL()) {
			if !c.carried(declared) {
				unread = cmp.Or(unread, fmt.Errorf("%w: %w", ErrUnread, err))
			}
			err = nil
		}
		return true, err
	})
	if err != nil {
		return nil, 0, err
	}
	for _, p := range c.all {
		if p.Sequence < math.MaxInt32 { // one above is forged, to leave no room
			c.highest = max(c.highest, p.Sequence)
		}
	}
	return c.all, c.highest, unread
}

// claims collects what is claimed of a stage.
type claims struct {
	Stage    // that is read
	all      []Promotion
	highest  int                       // number of those in a registry that the promoter signed
	followed map[predicate.Origin]bool // whether it was read
}

// carried reports whether what an earlier declaration's place showed was read where it was carried to: its remote may be gone. A record
// alone says nothing, since anybody can make one.
func (c *claims) carried(declared pipeline.Expanded) bool {
	for from, read := range c.followed {
		if read && from.Pipeline == declared.Pipeline && from.Stage == declared.Stage && from.Path == declared.LiveRef().Path {
			return true
		}
	}
	return false
}

// read collects what is claimed of a stage in one place, where its records say that they were carried from, and what the registry has
// of the artifacts that are claimed, that the tag names, and of others.
func (c *claims) read(ctx context.Context, s Stage, others []digest.Digest) error {
	c.Stage = s
	from := len(c.all)
	tips, err := s.Remote.Tips(ctx, s.Place.Branch)
	if err == nil {
		err = c.add(ctx, tips[s.Place.Branch])
	}
	if err != nil {
		return err
	}
	if s.Artifacts != nil {
		tag, err := s.Artifacts.Lookup(ctx, s.Stage)
		if err != nil {
			return err
		}
		artifacts := append([]digest.Digest{tag}, others...)
		for _, p := range c.all {
			artifacts = append(artifacts, p.To.Digest)
		}
		slices.Sort(artifacts)
		for _, artifact := range slices.Compact(artifacts) {
			bundles, _, err := s.attached(ctx, manifest(artifact))
			if err != nil {
				return err
			}
			for _, p := range s.records(bundles, artifact) {
				if c.all = append(c.all, p); s.prove(&p) {
					c.highest = max(c.highest, p.Sequence)
				}
			}
		}
	}
	for i := from; i < len(c.all); i++ {
		if err := c.follow(ctx, c.all[i].Carried); err != nil {
			return err
		}
	}
	return nil
}

// follow reads the place that a record names as the one before, if there is one.
func (c *claims) follow(ctx context.Context, from *predicate.Origin) error {
	if from == nil || len(c.followed) == maxClaimed {
		return nil
	}
	if _, met := c.followed[*from]; met {
		return nil
	}
	c.followed[*from] = false
	commit, err := git.ParseHash(from.Commit)
	if err != nil {
		return nil //nolint:nilerr // it claims nothing
	}
	c.Claim, c.Place.Path = from.Claim, from.Path
	if err = c.add(ctx, commit); errors.Is(err, git.ErrNotFound) {
		return nil // nobody has it
	}
	c.followed[*from] = err == nil
	return err
}

// add collects what the versions of the place up to a commit claim, of no more of them than are read.
func (c *claims) add(ctx context.Context, head git.Hash) error {
	left := maxClaimed
	return c.versions(ctx, head, func(_ ledger.Version, records []Promotion) (bool, error) {
		c.all = append(c.all, records...)
		left--
		return left > 0, nil
	})
}

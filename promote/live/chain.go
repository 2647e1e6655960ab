package live

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// walk visits the promotions on the live ref, the newest first, until visit returns false. Top is the newest version of the
// place, nil if it never showed anything: it is foreign unless it has the tree of the newest promotion.
func (s Stage) walk(ctx context.Context, visit func(Promotion) bool) (State, error) {
	var state State
	var top *ledger.Version
	head, err := ledger.History(ctx, s.Remote, s.Place, func(v ledger.Version) (bool, error) {
		if top == nil {
			top = &v
		}
		p, err := s.prove(ctx, v)
		if err != nil || p == nil {
			return err == nil, err
		}
		if state.Live == nil {
			state.Live = p
		}
		return visit(*p), nil
	})
	if state.Head = head; top != nil {
		state.Tree = top.Tree
		if state.Live == nil || top.Tree != state.Live.tree {
			state.Unpromoted = &top.Metadata
		}
	}
	return state, err
}

// prove returns the promotion that a version is; nil for a version that somebody else made, or that shows something else than
// what its record promotes. What is below a promotion is as it was then: its record names the commit that it follows.
func (s Stage) prove(ctx context.Context, v ledger.Version) (*Promotion, error) {
	statements, err := v.Statements(ctx, s.Remote)
	if err != nil {
		return nil, err
	}
	for _, verified := range s.proven(v.Metadata.Digest(), statements.Bundles) {
		p, err := s.parse(verified)
		if err != nil || p.Parent != string(v.Parent) || p.Tree != string(v.Promoted) {
			continue
		}
		p.Commit, p.Statements, p.tree = string(v.Commit), statements, v.Tree
		return &p, nil
	}
	return nil, nil //nolint:nilnil // no promotion
}

// proven returns what the promoter signed about an artifact.
func (s Stage) proven(artifact digest.Digest, bundles []sign.Bundle) []sign.Verified {
	if artifact == "" {
		return nil
	}
	verified, _ := s.Promoter.Verify(artifact, bundles)
	return slices.DeleteFunc(verified, func(v sign.Verified) bool { return v.PredicateType() != predicate.TypePromotion })
}

// parse reads a record, which must be of this stage.
func (s Stage) parse(v sign.Verified) (Promotion, error) {
	r, err := predicate.ParsePromotion(v)
	if err != nil {
		return Promotion{}, err
	}
	claim := s.Claim
	claim.Release = r.Release
	if v.Claim() != claim || r.Claim != claim || v.SubjectName() != claim.Repository || r.Release == "" {
		return Promotion{}, fmt.Errorf("it promotes %s in stage %s of pipeline %s, repository %s", r.Release, r.Stage, r.Pipeline, r.Repository)
	}
	return Promotion{Promotion: r, Record: v.Bundle().Digest(), Key: v.KeyFingerprint()}, nil
}

// witness returns ErrBroken if the registry has a record that comes after the newest promotion on the live ref: on the
// artifact that the stage's tag names, or on the one that is live. Records are attached after their commit is pushed, so
// that the live ref was set back, or this is not the repository that has it.
func (s Stage) witness(ctx context.Context, state State) error {
	sequence, newest, artifacts := 0, digest.Digest(""), []digest.Digest{state.Tag}
	if state.Live != nil {
		sequence, newest = state.Live.Sequence, state.Live.Record
		artifacts = append(artifacts, state.Live.To.Digest)
	}
	slices.Sort(artifacts)
	for _, artifact := range slices.Compact(artifacts) {
		records, err := s.records(ctx, artifact)
		if err != nil {
			return err
		}
		for _, p := range records {
			if p.Sequence < sequence || p.Sequence == sequence && p.Record == newest {
				continue
			}
			return fmt.Errorf("stage %s of pipeline %s: %w: the registry has promotion %d (record %s of %s, on %s), which branch %s lacks: "+
				"the branch was set back, or this is not the repository that records what is live; restore it from a clone or the forge's log of pushes",
				s.Stage, s.Pipeline, ErrBroken, p.Sequence, p.Record, p.Time.Format(time.RFC3339), artifact, s.Place.Branch)
		}
	}
	return nil
}

// records returns the proven records of this stage's promotions that an artifact carries, and ignores what else is attached.
func (s Stage) records(ctx context.Context, artifact digest.Digest) ([]Promotion, error) {
	if artifact == "" {
		return nil, nil
	}
	all, err := s.Artifacts.Referrers(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact}, "")
	if err != nil {
		return nil, fmt.Errorf("list the records of %s: %w", artifact, err)
	}
	// Anybody who could change the annotation could as well remove the record.
	bundles, err := sign.Read(ctx, s.Artifacts, artifact, slices.DeleteFunc(all, func(d ocispec.Descriptor) bool {
		kind, ok := d.Annotations[sign.AnnotationPredicateType]
		return ok && kind != predicate.TypePromotion
	}), s.Promoter.Fingerprints()...)
	if err != nil {
		return nil, err
	}
	var promotions []Promotion
	for _, v := range s.proven(artifact, bundles) {
		if p, err := s.parse(v); err == nil {
			promotions = append(promotions, p)
		}
	}
	return promotions, nil
}

// Attach attaches the promoter's statements of a promotion in the registry. What is attached already stays.
func (s Stage) Attach(ctx context.Context, artifact ocispec.Descriptor, p Promotion) error {
	var own []sign.Bundle
	verified, _ := s.Promoter.Verify(artifact.Digest, p.Statements.Bundles)
	for _, v := range verified {
		own = append(own, v.Bundle())
	}
	if _, err := sign.Attach(ctx, s.Artifacts, artifact, own...); err != nil {
		return err
	}
	for _, image := range p.Statements.Images {
		if err := sign.AttachImage(ctx, s.Artifacts, artifact, s.Promoter, image); err != nil {
			return err
		}
	}
	return nil
}

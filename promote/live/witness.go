package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// parse reads a record, which must be of this stage.
func (s Stage) parse(v sign.Verified) (Promotion, error) {
	r, err := predicate.ParsePromotion(v)
	if err != nil {
		return Promotion{}, err
	}
	claim := s.Claim
	claim.Release = r.Release
	if r.Claim != claim || r.Release == "" && r.Subject() != predicate.Nothing {
		return Promotion{}, fmt.Errorf("it promotes %s in stage %s of pipeline %s, repository %s", r.Release, r.Stage, r.Pipeline, r.Repository)
	}
	return Promotion{Promotion: r, Record: v.Bundle().Digest(), Key: v.KeyFingerprint(), signed: v}, nil
}

// witness returns ErrBroken if the registry has a record that comes after the newest promotion on the live ref: on the
// artifact that the stage's tag names, or on the one that is live. Records are attached after their commit is pushed, so
// that the live ref was set back, or this is not the repository that has it. It notes in the state what the artifact lacks.
func (s Stage) witness(ctx context.Context, state *State) error {
	tagged, err := s.Artifacts.Resolve(ctx, s.Stage)
	if err != nil && !errors.Is(err, oci.ErrNotFound) {
		return err
	}
	state.Tag = tagged.Digest
	newest, artifacts := state.Newest(), []ocispec.Descriptor{tagged}
	var last Promotion // zero for none
	if newest != nil {
		last = *newest
	}
	if last.To.Digest != tagged.Digest {
		artifacts = append(artifacts, manifest(last.To.Digest))
	}
	state.Bare = false
	for _, subject := range artifacts {
		artifact := subject.Digest
		bundles, missing, err := s.attached(ctx, subject, last.Statements.Bundles...)
		if err != nil {
			return err
		}
		if artifact == last.To.Digest && len(missing) > 0 { // others are not this pipeline's to put back
			state.Bare = len(signedBy(artifact, missing, s.Identities(), last.Record)) > 0
		}
		if newest != nil && s.carriedOn(last, bundles) {
			if err := s.moved(ctx, *state); err != nil {
				return err
			}
		}
		for _, p := range s.records(bundles, artifact) {
			if p.Sequence < last.Sequence || p.Sequence == last.Sequence && p.Record == last.Record || !s.prove(&p) {
				continue
			}
			if counts, _, err := s.counts(ctx, p, newest); err != nil {
				return err
			} else if !counts {
				continue
			}
			return fmt.Errorf("stage %s of pipeline %s: %w: the registry has promotion %d (record %s of %s, on %s), which branch %s lacks: "+
				"the branch was set back, or this is not the repository that records what is live; restore it from a clone or the forge's log of pushes, or if nobody has it, begin anew with `lockage repair %s --apply --reason TEXT`",
				s.Stage, s.Pipeline, ErrBroken, p.Sequence, p.Record, p.Time.Format(time.RFC3339), artifact, s.Place.Branch, s.today())
		}
	}
	return nil
}

// carriedOn reports whether one of the bundles carried a promotion over to another name of the stage: the stage has its former name again,
// and what was promoted meanwhile is in the other place.
func (s Stage) carriedOn(last Promotion, bundles []sign.Bundle) bool {
	verified, _ := s.Promoter.Verify(last.To.Digest, bundles)
	return slices.ContainsFunc(verified, func(v sign.Verified) bool {
		r, err := predicate.ParsePromotion(v)
		return err == nil && r.Carried != nil && r.Carried.Claim == s.Claim && r.Carried.Commit == last.Commit
	})
}

// manifest describes an artifact by its digest alone.
func manifest(artifact digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact}
}

// attached reads the records that are attached to an artifact, but for known statements; none for "". Missing are those of the known
// ones about it that are not attached.
func (s Stage) attached(ctx context.Context, artifact ocispec.Descriptor, known ...sign.Bundle) (records, missing []sign.Bundle, err error) {
	if artifact.Digest == "" {
		return nil, nil, nil
	}
	all, err := s.Artifacts.Referrers(ctx, artifact, "")
	if err != nil {
		return nil, nil, fmt.Errorf("list the records of %s: %w", artifact.Digest, err)
	}
	var read []digest.Digest
	for _, b := range known {
		for _, as := range sign.Referrers(artifact, []sign.Bundle{b}) {
			if read = append(read, as); !slices.ContainsFunc(all, func(d ocispec.Descriptor) bool { return d.Digest == as }) {
				missing = append(missing, b)
			}
		}
	}
	// Anybody who could change the annotation could as well remove the record.
	records, err = sign.Read(ctx, s.Artifacts, artifact.Digest, slices.DeleteFunc(all, func(d ocispec.Descriptor) bool {
		kind, ok := d.Annotations[sign.AnnotationPredicateType]
		return ok && kind != predicate.TypePromotion || slices.Contains(read, d.Digest)
	}), s.Promoter.Fingerprints()...)
	return records, missing, err
}

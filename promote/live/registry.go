package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
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
			if lacks, err := s.lacks(ctx, p, newest); err != nil {
				return err
			} else if !lacks {
				continue
			}
			return fmt.Errorf("stage %s of pipeline %s: %w: the registry has promotion %d (record %s of %s, on %s), which branch %s lacks: "+
				"the branch was set back, or this is not the repository that records what is live; restore it from a clone or the forge's log of pushes, or if nobody has it, begin anew with `lockage repair %s --apply --reason TEXT`",
				s.Stage, s.Pipeline, ErrBroken, p.Sequence, p.Record, p.Time.Format(time.RFC3339), artifact, s.Place.Branch, s.today())
		}
	}
	return nil
}

// lacks reports whether a record proves that a live ref, on which a promotion is the newest, lacks one: it comes after that, or does not
// lie below it. Above a promotion, only what counts does. Without one, the word of the promoter of that time is enough, whatever became
// of the key: nothing begins anew because nobody can prove it any more. A key that never was the promoter's proves nothing.
func (s Stage) lacks(ctx context.Context, p Promotion, newest *Promotion) (bool, error) {
	proven := s.prove(&p)
	switch {
	case newest == nil && !proven:
		_, trusted, err := s.once(ctx, p)
		return trusted, err
	case !proven || newest != nil && p.Record == newest.Record:
		return false, nil
	case newest != nil:
		if below, err := s.Below(ctx, p, *newest); below || err != nil {
			return false, err
		}
	}
	counts, _, err := s.counts(ctx, p, newest)
	return counts, err
}

// Below reports whether a record lies below the newest promotion: its number is lower, and no key that was put away took the higher one over it.
func (s Stage) Below(ctx context.Context, p, newest Promotion) (bool, error) {
	if p.Sequence >= newest.Sequence || !newest.signed.Former() {
		return p.Sequence < newest.Sequence, nil
	}
	if !s.prove(&p) || p.Key == newest.Key {
		return true, nil
	}
	over, _, err := s.counts(ctx, newest, &p)
	return over, err
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

// maxLooks bounds how often tag and live ref are compared because they keep moving.
const maxLooks = 10

// Sign signs the promoter's statements of a promotion, and adds those that they rest on. The record is signed last, since it names what is
// beside it. One that makes nothing live is all that is signed: it is not about an artifact.
func Sign(ctx context.Context, key sign.Signer, rec predicate.Promotion, rests ledger.Statements) (s ledger.Statements, err error) {
	if rec.To.Digest != "" {
		s, err = signArtifact(ctx, key, rec)
	}
	if err != nil {
		return s, err
	}
	s.Bundles, s.Images = slices.Concat(rests.Bundles, s.Bundles), append(s.Images, rests.Images...)
	if rec.Beside, err = s.Beside(""); err != nil {
		return s, err
	}
	statement, err := rec.Statement()
	if err != nil {
		return s, err
	}
	record, err := sign.Sign(ctx, key, statement)
	s.Record, s.Bundles = record.Digest(), slices.Insert(s.Bundles, len(rests.Bundles), record)
	return s, err
}

// signArtifact signs what other programs read of a promotion: the summary, and that the artifact may run.
func signArtifact(ctx context.Context, key sign.Signer, rec predicate.Promotion) (s ledger.Statements, err error) {
	summary, err := rec.Summary()
	if err != nil {
		return s, err
	}
	for _, statement := range []sign.Statement{summary, sign.NewSignature(rec.To.Digest, rec.Claim)} { // readers accept an artifact by the last one
		bundle, err := sign.Sign(ctx, key, statement)
		if err != nil {
			return s, err
		}
		s.Bundles = append(s.Bundles, bundle)
	}
	image, err := sign.NewImageSignature(ctx, key, rec.To.Digest, rec.Claim)
	if !image.None() {
		s.Images = append(s.Images, image)
	}
	return s, err
}

// Follow makes the registry follow what is live, which needs no key: it attaches what the promotion's commit holds, of the identities
// that the pipeline file declares, and points the stage's tag at the artifact, until both agree: another run may promote meanwhile.
// Head is where the live ref shows the promotion.
func (s Stage) Follow(ctx context.Context, p Promotion, head git.Hash) error {
	for range maxLooks {
		desc, _, err := s.Artifacts.Manifest(ctx, p.To.Digest.String())
		if errors.Is(err, oci.ErrNotFound) {
			err = fmt.Errorf("%w; `lockage repair %s --apply` puts it back from Git", err, s.today())
		}
		if err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
		by := s.Identities()
		group, both := errgroup.WithContext(ctx) // in registries without the referrers API, the first one waits for others that write to the list
		group.Go(func() error { return Attach(both, s.Artifacts, desc, p.Statements.Bundles, by, p.Record) })
		group.Go(func() error { return sign.AttachImages(both, s.Artifacts, desc, by, p.Statements.Images...) })
		if err := group.Wait(); err != nil {
			return fmt.Errorf("%s is live, and the registry does not have its record: %w; run it again", p.To.Digest, err)
		}
		if err := s.Artifacts.Tag(ctx, desc, s.Stage); err != nil {
			return fmt.Errorf("%s is live, and its tag does not follow: %w; run it again", p.To.Digest, err)
		}
		branch := s.Place.Branch
		tips, err := s.Remote.Tips(ctx, branch)
		if err != nil || tips[branch] == head {
			return err
		}
		now, err := ReadGit(ctx, s)
		if err != nil {
			return err
		}
		if now.Live == nil {
			return fmt.Errorf("live ref %s: what was promoted is gone: somebody set it back", branch)
		}
		if now.Live.Record == p.Record {
			return nil
		}
		p, head = *now.Live, now.Head
	}
	return fmt.Errorf("%s: others kept promoting; run it again", s.Artifacts.Reference(s.Stage))
}

// Attach attaches, of what was signed about an artifact and is in Git, what the given identities did, and the bundles with the given
// digests, in the order in which they were recorded. What is attached already stays.
func Attach(ctx context.Context, store sign.Store, artifact ocispec.Descriptor, bundles []sign.Bundle, by []*sign.Verifier, also ...digest.Digest) error {
	_, err := sign.Attach(ctx, store, artifact, signedBy(artifact.Digest, bundles, by, also...)...)
	return err
}

// signedBy returns the bundles that are signed by identities or have one of the digests, each once.
func signedBy(artifact digest.Digest, bundles []sign.Bundle, by []*sign.Verifier, also ...digest.Digest) (signed []sign.Bundle) {
	met := map[digest.Digest]bool{}
	for _, b := range bundles {
		d := b.Digest()
		if !met[d] && (slices.Contains(also, d) || len(sign.SignedBy(artifact, []sign.Bundle{b}, by...)) > 0) {
			signed = append(signed, b)
		}
		met[d] = true
	}
	return signed
}

// Instance returns the instance of Sigstore that proves certificates, by the trusted root of the policy ref's tip.
func (s Stage) Instance() (*sign.Instance, error) { return verify.Instance(s.files, s.declared) }

// Identities returns a verifier for each identity of the stage that has keys.
func (s Stage) Identities() []*sign.Verifier {
	var all []*sign.Verifier
	for name := range s.declared.Identities {
		if v, err := verify.Identity(s.files, s.declared, name); err == nil {
			all = append(all, v)
		}
	}
	return all
}

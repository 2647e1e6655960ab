package publish

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// hydrate makes the stage's candidate, unless the ledger has it or a newer one.
func (s *stage) hydrate(ctx context.Context) error {
	there, ok, err := s.candidates.Entry(ctx, s.candidate())
	if err != nil && !errors.Is(err, ledger.ErrEntry) { // what is not an entry is written again
		return err
	}
	if ok {
		if ok, err = s.stays(ctx, there); err != nil {
			return err
		}
	}
	if !ok {
		return s.make(ctx, there)
	}
	s.take(ctx, there)
	if s.result.Action == Superseded {
		return nil
	}
	return s.restore(ctx)
}

// prove proves an entry of the stage, of any release: the hydrator signed the artifact, and a provenance that says all that the
// entry does.
func (s *stage) prove(ctx context.Context, e ledger.Entry) (h policy.Hydration, ok bool, err error) {
	claim, ref := s.claim, s.run.ref()
	claim.Release = e.Release
	if p := s.proven; p != nil && p.tip == ref.Tip() && p.entry.Equal(e) {
		return p.hydration, p.ok, nil
	}
	if h, ok, err = verify.Entry(ctx, e, s.hydrator, ref); err != nil {
		return h, false, err
	}
	ok = ok && policy.SignedBy(pipeline.RoleHydrator, claim, h.Statements, h.Rejected).Result == policy.Pass
	s.proven = &proven{e, ref.Tip(), h, ok}
	return h, ok, nil
}

// proven is what the last proof of an entry found: the same entry is proven for the decision to keep it, for the result, and for the ledger.
type proven struct {
	entry     ledger.Entry
	tip       string // of the policy ref
	hydration policy.Hydration
	ok        bool
}

// stays reports whether an entry of the stage stays in the ledger: it has the inputs of the stage or of the policy ref's tip, or
// was hydrated from a descendant of the run's commit.
func (s *stage) stays(ctx context.Context, there ledger.Entry) (bool, error) {
	if s.yielded && there.Digest != s.entry.Digest && there.Input == s.input {
		return false, nil // that is the run's own
	}
	if err := s.run.meet(ctx, there.GitOps.Commit); err != nil {
		return false, err
	}
	h, ok, err := s.prove(ctx, there)
	switch {
	case err != nil || !ok:
		return false, err
	case there.Release == s.claim.Release && there.Input == s.input:
		return policy.Hydrated(verify.Expect(s.Lock, s.claim), h).Result() == policy.Pass, nil
	case there.Input == s.tipInput:
		return true, nil
	case there.GitOps.Commit == s.run.head:
		return false, nil
	}
	return s.run.ref().IsAncestor(ctx, s.run.head, there.GitOps.Commit)
}

// take makes a proven entry of the ledger the result.
func (s *stage) take(ctx context.Context, e ledger.Entry) {
	s.entry, s.tagged = e, false
	s.tags = oci.TagsOf(s.Name, e.Tagged(), e.Release, e.Input)
	if e.Input != s.input {
		s.result.Action, s.result.InputDigest, s.result.Tags = Superseded, e.Input, []string{s.tags.Candidate}
		s.warnings = append(s.warnings, fmt.Sprintf("the candidate was hydrated from GitOps commit %.12s, which is newer than %.12s",
			e.GitOps.Commit, s.run.head))
	}
	if h, _, err := s.prove(ctx, e); err == nil {
		s.result.Objects, s.result.Images = verify.Contents(h)
	}
	s.describe()
}

// describe copies the artifact to the result.
func (s *stage) describe() {
	s.result.Digest, s.result.ContentDigest = s.entry.Digest, s.entry.Content
	s.result.Reference = s.repository.Reference(s.entry.Digest.String())
}

// make renders the stage, pushes and signs it. An entry of the same inputs, which does not verify any more, must be of the same
// artifact.
func (s *stage) make(ctx context.Context, before ledger.Entry) error {
	packed, files, err := s.render(ctx)
	if err != nil {
		return err
	}
	if before.Input == s.input && before.Digest != packed.Descriptor.Digest {
		if _, signed, err := s.prove(ctx, before); err != nil || signed {
			return errors.Join(err, fmt.Errorf("the inputs of %s were hydrated to %s, and they give %s now: the render is not deterministic, or another build of lockage made it; it stays unchanged",
				s, before.Digest, packed.Descriptor.Digest))
		}
	}
	s.entry = ledger.Entry{
		Artifact: ledger.Artifact{
			Claim:   s.claim,
			Digests: oci.Digests{Digest: packed.Descriptor.Digest, Content: packed.ContentDigest},
			Files:   files,
			Source:  ledger.Origin{URL: s.release.SourceURL, Commit: s.Lock.Revision()},
			GitOps:  ledger.Origin{URL: s.run.ref().URL(), Commit: s.run.head},
		},
		Input: s.input,
		Image: s.Lock.Image.Digest,
	}
	s.desc, s.made = packed.Descriptor, true
	s.describe()
	if !s.run.DryRun {
		err = s.push(ctx, packed)
	}
	if err == nil {
		s.result.Action = Pushed
	}
	return err
}

// push pushes and signs the artifact. It opens the key first: nothing is written that would remain unsigned.
func (s *stage) push(ctx context.Context, packed oci.Artifact) error {
	key, err := s.open(ctx)
	if err != nil {
		return err
	}
	var listed []ocispec.Descriptor
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.store.PushBlobs(groupCtx, packed.Blobs()...) })
	group.Go(func() (err error) {
		listed, err = s.store.Referrers(groupCtx, packed.Descriptor, "")
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := s.sign(ctx, key, listed); err != nil {
		return fmt.Errorf("sign %s: %w", s.result.Reference, err)
	}
	if len(listed) == 0 {
		return sign.AttachFirst(ctx, s.store, sign.First{Artifact: packed, Bundles: s.entry.Bundles, Images: s.entry.Images})
	}
	if err := s.store.PushArtifact(ctx, packed); err != nil {
		return err
	}
	return s.attach(ctx, packed.Descriptor)
}

// sign signs what the hydrator has to sign of the stage's entry. What an earlier run attached that ended before it came to the
// ledger is not signed again.
func (s *stage) sign(ctx context.Context, key sign.Signer, listed []ocispec.Descriptor) error {
	artifact := s.entry.Digest
	attached, err := sign.Read(ctx, s.store, artifact, listed, s.hydrator.Fingerprints()...)
	if err != nil {
		return err
	}
	verified, _ := s.hydrator.Verify(artifact, attached)
	verified = slices.DeleteFunc(verified, sign.Verified.Former)
	provenance, err := sign.NewProvenance(artifact, s.provenance())
	if err != nil {
		return err
	}
	for _, wanted := range []struct {
		statement sign.Statement
		is        func(sign.Verified) bool
	}{
		{sign.NewSignature(artifact, s.claim), func(v sign.Verified) bool {
			return policy.SignedBy(pipeline.RoleHydrator, s.claim, []sign.Verified{v}, nil).Result == policy.Pass
		}},
		{provenance, func(v sign.Verified) bool { return verify.States(v, s.entry) && s.expected(v) }},
	} {
		var bundle sign.Bundle
		if i := slices.IndexFunc(verified, wanted.is); i >= 0 {
			bundle = verified[i].Bundle()
		} else if bundle, err = sign.Sign(ctx, key, wanted.statement); err != nil {
			return err
		}
		s.entry.Bundles = append(s.entry.Bundles, bundle)
	}
	image, err := sign.NewImageSignature(ctx, key, artifact, s.claim)
	if s.entry.Images = nil; !image.None() {
		s.entry.Images = []sign.ImageSignature{image}
	}
	return err
}

// expected reports whether a provenance says what the stage's lock does.
func (s *stage) expected(v sign.Verified) bool {
	p, err := v.Provenance()
	return err == nil && p.Meaning == s.Lock.Meaning()
}

// attach attaches the statements of the stage's entry where they are missing, one after the other: some registries lose one of
// two referrers that are written to one subject at a time.
func (s *stage) attach(ctx context.Context, desc ocispec.Descriptor) error {
	if _, err := sign.Attach(ctx, s.store, desc, s.entry.Bundles...); err != nil {
		return err
	}
	return sign.AttachImages(ctx, s.store, desc, []*sign.Verifier{s.hydrator.Verifier}, s.entry.Images...)
}

// restore puts back what the registry lost of the stage's entry, which needs no key: the artifact and what is attached to it. The
// candidate's tag is what hydration writes last: if it names the entry, nothing else is asked.
func (s *stage) restore(ctx context.Context) error {
	named, err := s.repository.Lookup(ctx, s.tags.Candidate)
	if s.tagged = named == s.entry.Digest; err != nil || s.tagged {
		return err
	}
	s.desc, err = s.repository.Whole(ctx, s.entry.Digest)
	if errors.Is(err, oci.ErrNotFound) {
		packed, _, err := s.render(ctx)
		if err != nil {
			return err
		}
		if packed.Descriptor.Digest != s.entry.Digest {
			return fmt.Errorf("%s is not in the registry, and its inputs give %s now: the render is not deterministic, or another build of lockage made it",
				s.result.Reference, packed.Descriptor.Digest)
		}
		if err := s.store.PushArtifact(ctx, packed); err != nil {
			return err
		}
		s.desc = packed.Descriptor
	} else if err != nil {
		return err
	}
	return s.attach(ctx, s.desc)
}

func (s *stage) provenance() sign.Provenance {
	p := verify.Provenance(s.entry, s.Lock.Image.Repository(), s.result.Objects, s.result.Images)
	p.Dependencies[0] = p.Dependencies[0].CommittedAt(s.release.Committed) // the source
	p.Dependencies = append(p.Dependencies, sign.GitCommit(policy.DependencyPolicy, s.run.ref().URL(), s.run.tip))
	for _, image := range s.Lock.Images() {
		if image.Name != "" {
			p.Dependencies = append(p.Dependencies, sign.Image("image:"+image.Name, image.Repository(), image.Digest))
		}
	}
	for _, in := range s.Package.Inputs() {
		if in.Kind == hydrate.InputDependency {
			p.Dependencies = append(p.Dependencies, sign.ResourceDescriptor{
				Name: verify.DependencyChart, URI: in.Path, Digest: map[string]string{"sha256": hex.EncodeToString(in.SHA256[:])},
			})
		}
	}
	p.Lock = sign.ResourceDescriptor{
		URI:    s.Lock.Path,
		Digest: map[string]string{s.Lock.Digest.Algorithm().String(): s.Lock.Digest.Encoded()},
	}
	p.Meaning = s.Lock.Meaning()
	p.File = s.release.Pipeline.File
	p.Options, p.Values, p.Reads = Inputs(s.Stage)
	p.Allowances, p.Version, p.Renderer, p.Packer = s.allowances, s.run.Version, s.Renderer, hydrate.Packer()
	return p
}

// Inputs describes what a planned stage takes from the GitOps repository, and the values files of the source, as its provenance names
// them.
func Inputs(s plan.Stage) (options json.RawMessage, values, reads []sign.FileRead) {
	for i, id := range s.Values {
		declared := s.Declared.Values[i]
		values = append(values, sign.FileRead{Name: declared.File, Source: declared.From == pipeline.FromSource, ID: string(id)})
	}
	if s.Reads != nil {
		for _, r := range s.Reads.List() {
			reads = append(reads, verify.NewRead(r))
		}
	}
	return s.Declared.Render.Named(s.Lock.Lock), values, reads
}

package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/notify"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

// registry puts back what the registry lost of what is and was live, and makes the stage's tag follow.
func (r *run) registry(ctx context.Context, s *stage) error {
	var order []digest.Digest
	promotions := map[digest.Digest][]live.Promotion{} // of an artifact, the newest first
	seen := 0
	for p, err := range live.History(ctx, s.from) {
		if err != nil {
			return err
		}
		if p.To.Digest == "" {
			continue // a new beginning at nothing
		}
		if promotions[p.To.Digest] == nil {
			order = append(order, p.To.Digest)
		}
		promotions[p.To.Digest] = append(promotions[p.To.Digest], p)
		if seen++; seen == maxPromotions {
			break
		}
	}
	identities := s.live.Identities()
	var lost []error
	gone := false // what is live
	for _, d := range order {
		err := r.restore(ctx, s, promotions[d], identities)
		switch {
		case err == nil:
		case errors.Is(err, ErrLost):
			lost, gone = append(lost, err), gone || d == s.state.Live.To.Digest
		default:
			return err
		}
	}
	if gone { // no tag names what is not there
		return errors.Join(lost...)
	}
	return errors.Join(append(lost, r.tag(ctx, s))...)
}

// tag makes the stage's tag name what is live.
func (r *run) tag(ctx context.Context, s *stage) error {
	named, err := s.live.Artifacts.Lookup(ctx, s.result.Stage)
	if err != nil || named == s.state.Live.To.Digest {
		return err
	}
	what, is := s.live.Artifacts.Reference(s.result.Stage), "names "+named.String()
	if named == "" {
		is = "does not exist"
	}
	if !r.DryRun {
		if err := s.live.Follow(ctx, *s.state.Live, s.state.Head); err != nil {
			return err
		}
		s.notice = notify.Notice{Event: notify.About(s.live, *s.state.Live, r.Now()), Receivers: s.declared.Notify}
	}
	s.found(!r.DryRun, "point it there", "%s %s, and %s (%s) is live", what, is, s.state.Live.To.Digest, s.state.Live.To.Release)
	return nil
}

// restore puts back an artifact with its statements, by its promotions, the newest first.
func (r *run) restore(ctx context.Context, s *stage, promotions []live.Promotion, identities []*sign.Verifier) error {
	store, p := publish.NewStore(s.live.Artifacts, r.DryRun), promotions[0]
	is, done := "lacks signatures, records or tags", "attach them from Git"
	desc, err := store.Whole(ctx, p.To.Digest)
	if errors.Is(err, oci.ErrNotFound) {
		if p.To.Digest != s.state.Live.To.Digest {
			if pruned, err := s.pruned(ctx, p.To.Digest); err != nil || pruned {
				return err
			}
		}
		packed, err := Pack(ctx, s.from.Remote, promotions)
		if err != nil {
			s.found(false, "promote another release", "%s (%s) is not in the registry, and %v", p.To.Digest, p.To.Release, err)
			return err
		}
		is, done = "is not in the registry", fmt.Sprintf("put it back from commit %.12s of the live ref", p.Commit)
		if err := store.PushArtifact(ctx, packed); err != nil {
			return err
		}
		desc = packed.Descriptor
	} else if err != nil {
		return err
	}
	var images []sign.ImageSignature // the newest first
	for _, p := range promotions {
		if err := live.Attach(ctx, store, desc, p.Statements.Bundles, identities, p.Record); err != nil {
			return err
		}
		images = append(images, p.Statements.Images...)
	}
	if err := r.attachImages(ctx, store, desc, images, identities); err != nil {
		return err
	}
	if err := r.tagHydration(ctx, s, store, desc, promotions); err != nil {
		return err
	}
	if store.Wrote() {
		s.found(!r.DryRun, done, "%s (%s) %s", p.To.Digest, p.To.Release, is)
	}
	return nil
}

// pruned reports whether an artifact that is not whole was removed on purpose: its manifest is gone, and its records are still listed.
func (s *stage) pruned(ctx context.Context, artifact digest.Digest) (bool, error) {
	if _, err := s.live.Artifacts.Resolve(ctx, artifact.String()); !errors.Is(err, oci.ErrNotFound) {
		return false, err
	}
	left, err := s.live.Artifacts.Referrers(ctx, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: artifact}, "")
	return len(left) > 0, err
}

// attachImages attaches the first signature in the older form of each identity. A dry run does not compare them.
func (r *run) attachImages(ctx context.Context, store *publish.Store, desc ocispec.Descriptor, images []sign.ImageSignature, by []*sign.Verifier) error {
	if r.DryRun {
		return nil
	}
	return sign.AttachImages(ctx, store, desc, by, images...)
}

// Pack packs an artifact from the files of a commit that promoted it; of several promotions, the newest come first. The digest in the promoter's record proves the result: the
// provenance that says how it was made may be signed by any key.
func Pack(ctx context.Context, remote *git.Remote, promotions []live.Promotion) (packed oci.Artifact, err error) {
	wanted := promotions[0].To.Digest
	err = fmt.Errorf("%s %w: no provenance in Git is about it", wanted, ErrLost)
	tried := map[publish.Made]bool{}
	for _, p := range promotions {
		for _, provenance := range provenances(p) {
			made, unstated := makes(provenance, p)
			if unstated != nil {
				err = unstated
				continue
			}
			if tried[made] {
				continue
			}
			tried[made] = true
			files, unread := ledger.Files(ctx, remote, git.Hash(p.Commit), p.Path)
			if unread != nil {
				return packed, unread
			}
			if packed, err = made.Pack(files); err == nil && packed.Descriptor.Digest == wanted {
				return packed, nil
			}
			if err == nil {
				err = fmt.Errorf("%s %w: packed from commit %.12s it has the digest %s: another build of lockage made it", wanted, ErrLost, p.Commit, packed.Descriptor.Digest)
			}
		}
	}
	return oci.Artifact{}, err
}

// provenances returns what a promotion's statements say about how its artifact was made, by any key.
func provenances(p live.Promotion) (all []sign.Provenance) {
	for _, b := range p.Statements.Bundles {
		if v, err := sign.Claimed(p.To.Digest, b); err == nil {
			if provenance, err := v.Provenance(); err == nil {
				all = append(all, provenance)
			}
		}
	}
	return all
}

// makes returns what the manifest of a promotion's artifact says.
func makes(p sign.Provenance, of live.Promotion) (publish.Made, error) {
	repository, image := verify.ImageOf(p)
	made := publish.Made{
		Claim:  p.Claim,
		Source: p.Revision(policy.DependencySource),
		Input:  verify.InputsOf(p),
	}
	if image != "" {
		made.Image = repository + "@" + image.String()
	}
	made.SourceURL = of.Metadata.Lockage.Source.URL
	var ok bool
	if made.Committed, ok = p.Committed(policy.DependencySource); !ok || made.Input == "" {
		return made, fmt.Errorf("%s %w: its provenance does not state the time of the source commit, or the inputs", of.To.Digest, ErrLost)
	}
	return made, nil
}

// tagHydration makes the tag of an artifact's hydration, which never moves, if it does not exist. It cannot be named without a provenance by
// a key of the hydrator.
func (r *run) tagHydration(ctx context.Context, s *stage, store *publish.Store, desc ocispec.Descriptor, promotions []live.Promotion) error {
	hydrator, err := verify.Identity(r.files, s.declared, pipeline.RoleHydrator)
	if err != nil {
		return nil //nolint:nilerr // the artifact itself is there
	}
	for _, of := range promotions {
		verified, _ := hydrator.Verify(of.To.Digest, of.Statements.Bundles)
		for _, v := range verified {
			p, err := v.Provenance()
			if input := verify.InputsOf(p); err == nil && input != "" {
				_, err = tagMissing(ctx, store, desc, oci.TagsOf(p.Stage, verify.TaggedOf(p), p.Release, input).Hydration)
				return err
			}
		}
	}
	return nil
}

// candidate reports a candidate that the registry lacks, or whose tag does not name it, and completes another.
func (r *run) candidate(ctx context.Context, s *stage, all *ledger.Candidates, w ledger.Candidate, repository *oci.Repository, known []digest.Digest, newer bool) (has bool, err error) {
	e, ok, err := all.Entry(ctx, w)
	hydrate := fmt.Sprintf("run `lockage hydrate %s --release %s`", s.declared.Argument, w.Release)
	if errors.Is(err, ledger.ErrEntry) {
		s.found(false, hydrate, "%v", err)
		return false, nil
	}
	if err != nil || !ok {
		return false, err
	}
	tag := oci.CandidateTag(w.Stage, w.Release)
	named, err := repository.Lookup(ctx, tag)
	if err != nil {
		return false, err
	}
	desc, err := repository.Whole(ctx, e.Digest)
	switch {
	case errors.Is(err, oci.ErrNotFound) && named == "" && newer: // prune removes such ones, and hydration makes them where they are wanted
		return false, nil
	case errors.Is(err, oci.ErrNotFound) && named == e.Digest:
		s.found(false, fmt.Sprintf("delete the tag %s, and %s", repository.Reference(tag), hydrate), "candidate %s of %s is not whole in the registry", e.Digest, w.Release)
	case errors.Is(err, oci.ErrNotFound):
		s.found(false, hydrate, "candidate %s of %s is not in the registry", e.Digest, w.Release)
	case err != nil:
		return false, err
	case named == "":
		s.found(false, hydrate, "%s does not exist, and %s is the candidate", repository.Reference(tag), e.Digest)
	case named != e.Digest:
		s.found(false, hydrate, "%s names %s, and %s is the candidate", repository.Reference(tag), named, e.Digest)
	default:
		return true, r.completeCandidate(ctx, s, publish.NewStore(repository, r.DryRun), desc, e, known)
	}
	return desc.Digest != "", nil
}

// completeCandidate attaches from the ledger what the registry lost of a candidate, and makes the tags of its hydration and image right:
// hydration asks for the candidate's tag alone, which is written last. Known are the digests of all candidates, which an image's tag may name.
func (r *run) completeCandidate(ctx context.Context, s *stage, store *publish.Store, desc ocispec.Descriptor, e ledger.Entry, known []digest.Digest) error {
	hydrator, err := verify.Identity(r.files, s.declared, pipeline.RoleHydrator)
	if err != nil {
		return err
	}
	by := []*sign.Verifier{hydrator}
	if err := live.Attach(ctx, store, desc, e.Bundles, by); err != nil {
		return err
	}
	if err := r.attachImages(ctx, store, desc, e.Images, by); err != nil {
		return err
	}
	tags := oci.TagsOf(e.Stage, e.Tagged(), e.Release, e.Input)
	all := tags.All()
	for _, tag := range all[:len(all)-1] { // the candidate's is right
		named, err := tagMissing(ctx, store, desc, tag)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(known, named):
		case tag == tags.Image: // which moves
			if err := store.Tag(ctx, desc, tag); err != nil {
				return err
			}
		default:
			s.found(false, "delete the tag if nothing uses it, and run `lockage repair --apply` again", "%s names %s, which is not a candidate", store.Reference(tag), named)
		}
	}
	if store.Wrote() {
		s.found(!r.DryRun, "attach them from the ledger", "candidate %s of %s lacks signatures or tags, or its image's tag names something else", e.Digest, e.Release)
	}
	return nil
}

// tagMissing makes a tag that does not exist, and returns what it names.
func tagMissing(ctx context.Context, store *publish.Store, desc ocispec.Descriptor, tag string) (digest.Digest, error) {
	named, err := store.Lookup(ctx, tag)
	if err != nil || named != "" {
		return named, err
	}
	return desc.Digest, store.Tag(ctx, desc, tag)
}

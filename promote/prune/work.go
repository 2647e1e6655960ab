package prune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// work is a stage that is pruned.
type work struct {
	*stage
	inventory *inventory
	releases  releases
	request   Request
}

// found is an artifact that was examined.
type found struct {
	digest  digest.Digest
	tags    []string // of this stage, the candidate's first
	release string
	gone    bool   // the manifest does not exist any more
	left    string // why it stays, if the result names it
	held    bool   // it stays only for its records
	old     bool   // to be removed
	removed bool   // or would be

	statements []digest.Digest // attached to it, the hydrator's signature last
	records    []digest.Digest // attached to it; they stay
}

func (w *work) run(ctx context.Context, result *Result) error {
	tagged := w.inventory.artifacts(w.declared.Stage)
	all := slices.Concat(tagged, w.inventory.untagged())
	examined := make([]*found, len(all))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for i, d := range all {
		group.Go(func() (err error) {
			examined[i], err = w.examine(groupCtx, d)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	err := w.removeAll(ctx, slices.DeleteFunc(slices.Clone(examined), func(f *found) bool { return !f.old }))
	for i, f := range examined {
		switch {
		case f.removed:
			result.Removed = append(result.Removed, Removed{f.digest, f.release, f.tags})
		case f.old || i < len(tagged):
			if result.Kept++; f.held {
				result.Held++
			}
			if f.left != "" {
				result.Left = append(result.Left, Left{f.digest, f.tags, f.left})
			}
		}
	}
	return err
}

// removeAll removes what is old. After the first error it completes the artifacts that it has begun, and no others.
func (w *work) removeAll(ctx context.Context, old []*found) error {
	if w.request.DryRun || len(old) == 0 {
		for _, f := range old {
			f.removed = true
		}
		return nil
	}
	if err := w.repository.CheckDelete(ctx); err != nil {
		return fmt.Errorf("nothing is removed: %w; remove what is old by the registry's own rules of retention", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(concurrency)
	for _, f := range old {
		group.Go(func() (err error) {
			if err := groupCtx.Err(); err != nil {
				return err
			}
			f.left, err = w.remove(ctx, f)
			f.removed = err == nil && f.left == ""
			return err
		})
	}
	return group.Wait()
}

// examine decides whether an artifact is removed. It makes no request if the tags alone decide.
func (w *work) examine(ctx context.Context, d digest.Digest) (*found, error) {
	f := &found{digest: d}
	if w.kept[d] || d == w.tag {
		return f, nil
	}
	for _, tag := range w.inventory.named[d] {
		if !ofStage(tag, w.declared.Stage) {
			return f, nil
		}
		if _, release, _ := strings.Cut(tag, "."); w.releases.kept[release] {
			return f, nil
		}
		f.tags = append(f.tags, tag)
	}
	slices.Sort(f.tags) // «.git-» sorts before «.img-»
	desc, raw, err := w.repository.Manifest(ctx, d.String())
	switch {
	case errors.Is(err, oci.ErrNotFound):
		f.gone = true
	case err != nil:
		return nil, err
	default:
		f.release, f.left = w.describes(desc, raw, f.tags)
	}
	if f.left == "" && !f.gone {
		if w.releases.kept[f.release] {
			return f, nil
		}
		f.left = w.releases.check(f.release, w.request.PolicyRef.Name())
	}
	if f.left != "" {
		return f, nil
	}
	return f, w.prove(ctx, f)
}

// describes returns the release that a manifest names, or why the artifact does not belong under these tags of the stage.
func (w *work) describes(desc ocispec.Descriptor, raw []byte, tags []string) (release, problem string) {
	m, err := oci.ParseManifest(desc, raw)
	if err != nil {
		return "", "it is not an artifact of lockage: " + err.Error()
	}
	a := m.Annotations
	if a[oci.AnnotationPipeline] != w.declared.Pipeline || a[oci.AnnotationStage] != w.declared.Stage {
		return "", fmt.Sprintf("its manifest names pipeline %.64q, stage %.64q", a[oci.AnnotationPipeline], a[oci.AnnotationStage])
	}
	_, image, named := strings.Cut(a[oci.AnnotationImage], "@")
	input, tagged := digest.Digest(a[oci.AnnotationInputDigest]), digest.Digest(image)
	if named && tagged.Validate() != nil || input.Validate() != nil {
		return "", "its manifest does not name its image and inputs"
	}
	if source := digest.Digest(a[ocispec.AnnotationRevision]); !named && source.Validate() == nil { // a packaged chart
		tagged = source
	}
	own := oci.TagsOf(w.declared.Stage, tagged, a[oci.AnnotationRelease], input)
	for _, tag := range tags {
		if !slices.Contains(own.All(), tag) {
			return "", fmt.Sprintf("tag %s does not match its manifest: somebody moved it there", tag)
		}
	}
	return a[oci.AnnotationRelease], ""
}

// prove reads what is attached to an artifact, and decides by it: the hydrator must have signed it for this stage.
func (w *work) prove(ctx context.Context, f *found) error {
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: f.digest}
	referrers, err := w.repository.Referrers(ctx, subject, "")
	if err != nil {
		return err
	}
	if len(f.tags) == 0 && !slices.ContainsFunc(referrers, func(d ocispec.Descriptor) bool { return !isRecord(d) }) {
		return nil // removed before, or not ours
	}
	if n := len(referrers); n > sign.MaxBundles {
		f.left = fmt.Sprintf("%d manifests are attached to it, and at most %d are read", n, sign.MaxBundles)
		return nil
	}
	bundles, err := sign.Read(ctx, w.repository, f.digest, referrers, w.verifier.Fingerprints()...)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		f.left = err.Error()
		return nil
	}
	statements, rejected := w.verifier.Verify(f.digest, bundles)
	signatures := w.sort(f, referrers, statements)
	switch {
	case len(signatures) == 0:
		f.left = "the hydrator did not sign it for this stage"
		if len(rejected) > 0 {
			f.left += ": " + rejected[0].Reason
		}
		return nil
	case f.release == "":
		f.release = signatures[0]
	}
	if !slices.Contains(signatures, f.release) {
		f.left = fmt.Sprintf("the hydrator signed it as %s", strings.Join(signatures, ", "))
		return nil
	}
	if f.left = w.releases.check(f.release, w.request.PolicyRef.Name()); f.left != "" {
		return nil
	}
	if len(f.records) > 0 && !f.gone {
		stay, err := w.repository.ReferrersOutlive(ctx, subject)
		if err != nil || !stay {
			f.held = true
			return err
		}
	}
	f.old = true
	return nil
}

// isRecord reports whether a referrer claims to be the record of a promotion.
func isRecord(d ocispec.Descriptor) bool {
	return d.Annotations[sign.AnnotationPredicateType] == predicate.TypePromotion
}

// sort sorts what is attached to an artifact into records and statements. It returns the releases as which the hydrator
// signed it for this stage.
func (w *work) sort(f *found, referrers []ocispec.Descriptor, statements []sign.Verified) (signed []string) {
	own := sign.Claim{Pipeline: w.declared.Pipeline, Stage: w.declared.Stage, Repository: w.repository.Name()}
	signatures, records := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for _, s := range statements {
		switch {
		case s.Identity() == pipeline.RoleHydrator && s.PredicateType() == sign.PredicateSignature:
			claim := s.Claim()
			release := claim.Release
			if claim.Release = ""; claim == own && s.SubjectName() == own.Repository {
				signed = append(signed, release)
				signatures[s.Bundle().Referrer] = true
			}
		case s.Identity() == pipeline.RolePromoter && s.PredicateType() == predicate.TypePromotion:
			records[s.Bundle().Referrer] = true
		}
	}
	var last []digest.Digest
	for _, d := range referrers {
		switch {
		case records[d.Digest] || isRecord(d):
			f.records = append(f.records, d.Digest)
		case len(w.inventory.named[d.Digest]) > 0: // a tag keeps it
		case signatures[d.Digest]:
			last = append(last, d.Digest)
		default:
			f.statements = append(f.statements, d.Digest)
		}
	}
	f.statements = append(f.statements, last...)
	return signed
}

// remove removes an artifact: tags, manifest, what is attached. It stops after the tags, and returns why, if the artifact was
// used since it was examined.
func (w *work) remove(ctx context.Context, f *found) (left string, err error) {
	for _, tag := range f.tags {
		if err := w.repository.DeleteTag(ctx, tag); errors.Is(err, oci.ErrDeleteRefused) {
			break // the manifest's deletion deletes them
		} else if err != nil {
			return "", err
		}
	}
	if !f.gone {
		if left, err = w.used(ctx, f); err != nil || left != "" {
			return left, err
		}
	}
	if err := w.repository.DeleteManifest(ctx, f.digest); err != nil {
		return "", err
	}
	for _, tag := range w.inventory.attached(f.digest) {
		if err := w.removeOlder(ctx, tag); err != nil {
			return "", err
		}
	}
	return "", w.repository.DeleteReferrers(ctx, f.digest, f.statements...)
}

// removeOlder removes what is attached by a tag in the older form. Anybody who may write tags can point it at anything: what
// does not look like signatures only loses the tag.
func (w *work) removeOlder(ctx context.Context, tag string) error {
	desc, raw, err := w.repository.Manifest(ctx, tag)
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := w.repository.DeleteTag(ctx, tag); err != nil && !errors.Is(err, oci.ErrDeleteRefused) {
		return err
	}
	var m ocispec.Manifest
	if json.Unmarshal(raw, &m) != nil || m.Subject != nil || len(m.Layers) == 0 || desc.Digest != w.inventory.tags[tag] ||
		slices.ContainsFunc(m.Layers, func(l ocispec.Descriptor) bool { return l.MediaType == ocispec.MediaTypeImageLayerGzip }) {
		return nil
	}
	return w.repository.DeleteManifest(ctx, desc.Digest)
}

// used returns how an artifact was used since it was examined; "" if it was not.
func (w *work) used(ctx context.Context, f *found) (string, error) {
	live, err := w.repository.Lookup(ctx, w.declared.Stage)
	if err != nil {
		return "", err
	}
	if live == f.digest {
		return "it became live while its tags were removed; hydrate its release again to have them back", nil
	}
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: f.digest}
	referrers, err := w.repository.Referrers(ctx, subject, "")
	if err != nil {
		return "", err
	}
	for _, d := range referrers {
		known := slices.Contains(f.records, d.Digest) || slices.Contains(f.statements, d.Digest) || len(w.inventory.named[d.Digest]) > 0
		if !known {
			return "something was attached to it while its tags were removed; hydrate its release again to have them back", nil
		}
	}
	return "", nil
}

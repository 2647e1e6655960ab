package publish

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// hydration is an artifact in the registry, with the verified statements of the hydrator.
type hydration struct {
	manifest oci.Manifest
	evidence policy.Hydration
	commits  []string // GitOps commits of verified provenance that are on the policy ref
}

func (h *hydration) desc() ocispec.Descriptor { return h.manifest.Descriptor }

// input returns the input digest that the manifest names.
func (h *hydration) input() digest.Digest {
	return digest.Digest(h.manifest.Annotations[oci.AnnotationInputDigest])
}

// isFor reports whether the hydrator signed h for the claim's pipeline, stage and repository, of any release.
func (h *hydration) isFor(claim sign.Claim) bool {
	return slices.ContainsFunc(h.evidence.Statements, func(s sign.Verified) bool {
		got := s.Claim()
		got.Release = claim.Release
		return s.PredicateType() == sign.PredicateSignature && got == claim
	})
}

// contents reads from verified provenance how many objects and which images the artifact has.
func (h *hydration) contents() (objects int, images []string) {
	for _, s := range h.evidence.Statements {
		provenance, err := s.Provenance()
		if err != nil {
			continue
		}
		for _, b := range provenance.Byproducts {
			if b.Name == byproductObjects {
				objects, _ = strconv.Atoi(b.Annotations[annotationCount])
				images = strings.FieldsFunc(b.Annotations[annotationImages], func(r rune) bool { return r == ',' })
			}
		}
	}
	return objects, images
}

// load reads the hydration that a tag names; nil if the tag does not exist.
func (s *stage) load(ctx context.Context, tag string) (*hydration, error) {
	desc, raw, err := s.repository.Manifest(ctx, tag)
	if err != nil {
		return nil, notFound(err)
	}
	return s.inspect(ctx, desc, raw)
}

// inspect reads and verifies what is attached to an artifact.
func (s *stage) inspect(ctx context.Context, desc ocispec.Descriptor, raw []byte) (*hydration, error) {
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil {
		return nil, err
	}
	h := &hydration{manifest: manifest}
	h.evidence, err = verify.Hydration(ctx, s.repository, desc, s.hydrator, s.run.policyRef)
	if err != nil {
		return nil, err
	}
	for commit, on := range h.evidence.OnPolicyRef {
		if on {
			h.commits = append(h.commits, commit)
		}
	}
	slices.Sort(h.commits)
	return h, nil
}

// attest signs the hydrator's statements that are missing.
func (s *stage) attest(ctx context.Context, h *hydration) error {
	verdict := policy.Hydrated(verify.Expect(s.Lock, s.claim), h.evidence)
	signed := slices.ContainsFunc(verdict, func(c policy.Check) bool { return c.Check == "signature" && c.Result == policy.Pass })
	// One after the other: some registries lose one of two referrers that are written to one subject at a time.
	if !signed {
		if err := s.writer.Attest(ctx, h.desc(), sign.NewSignature(h.desc().Digest, s.claim)); err != nil {
			return err
		}
	}
	if verdict.Result() != policy.Pass {
		if err := s.attestProvenance(ctx, h); err != nil {
			return err
		}
	}
	return s.writer.Sign(ctx, h.desc(), s.claim)
}

func (s *stage) attestProvenance(ctx context.Context, h *hydration) error {
	statement, err := sign.NewProvenance(h.desc().Digest, s.provenance())
	if err != nil {
		return err
	}
	if err := s.writer.Attest(ctx, h.desc(), statement); err != nil {
		return err
	}
	h.commits = append(h.commits, s.run.head)
	s.result.Action = Pushed
	return nil
}

// Names of the byproduct of a provenance that holds how many objects and which images the artifact has.
const (
	byproductObjects = "objects"
	annotationCount  = "count"
	annotationImages = "images"
)

func (s *stage) provenance() sign.Provenance {
	dependencies := []sign.ResourceDescriptor{
		sign.GitCommit(policy.DependencySource, s.release.SourceURL, s.Lock.GitCommit),
		sign.GitCommit(policy.DependencyGitOps, s.run.policyRef.URL(), s.run.head),
		sign.GitCommit(policy.DependencyPolicy, s.run.policyRef.URL(), s.run.tip),
	}
	for _, image := range s.Lock.Images() {
		name := "image"
		if image.Name != "" {
			name += ":" + image.Name
		}
		dependencies = append(dependencies, sign.Image(name, image.Repository(), image.Digest))
	}
	for _, in := range s.Package.Inputs() {
		if in.Kind == hydrate.InputDependency {
			dependencies = append(dependencies, sign.ResourceDescriptor{
				Name: "chart", URI: in.Path, Digest: map[string]string{"sha256": hex.EncodeToString(in.SHA256[:])},
			})
		}
	}
	return sign.Provenance{
		Claim: s.claim,
		Lock: sign.ResourceDescriptor{
			URI:    s.Lock.Path,
			Digest: map[string]string{s.Lock.Digest.Algorithm().String(): s.Lock.Digest.Encoded()},
		},
		Dependencies: dependencies,
		Byproducts: []sign.ResourceDescriptor{{
			Name: byproductObjects,
			Annotations: map[string]string{
				annotationCount:  strconv.Itoa(s.result.Objects),
				annotationImages: strings.Join(s.result.Images, ","),
			},
		}},
		Allowances: s.allowances,
		Version:    s.run.Version,
	}
}

// newerCandidate returns the release's candidate if it has other inputs than the stage, and was hydrated from a descendant
// of the run's GitOps commit or has the inputs of the policy ref's tip; else nil.
func (s *stage) newerCandidate(ctx context.Context) (*hydration, error) {
	desc, raw, err := s.repository.Manifest(ctx, s.tags.Candidate)
	if err != nil {
		return nil, notFound(err)
	}
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil || manifest.Annotations[oci.AnnotationInputDigest] == s.input.String() {
		return nil, err
	}
	candidate, err := s.inspect(ctx, desc, raw)
	if err != nil || !candidate.isFor(s.claim) {
		return nil, err
	}
	newer := candidate.input() == s.tipInput
	if !newer {
		newer, err = s.later(ctx, []string{s.run.head}, candidate.commits)
	}
	if !newer {
		return nil, err
	}
	return candidate, nil
}

// later reports whether a hydration made from the GitOps commits b comes after one made from a: some commit of b is a
// descendant of all of a. A hydration has several commits if later ones led back to the same inputs.
func (s *stage) later(ctx context.Context, a, b []string) (bool, error) {
	for _, candidate := range b {
		after := !slices.Contains(a, candidate)
		for i := 0; after && i < len(a); i++ {
			var err error
			if after, err = s.run.policyRef.IsAncestor(ctx, a[i], candidate); err != nil {
				return false, err
			}
		}
		if after {
			return true, nil
		}
	}
	return false, nil
}

// last returns the commit that comes after the others, "" of none.
func (s *stage) last(ctx context.Context, commits []string) (string, error) {
	last := ""
	for _, c := range commits {
		after, err := s.run.policyRef.IsAncestor(ctx, last, c)
		if err != nil {
			return "", err
		}
		if after || last == "" {
			last = c
		}
	}
	return last, nil
}

package publish

import (
	"context"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// hydration is an artifact in the registry, with what the hydrator verifiably said about it.
type hydration struct {
	manifest oci.Manifest
	evidence policy.Hydration
	commits  []string // GitOps commits of verified provenance that are on the policy ref
}

// load reads the hydration that a tag names; nil where there is no such tag.
func (p *publication) load(ctx context.Context, tag string) (*hydration, error) {
	desc, raw, err := p.Registry.Manifest(ctx, tag)
	if err != nil {
		return nil, notFound(err)
	}
	return p.inspect(ctx, desc, raw)
}

// inspect finds and proves what is attached to an artifact.
func (p *publication) inspect(ctx context.Context, desc ocispec.Descriptor, raw []byte) (*hydration, error) {
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil {
		return nil, err
	}
	h := &hydration{manifest: manifest}
	h.evidence, err = verify.Hydration(ctx, p.Registry, desc, p.Hydrator, p.Trunk)
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

// attest signs what the hydrator has to say of an artifact, as far as it is not said.
func (p *publication) attest(ctx context.Context, h *hydration) error {
	desc := h.manifest.Descriptor
	verdict := policy.Hydrated(verify.Expect(p.Stage.Lock, p.claim), h.evidence)
	// One after the other: not every registry keeps both of two referrers that are written to one subject at a time.
	if !passed(verdict, "signature") {
		if err := p.Writer.Attest(ctx, desc, sign.NewSignature(desc.Digest, p.claim)); err != nil {
			return err
		}
	}
	if verdict.Result() != policy.Pass {
		if err := p.attestProvenance(ctx, h); err != nil {
			return err
		}
	}
	return p.Writer.Sign(ctx, desc, p.claim)
}

func (p *publication) attestProvenance(ctx context.Context, h *hydration) error {
	desc := h.manifest.Descriptor
	statement, err := sign.NewProvenance(desc.Digest, p.provenance())
	if err != nil {
		return err
	}
	if err := p.Writer.Attest(ctx, desc, statement); err != nil {
		return err
	}
	h.commits = append(h.commits, p.GitOpsCommit)
	p.out.Action = Pushed
	return nil
}

func passed(v policy.Verdict, name string) bool {
	return slices.ContainsFunc(v, func(c policy.Check) bool { return c.Check == name && c.Result == policy.Pass })
}

// Names of what a provenance tells beside the artifact: how many objects and which images are in it.
const (
	byproductObjects = "objects"
	annotationCount  = "count"
	annotationImages = "images"
)

func (p *publication) provenance() sign.Provenance {
	l := p.Stage.Lock
	dependencies := []sign.ResourceDescriptor{
		sign.GitCommit(policy.DependencySource, p.SourceURL, l.GitCommit),
		sign.GitCommit(policy.DependencyGitOps, p.GitOpsURL, p.GitOpsCommit),
	}
	for _, image := range l.Images() {
		name := "image"
		if image.Name != "" {
			name += ":" + image.Name
		}
		dependencies = append(dependencies, sign.Image(name, image.Repository(), image.Digest))
	}
	for _, in := range p.Stage.Package.Inputs() {
		if in.Kind == hydrate.InputDependency {
			dependencies = append(dependencies, sign.ResourceDescriptor{
				Name: "chart", URI: in.Path, Digest: map[string]string{"sha256": hex.EncodeToString(in.SHA256[:])},
			})
		}
	}
	return sign.Provenance{
		Claim: p.claim,
		Lock: sign.ResourceDescriptor{
			URI:    l.Path,
			Digest: map[string]string{l.Digest.Algorithm().String(): l.Digest.Encoded()},
		},
		Dependencies: dependencies,
		Byproducts: []sign.ResourceDescriptor{{
			Name: byproductObjects,
			Annotations: map[string]string{
				annotationCount:  strconv.Itoa(p.out.Objects),
				annotationImages: strings.Join(p.out.Images, ","),
			},
		}},
		Allowances: p.allowances,
		Version:    p.Version,
	}
}

// contents tells from verified provenance what is in an artifact: how many objects, and which images.
func (h *hydration) contents() (objects int, images []string) {
	for _, s := range h.evidence.Statements {
		provenance, err := s.Provenance()
		if err != nil {
			continue
		}
		for _, b := range provenance.Byproducts {
			if b.Name != byproductObjects {
				continue
			}
			objects, _ = strconv.Atoi(b.Annotations[annotationCount])
			if list := b.Annotations[annotationImages]; list != "" {
				images = strings.Split(list, ",")
			}
		}
	}
	return objects, images
}

// newerCandidate is the release's candidate, if it has other inputs than this job, and was hydrated from a GitOps
// commit that comes after this job's or is what the policy ref's tip asks for.
func (p *publication) newerCandidate(ctx context.Context) (*hydration, error) {
	desc, raw, err := p.Registry.Manifest(ctx, p.tags.Candidate)
	if err != nil {
		return nil, notFound(err)
	}
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil || manifest.Annotations[oci.AnnotationInputDigest] == p.input.String() {
		return nil, err
	}
	candidate, err := p.inspect(ctx, desc, raw)
	if err != nil {
		return nil, err
	}
	if !candidate.isFor(p.claim) {
		return nil, nil
	}
	if candidate.manifest.Annotations[oci.AnnotationInputDigest] == p.TipInput.String() {
		return candidate, nil
	}
	newer, err := p.later(ctx, []string{p.GitOpsCommit}, candidate.commits)
	if err != nil || !newer {
		return nil, err
	}
	return candidate, nil
}

// later tells whether a hydration made from the GitOps commits b comes after one made from a: some commit of b is a
// descendant of all of a. A hydration has several commits when later ones led back to the same inputs.
func (p *publication) later(ctx context.Context, a, b []string) (bool, error) {
	for _, candidate := range b {
		after := !slices.Contains(a, candidate)
		for _, earlier := range a {
			if !after {
				break
			}
			var err error
			if after, err = p.Trunk.IsAncestor(ctx, earlier, candidate); err != nil {
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
func (p *publication) last(ctx context.Context, commits []string) (string, error) {
	last := ""
	for _, c := range commits {
		after, err := p.Trunk.IsAncestor(ctx, last, c)
		if err != nil {
			return "", err
		}
		if after || last == "" {
			last = c
		}
	}
	return last, nil
}

// isFor tells whether the hydrator signed h for this pipeline, stage and repository, of any release.
func (h *hydration) isFor(claim sign.Claim) bool {
	return slices.ContainsFunc(h.evidence.Statements, func(s sign.Verified) bool {
		got := s.Claim()
		return s.PredicateType() == sign.PredicateSignature && got.Pipeline == claim.Pipeline &&
			got.Stage == claim.Stage && got.Repository == claim.Repository
	})
}

package verify

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// What a provenance says of an entry of the ledger, beside the commits.
const (
	dependencyInputs = "inputs"
	dependencyImage  = "image"
	byproductObjects = "objects"
	algorithmTree    = "gitTree" // https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
	annotationCount  = "count"
	annotationImages = "images"
)

// Provenance returns what a provenance has to say of an entry, so that nothing in it has to be believed: commits, inputs, the
// image of the repository, and the files.
func Provenance(e ledger.Entry, repository string, objects int, images []string) sign.Provenance {
	p := sign.Provenance{
		Claim: e.Claim,
		Dependencies: []sign.ResourceDescriptor{
			sign.GitCommit(policy.DependencySource, e.Source.URL, e.Source.Commit),
			sign.GitCommit(policy.DependencyGitOps, e.GitOps.URL, e.GitOps.Commit),
			{Name: dependencyInputs, Digest: sign.DigestSet(e.Input)},
		},
		Byproducts: []sign.ResourceDescriptor{{
			Name:        byproductObjects,
			Digest:      sign.DigestSet(e.Content),
			Annotations: map[string]string{annotationCount: strconv.Itoa(objects), annotationImages: strings.Join(images, ",")},
		}},
	}
	p.Byproducts[0].Digest[algorithmTree] = string(e.Files)
	if e.Image != "" {
		p.Dependencies = append(p.Dependencies, sign.Image(dependencyImage, repository, e.Image))
	}
	return p
}

// Entry proves what an entry of the ledger holds. It returns false if no verified provenance says all that the entry does.
func Entry(ctx context.Context, e ledger.Entry, hydrator *sign.Verifier, policyRef PolicyRef) (policy.Hydration, bool, error) {
	h, err := proven(ctx, hydrator, e.Digest, e.Bundles, policyRef)
	if err != nil {
		return h, false, err
	}
	return h, slices.ContainsFunc(h.Statements, func(s sign.Verified) bool { return States(s, e) }), nil
}

// States reports whether a statement is a provenance that says all that an entry does.
func States(s sign.Verified, e ledger.Entry) bool {
	stated, err := s.Provenance()
	if err != nil || stated.Claim != e.Claim || s.Digest() != e.Digest || s.SubjectName() != e.Repository {
		return false
	}
	want := Provenance(e, "", 0, nil)
	for _, d := range want.Dependencies {
		i := slices.IndexFunc(stated.Dependencies, func(o sign.ResourceDescriptor) bool { return o.Name == d.Name })
		if i < 0 || !maps.Equal(stated.Dependencies[i].Digest, d.Digest) || d.Name != dependencyImage && stated.Dependencies[i].URI != d.URI {
			return false
		}
	}
	i := slices.IndexFunc(stated.Byproducts, func(o sign.ResourceDescriptor) bool { return o.Name == byproductObjects })
	return i >= 0 && maps.Equal(stated.Byproducts[i].Digest, want.Byproducts[0].Digest)
}

// Contents reads from verified provenance how many objects and which images an artifact has.
func Contents(h policy.Hydration) (objects int, images []string) {
	for _, s := range h.Statements {
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

// proven proves statements of a hydrator about an artifact, and asks the policy ref about every GitOps commit that they name, and
// about the tip that the hydrator saw. Today that tip may be an ancestor by any parent: `git pull` makes a merge whose first
// parent is the local branch.
func proven(ctx context.Context, hydrator *sign.Verifier, artifact digest.Digest, bundles []sign.Bundle, policyRef PolicyRef) (policy.Hydration, error) {
	h := policy.Hydration{PolicyRef: policyRef.Name(), OnPolicyRef: map[string]bool{}}
	h.Statements, h.Rejected = hydrator.Verify(artifact, bundles)
	for _, s := range h.Statements {
		provenance, err := s.Provenance()
		if err != nil {
			continue // the judgement says so
		}
		commit := provenance.Commit(policy.DependencyGitOps)
		if h.OnPolicyRef[commit] || commit == "" {
			continue
		}
		on := true
		for _, c := range []string{commit, provenance.Commit(policy.DependencyPolicy)} {
			contains, err := policyRef.Contains(ctx, c)
			if err != nil {
				return h, err
			}
			on = on && contains
		}
		h.OnPolicyRef[commit] = on
	}
	return h, nil
}

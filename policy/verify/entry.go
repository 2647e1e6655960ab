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

// DependencyChart is the name in a provenance of a chart that the package depends on.
const DependencyChart = "chart"

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
			sign.Source(policy.DependencySource, e.Source.URL, e.Source.Commit),
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
func Entry(ctx context.Context, e ledger.Entry, hydrator Keys, policyRef PolicyRef) (policy.Hydration, bool, error) {
	h, err := hydrator.Prove(ctx, e.Digest, e.Bundles, policyRef)
	if err != nil {
		return h, false, err
	}
	return h, slices.ContainsFunc(h.Statements, func(s sign.Verified) bool { return States(s, e) }), nil
}

// States reports whether a statement about the artifact of an entry is a provenance that says all else that the entry does.
func States(s sign.Verified, e ledger.Entry) bool {
	stated, err := s.Provenance()
	if err != nil || stated.Claim != e.Claim {
		return false
	}
	want := Provenance(e, "", 0, nil)
	if e.Image == "" && stated.Dependency(dependencyImage).Name != "" {
		return false
	}
	for _, d := range want.Dependencies {
		i := slices.IndexFunc(stated.Dependencies, func(o sign.ResourceDescriptor) bool { return o.Name == d.Name })
		if i < 0 || !maps.Equal(stated.Dependencies[i].Digest, d.Digest) || d.Name != dependencyImage && stated.Dependencies[i].URI != d.URI {
			return false
		}
	}
	i := slices.IndexFunc(stated.Byproducts, func(o sign.ResourceDescriptor) bool { return o.Name == byproductObjects })
	return i >= 0 && maps.Equal(stated.Byproducts[i].Digest, want.Byproducts[0].Digest)
}

// Inputs reads from verified statements of the hydrator the digest of all that can change the output; "" if none states it.
func Inputs(statements []sign.Verified) digest.Digest {
	for _, s := range statements {
		if provenance, err := s.Provenance(); err == nil {
			if hex := provenance.Dependency(dependencyInputs).Digest[string(digest.SHA256)]; hex != "" {
				return digest.NewDigestFromEncoded(digest.SHA256, hex)
			}
		}
	}
	return ""
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

// Prove proves statements of a hydrator about an artifact, and asks the policy ref about every GitOps commit that they name, and
// about the tip that the hydrator saw. Today that tip may be an ancestor by any parent: `git pull` makes a merge whose first
// parent is the local branch. A provenance counts by its GitOps commit, and all else that a former key signed counts if a provenance
// by that key does.
func (k Keys) Prove(ctx context.Context, artifact digest.Digest, bundles []sign.Bundle, policyRef PolicyRef) (policy.Hydration, error) {
	h := policy.Hydration{PolicyRef: policyRef.Name(), OnPolicyRef: map[string]bool{}}
	h.Statements, h.Rejected = k.Verify(artifact, bundles)
	dropped := map[digest.Digest]bool{}
	counted := map[string]bool{} // former keys
	for _, s := range h.Statements {
		provenance, err := s.Provenance()
		if err != nil {
			continue // the judgement says so
		}
		counts, why, err := k.countProvenance(ctx, policyRef, s, provenance)
		if err != nil {
			return h, err
		}
		if !counts {
			dropped[s.Bundle().Digest()] = true
			h.Rejected = append(h.Rejected, sign.Rejected{Referrer: s.Bundle().Referrer, Reason: k.Identity + " signed it, but " + why})
			continue
		}
		counted[s.KeyFingerprint()] = true
		if err := meet(ctx, policyRef, provenance, h.OnPolicyRef); err != nil {
			return h, err
		}
	}
	h.Statements = slices.DeleteFunc(h.Statements, func(s sign.Verified) bool {
		return dropped[s.Bundle().Digest()] || s.Former() && !counted[s.KeyFingerprint()]
	})
	return h, nil
}

// meet asks the policy ref about the commits of a provenance.
func meet(ctx context.Context, policyRef PolicyRef, provenance sign.Provenance, onPolicyRef map[string]bool) error {
	commit := provenance.Commit(policy.DependencyGitOps)
	if onPolicyRef[commit] || commit == "" {
		return nil
	}
	on := true
	for _, c := range []string{commit, provenance.Commit(policy.DependencyPolicy)} {
		contains, err := policyRef.Contains(ctx, c)
		if err != nil {
			return err
		}
		on = on && contains
	}
	onPolicyRef[commit] = on
	return nil
}

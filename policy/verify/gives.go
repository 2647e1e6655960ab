package verify

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// Made is how a candidate was made: from a GitOps commit, by what its hydrator said.
type Made struct {
	Stage     string
	Commit    string // "" for no candidate
	Hydration policy.Hydration
}

// Gives reports whether a hydration in another stage is what that has where the candidate is what its own stage has: all that a
// provenance of it says was read is equal at the candidate's GitOps commit, or it was made at a later one, at which all is equal that
// the candidate was made from, or all that either was made from is equal at the policy ref's tip. Otherwise it returns a difference, for
// people, and the stage that has to be hydrated.
func (m Made) Gives(ctx context.Context, stage string, other policy.Hydration, policyRef PolicyRef, file string) (ok bool, difference, hydrate string, err error) {
	for theirs := range provenances(other) {
		difference, hydrate, err = m.differs(ctx, stage, theirs, policyRef, file)
		if err != nil || difference == "" {
			return err == nil, "", "", err
		}
	}
	return false, difference, hydrate, nil
}

func (m Made) differs(ctx context.Context, stage string, theirs sign.Provenance, policyRef PolicyRef, file string) (difference, hydrate string, err error) {
	at := theirs.Commit(policy.DependencyGitOps)
	later, err := policyRef.IsAncestor(ctx, m.Commit, at)
	if err != nil {
		return "", "", err
	}
	if later && at != m.Commit {
		hydrate = m.Stage
	}
	for own := range provenances(m.Hydration) {
		if chart := otherChart(own, theirs); chart != "" {
			return fmt.Sprintf("chart %s is another one", chart), hydrate, nil
		}
		if !later {
			continue
		}
		if difference, err = ReadsEqual(ctx, own, policyRef, at, file); err != nil || difference == "" {
			return "", "", err
		}
	}
	theirsDiffers, err := ReadsEqual(ctx, theirs, policyRef, m.Commit, file)
	if err != nil || theirsDiffers == "" {
		return "", "", err
	}
	if again, err := m.bothAtTip(ctx, theirs, policyRef, file); err != nil || again {
		return "", "", err
	}
	return cmp.Or(difference, theirsDiffers), cmp.Or(hydrate, stage), nil
}

// bothAtTip reports whether the candidate and another hydration would be made again at the policy ref's tip: to hydrate there changes nothing.
func (m Made) bothAtTip(ctx context.Context, theirs sign.Provenance, policyRef PolicyRef, file string) (bool, error) {
	if difference, err := ReadsEqual(ctx, theirs, policyRef, policyRef.Tip(), file); err != nil || difference != "" {
		return false, err
	}
	for own := range provenances(m.Hydration) {
		if difference, err := ReadsEqual(ctx, own, policyRef, policyRef.Tip(), file); err != nil || difference == "" {
			return err == nil, err
		}
	}
	return false, nil
}

// otherChart returns a chart dependency that two provenances name by different digests: a repository may replace one. "" for none.
func otherChart(a, b sign.Provenance) string {
	digests := map[string]map[string]string{}
	for _, d := range a.Dependencies {
		if d.Name == DependencyChart {
			digests[d.URI] = d.Digest
		}
	}
	for _, d := range b.Dependencies {
		if was, ok := digests[d.URI]; d.Name == DependencyChart && ok && !maps.Equal(was, d.Digest) {
			return d.URI
		}
	}
	return ""
}

// provenances yields those of a hydration that were made on the policy ref.
func provenances(h policy.Hydration) iter.Seq[sign.Provenance] {
	return func(yield func(sign.Provenance) bool) {
		for _, s := range h.Statements {
			p, err := s.Provenance()
			if err == nil && h.OnPolicyRef[p.Commit(policy.DependencyGitOps)] && !yield(p) {
				return
			}
		}
	}
}

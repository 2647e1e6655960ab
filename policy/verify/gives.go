package verify

import (
	"context"

	"github.com/lockage/lockage/policy"
)

// Gives reports whether a hydration is what its stage has at a GitOps commit: a provenance of it was made at that commit or a later
// one, or all that it says was read is equal there. Otherwise it returns a difference, for people.
func Gives(ctx context.Context, h policy.Hydration, commit string, policyRef PolicyRef, file string) (ok bool, difference string, err error) {
	for _, s := range h.Statements {
		p, err := s.Provenance()
		if err != nil || !h.OnPolicyRef[p.Commit(policy.DependencyGitOps)] {
			continue
		}
		if ok, err = policyRef.IsAncestor(ctx, commit, p.Commit(policy.DependencyGitOps)); err != nil || ok {
			return ok, "", err
		}
		if difference, err = ReadsEqual(ctx, p, policyRef, commit, file); err != nil || difference == "" {
			return err == nil, "", err
		}
	}
	return false, difference, nil
}

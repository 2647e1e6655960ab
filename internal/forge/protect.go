package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Protection is what the rules of a forge allow on a branch, which need not exist.
type Protection struct {
	Covered bool     // by a rule
	Anybody bool     // who may write to the repository may push
	Pushers []string // who may, if not anybody; without those whom GitHub lets bypass a ruleset, which it does not show
	Force   bool     // somebody may force-push
	Delete  bool     // somebody may delete it
	Rebase  bool     // pull requests into it may be rebased or fast-forwarded
}

// unprotected is what a repository allows without rules.
func unprotected() Protection { return Protection{Anybody: true, Force: true, Delete: true} }

// protections is the part of a driver for the rules of branches.
type protections interface {
	// protection returns one for each branch.
	protection(ctx context.Context, branches []string) ([]Protection, error)
}

// Protections returns what the rules of the repository allow on branches. Two requests on GitLab and Gitea; one, and two for each branch, on GitHub.
func (r *Repository) Protections(ctx context.Context, branches []string) ([]Protection, error) {
	all, err := r.driver.protection(ctx, branches)
	if refusal, ok := errors.AsType[*Error](err); ok && hasStatus(err, http.StatusForbidden, http.StatusNotFound) {
		return nil, fmt.Errorf("%s shows the rules of branches to administrators: %w", r, refusal)
	}
	return all, r.fail("read the rules of branches", err)
}

package forge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/terminal"
)

// StatusState is the state of a commit's status.
type StatusState string

// The states that all forges have.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure"
)

// Status is the result of one check on a commit.
type Status struct {
	Context     string // the check's name, like lockage/production
	State       StatusState
	Description string // one line, cut at MaxDescription bytes
	URL         string // optional: page with details
}

// MaxDescription bounds a status's description in bytes: GitHub's limit in characters.
const MaxDescription = 140

// statuses is the part of a driver for commit statuses.
type statuses interface {
	// status returns the last one of a context.
	status(ctx context.Context, commit, name string) (Status, bool, error)
	setStatus(ctx context.Context, commit string, status Status) error
}

// SetStatus writes the status of a commit unless it is the same. One request, two to write.
//
// GitLab does not replace a pending status by another pending one: its old description stays.
func (r *Repository) SetStatus(ctx context.Context, commit string, status Status) (Change, error) {
	what := fmt.Sprintf("status %s of commit %s", status.Context, terminal.Clip(commit, 64))
	if commit == "" || strings.Trim(commit, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%s: invalid commit", what)
	}
	if !slices.Contains([]StatusState{Pending, Success, Failure}, status.State) {
		return "", fmt.Errorf("%s: unknown state %q", what, status.State)
	}
	status.Description = terminal.Words(status.Description, MaxDescription)
	old, found, err := r.driver.status(ctx, commit, status.Context)
	if err != nil {
		return "", r.fail("read the "+what, err)
	}
	if found && old == status {
		return Unchanged, nil
	}
	if err := r.driver.setStatus(ctx, commit, status); err != nil {
		return "", r.fail("write the "+what, err)
	}
	if found {
		return Updated, nil
	}
	return Created, nil
}

package forge

import (
	"context"
	"fmt"
	"strings"

	"github.com/lockage/lockage/internal/terminal"
)

// StatusState is what a commit's status says.
type StatusState string

// The states that all forges have.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure"
)

// Status is one check's word on a commit.
type Status struct {
	Context     string // the check's name, like lockage/production
	State       StatusState
	Description string // one line, cut at MaxDescription bytes
	URL         string // optional: where to read more
}

// MaxDescription bounds a status's description in bytes: GitHub's limit in characters.
const MaxDescription = 140

// statuses is what drivers know of commit statuses.
type statuses interface {
	// status returns the last one of a context.
	status(ctx context.Context, commit, name string) (Status, bool, error)
	setStatus(ctx context.Context, commit string, status Status) error
}

// SetStatus writes the status of a commit unless it says so already. One request, two to write.
//
// GitLab does not replace a pending status by another pending one; its description then stays the old one.
func (r *Repository) SetStatus(ctx context.Context, commit string, status Status) (Change, error) {
	what := fmt.Sprintf("status %s of commit %s", status.Context, terminal.Clip(commit, 64))
	if commit == "" || strings.Trim(commit, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%s: that is no commit", what)
	}
	switch status.State {
	case Pending, Success, Failure:
	default:
		return "", fmt.Errorf("%s: no such state: %q", what, status.State)
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

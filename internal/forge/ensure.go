package forge

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/terminal"
)

// Request is the wanted state of a pull request.
type Request struct {
	Head, Base string // branches, which exist
	Commit     string // head's tip; if empty, a merged or closed pull request of any head commit counts
	Title      string // one line; longer than MaxTitle it is cut
	Body       string // Markdown, at most MaxBody bytes
	Labels     []string
	Reviewers  []string // names of users, and of teams as owner/team
	Draft      bool     // on opening only: a «ready for review» is not reverted
}

// Change is the effect of a call.
type Change string

// The changes.
const (
	Created   Change = "created"
	Updated   Change = "updated"
	Unchanged Change = "unchanged"
)

// Ensured is a pull request in its wanted state.
type Ensured struct {
	PullRequest
	Change Change
	// Warnings describe refusals that a review can do without: of a label, a reviewer, a draft.
	Warnings []string
}

var (
	errExists   = errors.New("a pull request is open already")
	errNoDrafts = errors.New("the repository has no drafts")
)

// findTries bounds how often an existing pull request is looked for: forges show a new one late.
const findTries = 3

// MaxBody returns the greatest length of a pull request's or comment's text, in bytes: the forge's limit in characters,
// which are at most as many as bytes, less the mark by which a comment is found.
func (r *Repository) MaxBody() int { return r.maxText - maxMark }

func (r *Repository) fits(what, text string) error {
	if len(text) > r.MaxBody() {
		return fmt.Errorf("%s: its text has %d bytes, and %s takes %d: shorten it", what, len(text), r.kind, r.MaxBody())
	}
	return nil
}

// Ensure opens the pull request from head into base, or finds it and brings title, text, labels and reviewers up to date.
// It keeps what others added. It returns one unchanged that is merged or was closed by hand with the same head commit: a
// proposal has one pull request, and a new commit is a new proposal. One request if nothing is to do, two for opening
// (three on Gitea) or updating, one more each for labels (two or three on Gitea) and reviewers (and one a user on GitLab).
func (r *Repository) Ensure(ctx context.Context, request Request) (Ensured, error) {
	request.Title = terminal.Words(request.Title, MaxTitle)
	what := fmt.Sprintf("pull request from %s into %s", request.Head, request.Base)
	if request.Head == "" || request.Base == "" || request.Head == request.Base || request.Title == "" {
		return Ensured{}, fmt.Errorf("%s: a title and two different branches are needed", what)
	}
	if err := r.fits(what, request.Body); err != nil {
		return Ensured{}, err
	}
	pull, found, err := r.Find(ctx, request.Head, request.Base)
	if err != nil {
		return Ensured{}, err
	}
	ensured := Ensured{PullRequest: pull, Change: Unchanged}
	switch {
	case !found || pull.State != StateOpen && request.Commit != "" && pull.Head.Commit != request.Commit: // of an earlier proposal
		if ensured, err = r.open(ctx, request); err != nil {
			return ensured, r.fail("open the "+what, err)
		}
	case pull.State != StateOpen:
		return ensured, nil
	}
	err = r.converge(ctx, request, &ensured)
	return ensured, r.fail("update the "+what, err)
}

// Refresh is [Repository.Ensure] for an open pull request as [Repository.Find] returned it: no request if nothing is to
// do, one to update, and as many more for labels and reviewers. One more finds out whether a reviewer has responded
// already.
func (r *Repository) Refresh(ctx context.Context, pull PullRequest, request Request) (Ensured, error) {
	request.Title = terminal.Words(request.Title, MaxTitle)
	what := "update pull request " + r.reference(pull.Number)
	if err := r.fits(what, request.Body); err != nil {
		return Ensured{}, err
	}
	ensured := Ensured{PullRequest: pull, Change: Unchanged}
	err := r.converge(ctx, request, &ensured)
	return ensured, r.fail(what, err)
}

// open creates the pull request, or adopts one that somebody opened meanwhile.
func (r *Repository) open(ctx context.Context, request Request) (Ensured, error) {
	ensured := Ensured{Change: Created}
	pull, err := r.driver.create(ctx, request)
	if errors.Is(err, errNoDrafts) {
		ensured.Warnings = append(ensured.Warnings, "the forge refuses drafts in this repository: opened as ready for review")
		request.Draft = false
		pull, err = r.driver.create(ctx, request)
	}
	ensured.PullRequest = pull
	exists := errors.Is(err, errExists)
	if err == nil || !exists && !unsettled(err) || ctx.Err() != nil {
		return ensured, err
	}
	found := false
	findErr := r.repeat(ctx, findTries, time.Second, func() (bool, error) {
		pull, ok, err := r.Find(ctx, request.Head, request.Base)
		if found = ok && pull.State == StateOpen; found {
			ensured.PullRequest = pull
		}
		return found || err != nil, err
	})
	if !found {
		return ensured, errors.Join(err, findErr)
	}
	if exists {
		ensured.Change = Unchanged
	}
	return ensured, nil
}

func (r *Repository) converge(ctx context.Context, request Request, ensured *Ensured) error {
	var change change
	if ensured.Title != request.Title {
		title := ensured.prefix + request.Title
		change.title = &title
	}
	if !sameText(ensured.Body, request.Body) {
		change.body = &request.Body
	}
	updated := func() {
		if ensured.Change == Unchanged {
			ensured.Change = Updated
		}
	}
	if change.title != nil || change.body != nil {
		pull, err := r.driver.edit(ctx, ensured.PullRequest, change)
		if err != nil {
			return err
		}
		ensured.PullRequest = pull
		updated()
	}
	// A refused label or reviewer leaves a pull request that can be reviewed.
	tolerate := func(what string, err error) error {
		if err == nil {
			updated()
			return nil
		}
		if refusal, ok := errors.AsType[*Error](err); ok && Refused(err) {
			ensured.Warnings = append(ensured.Warnings, what+": "+refusal.Error())
			return nil
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	if labels := missing(request.Labels, ensured.Labels); labels != nil {
		if err := tolerate("label it "+strings.Join(labels, ", "), r.driver.addLabels(ctx, ensured.PullRequest, labels)); err != nil {
			return err
		}
	}
	users, teams, err := r.unasked(ctx, request, ensured)
	if err != nil {
		return err
	}
	if users != nil || teams != nil {
		what := "ask " + strings.Join(slices.Concat(users, teams), ", ") + " for a review"
		for i := range teams {
			teams[i] = path.Base(teams[i])
		}
		return tolerate(what, r.driver.ask(ctx, ensured.PullRequest, users, teams))
	}
	return nil
}

// unasked returns the reviewers who are neither asked nor have responded: a response removes them from the forge's list.
func (r *Repository) unasked(ctx context.Context, request Request, ensured *Ensured) (users, teams []string, err error) {
	todo := missing(request.Reviewers, append(slices.Clone(ensured.reviewers), ensured.Author))
	if todo == nil {
		return nil, nil, nil
	}
	var answered []string
	if ensured.Change != Created {
		reviews, err := r.driver.reviews(ctx, ensured.PullRequest)
		if err != nil {
			return nil, nil, err
		}
		for _, review := range reviews {
			answered = append(answered, review.user)
		}
	}
	for _, name := range missing(todo, answered) {
		switch {
		case !strings.Contains(name, "/"):
			users = append(users, name)
		case answered == nil: // a response may be the team's
			teams = append(teams, name)
		}
	}
	return users, teams, nil
}

// missing returns the wanted names that are not there, ignoring case, as all forges compare names.
func missing(wanted, there []string) []string {
	var out []string
	for _, name := range wanted {
		same := func(other string) bool { return strings.EqualFold(name, other) }
		if !slices.ContainsFunc(there, same) && !slices.ContainsFunc(out, same) {
			out = append(out, name)
		}
	}
	return out
}

// sameText compares texts as forges keep them: some change line ends and trim the end.
func sameText(a, b string) bool {
	normal := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return normal(a) == normal(b)
}

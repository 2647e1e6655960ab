package forge

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is what became of a pull request.
type State string

// The states of a pull request.
const (
	StateOpen   State = "open"
	StateMerged State = "merged"
	StateClosed State = "closed" // without having been merged
)

// Branch is one side of a pull request.
type Branch struct {
	Name   string
	Commit string // the branch's tip as the forge knows it; empty for a base on GitLab
}

// PullRequest is a pull request, or a merge request as GitLab says, between two branches of one repository.
type PullRequest struct {
	Number      int // as people write it: #7, or !7 on GitLab
	URL         string
	State       State
	Head, Base  Branch
	Title, Body string // the title without the marks of a draft
	Draft       bool
	Author      string
	Labels      []string

	// AutoMerge tells that the forge will merge by itself. Gitea does not tell.
	AutoMerge bool

	id        string   // of GitHub's GraphQL
	reviewers []string // who is asked: names of users, and «owner/team»
	prefix    string   // the mark of a draft in front of the title
	style     string   // Gitea: the repository's way to merge
}

const (
	pageSize = 100 // entries a request; Gitea gives fewer
	maxPages = 20  // of one list

	// MaxTitle bounds titles in bytes: below the least limit of the three (255 characters), with room for a draft's mark.
	MaxTitle = 240
)

// pulls is what drivers know of pull requests. Those of forks are left out everywhere.
type pulls interface {
	// find returns the open pull request from head into base, else the newest one.
	find(ctx context.Context, head, base string) (PullRequest, bool, error)
	// list returns the open ones, whatever their base.
	list(ctx context.Context) ([]PullRequest, error)
	get(ctx context.Context, number int) (PullRequest, error)
	// create fails with errExists where there is an open one, and with errNoDrafts.
	create(ctx context.Context, request Request) (PullRequest, error)
	// edit writes title and body where they are not nil, and the state unless it is empty.
	edit(ctx context.Context, pull PullRequest, change change) (PullRequest, error)
	addLabels(ctx context.Context, pull PullRequest, labels []string) error
	// ask asks users and teams for a review.
	ask(ctx context.Context, pull PullRequest, users, teams []string) error
	autoMerge(ctx context.Context, pull PullRequest) error
	// landed tells the forge that a pull request's head was pushed into its base, in this commit. It does nothing where the
	// forge sees that by itself.
	landed(ctx context.Context, pull PullRequest, commit string) error
}

type change struct {
	title, body *string
	state       State
}

// Find returns the open pull request from head into base, else the newest one that was merged or closed; false if there
// never was any. One request, or a few on Gitea where only closed ones are found.
func (r *Repository) Find(ctx context.Context, head, base string) (PullRequest, bool, error) {
	pull, ok, err := r.driver.find(ctx, head, base)
	if err != nil {
		return PullRequest{}, false, r.fail(fmt.Sprintf("look for the pull request from %s into %s", head, base), err)
	}
	return pull, ok, nil
}

// ListOpen returns the open pull requests whose head's name begins with prefix, into whatever base, newest first. One request
// for a hundred open ones, for fifty on Gitea.
func (r *Repository) ListOpen(ctx context.Context, prefix string) ([]PullRequest, error) {
	all, err := r.driver.list(ctx)
	if err != nil {
		return nil, r.fail("list pull requests", err)
	}
	all = slices.DeleteFunc(all, func(pull PullRequest) bool { return !strings.HasPrefix(pull.Head.Name, prefix) })
	slices.SortFunc(all, func(a, b PullRequest) int { return b.Number - a.Number })
	return all, nil
}

// Get returns a pull request as it is now.
func (r *Repository) Get(ctx context.Context, number int) (PullRequest, error) {
	pull, err := r.driver.get(ctx, number)
	if err != nil {
		return PullRequest{}, r.fail("read pull request "+r.reference(number), err)
	}
	return pull, nil
}

// Close closes a pull request without merging it; one that is not open is left as it is.
func (r *Repository) Close(ctx context.Context, pull PullRequest) (PullRequest, error) {
	if pull.State != StateOpen {
		return pull, nil
	}
	closed, err := r.driver.edit(ctx, pull, change{state: StateClosed})
	if err != nil {
		return pull, r.fail("close pull request "+r.reference(pull.Number), err)
	}
	return closed, nil
}

// Supersede closes old with a comment that points to by; one that is not open any more is left as it is. Done again after a crash,
// it does what was left to do. Three requests.
func (r *Repository) Supersede(ctx context.Context, old, by PullRequest) error {
	if old.State != StateOpen || old.Number == by.Number {
		return nil
	}
	text := fmt.Sprintf("Superseded by %s.", r.reference(by.Number))
	if _, err := r.Comment(ctx, old.Number, "superseded", text); err != nil {
		return err
	}
	_, err := r.Close(ctx, old)
	return err
}

// AutoMerge has the forge merge by itself as soon as all that it requires is there; where nothing is missing any more, Gitea
// and GitLab merge at once, so statuses that shall be waited for are written before. It holds for the head in pull only.
// An error that [Refused] recognises says that the repository does not allow it: a warning to most callers.
func (r *Repository) AutoMerge(ctx context.Context, pull PullRequest) error {
	if pull.AutoMerge || pull.State != StateOpen {
		return nil
	}
	if err := r.driver.autoMerge(ctx, pull); err != nil {
		return r.fail("have pull request "+r.reference(pull.Number)+" merged when it is ready", err)
	}
	return nil
}

// landedTries bounds how often a pull request is looked at whose head was pushed into its base.
const landedTries = 3

// Landed lets a pull request be shown as merged whose head somebody pushed into its base, in the commit given. GitHub and
// GitLab see that by themselves, and are waited for a moment. Gitea is told, and may refuse, as its repositories do unless
// «mark as manually merged» is allowed. The pull request is returned as it is afterwards: a refusal leaves it open and is no
// error. Two requests, a few more where the forge is slow.
func (r *Repository) Landed(ctx context.Context, pull PullRequest, commit string) (PullRequest, error) {
	what := "show pull request " + r.reference(pull.Number) + " as merged"
	if pull.State != StateOpen {
		return pull, nil
	}
	err := r.driver.landed(ctx, pull, commit)
	if refused(err) && !hasStatus(err, http.StatusNotFound) {
		return r.Get(ctx, pull.Number)
	}
	if err != nil {
		return pull, r.fail(what, err)
	}
	for try := range landedTries {
		if try > 0 {
			if err := r.sleep(ctx, time.Second<<(try-1)); err != nil {
				return pull, r.fail(what, err)
			}
		}
		now, err := r.Get(ctx, pull.Number)
		if err != nil {
			return pull, err
		}
		if pull = now; pull.State != StateOpen {
			break
		}
	}
	return pull, nil
}

// Refused reports whether an error is the forge's lasting no to what was asked, rather than a fault, a rate limit or a token
// that is not accepted.
func Refused(err error) bool { return refused(err) }

// reference is how people write a number.
func (r *Repository) reference(number int) string { return r.sign + strconv.Itoa(number) }

// newest chooses the open one, else the one with the highest number.
func newest(candidates []PullRequest, head, base string) (PullRequest, bool) {
	var best PullRequest
	for _, pull := range candidates {
		if pull.Head.Name != head || pull.Base.Name != base {
			continue
		}
		if best.Number == 0 || (pull.State == StateOpen) != (best.State == StateOpen) && pull.State == StateOpen ||
			(pull.State == StateOpen) == (best.State == StateOpen) && pull.Number > best.Number {
			best = pull
		}
	}
	return best, best.Number != 0
}

// pages reads a list page by page, as far as it is ranged over; next returns the number of the page after a response's, or 0.
func pages[T, R any](next func(R) int, read func(page int) ([]T, R, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		page := 1
		for range maxPages {
			entries, response, err := read(page)
			if err != nil {
				yield(none, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if page = next(response); page == 0 {
				return
			}
		}
		yield(none, fmt.Errorf("list of more than %d pages", maxPages))
	}
}

// sleeper waits, or returns early with the context's error.
type sleeper func(context.Context, time.Duration) error

// checkTries bounds how often a merge is asked for while the forge still finds out whether it can: half a minute.
const checkTries = 7

// untilChecked asks again, with doubled pauses from half a second on, until the forge has made up its mind.
func (s sleeper) untilChecked(ctx context.Context, ask func() (checked bool, err error)) error {
	for try := 0; ; try++ {
		checked, err := ask()
		if checked || try+1 == checkTries {
			return err
		}
		if err := s(ctx, 500*time.Millisecond<<try); err != nil {
			return err
		}
	}
}

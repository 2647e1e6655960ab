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

// State is the state of a pull request.
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
	Commit string // the branch's tip; empty for a base on GitLab
}

// PullRequest is a pull request (merge request on GitLab) between two branches of one repository.
type PullRequest struct {
	Number      int // as people write it: #7, or !7 on GitLab
	URL         string
	State       State
	Head, Base  Branch
	Title, Body string // the title without the marks of a draft
	Draft       bool
	Author      string
	Labels      []string

	// AutoMerge reports whether the forge will merge by itself. It is always false on Gitea.
	AutoMerge bool

	id        string   // of GitHub's GraphQL
	reviewers []string // requested ones: names of users, and «owner/team»
	prefix    string   // the mark of a draft in front of the title
	style     string   // Gitea: the repository's merge method
}

const (
	pageSize = 100 // entries a request; Gitea gives fewer
	maxPages = 20  // of one list

	// MaxTitle bounds titles in bytes: below the least limit of the three (255 characters), with room for a draft's mark.
	MaxTitle = 240
)

// pulls is the part of a driver for pull requests. It ignores those of forks.
type pulls interface {
	// find returns the open pull request from head into base, else the newest one.
	find(ctx context.Context, head, base string) (PullRequest, bool, error)
	// list returns the open ones, whatever their base.
	list(ctx context.Context) ([]PullRequest, error)
	get(ctx context.Context, number int) (PullRequest, error)
	// create fails with errExists if an open one exists, and with errNoDrafts.
	create(ctx context.Context, request Request) (PullRequest, error)
	// edit writes title and body unless they are nil, and the state unless it is empty.
	edit(ctx context.Context, pull PullRequest, change change) (PullRequest, error)
	addLabels(ctx context.Context, pull PullRequest, labels []string) error
	// ask asks users and teams for a review.
	ask(ctx context.Context, pull PullRequest, users, teams []string) error
	autoMerge(ctx context.Context, pull PullRequest) error
	// landed reports to the forge that a pull request's head was pushed into its base, in this commit. It does nothing if
	// the forge detects that.
	landed(ctx context.Context, pull PullRequest, commit string) error
}

type change struct {
	title, body *string
	state       State
}

// Find returns the open pull request from head into base, else the newest one that was merged or closed; false without any.
// One request, or a few on Gitea if only closed ones exist.
func (r *Repository) Find(ctx context.Context, head, base string) (PullRequest, bool, error) {
	pull, ok, err := r.driver.find(ctx, head, base)
	if err != nil {
		return PullRequest{}, false, r.fail(fmt.Sprintf("look for the pull request from %s into %s", head, base), err)
	}
	return pull, ok, nil
}

// ListOpen returns the open pull requests whose head's name begins with prefix, into whatever base, newest first. One
// request for a hundred open ones, for fifty on Gitea.
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

// Close closes a pull request without merging it; one that is not open stays as it is.
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

// Supersede closes old with a comment that points to by; one that is not open stays as it is. Repeated after a crash, it
// completes the rest. Three requests.
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

// AutoMerge makes the forge merge by itself as soon as its requirements are met; if they are, Gitea and GitLab merge at
// once, so statuses to wait for must be written before. It applies to the head in pull only. If [Refused] recognises the
// error, the repository does not allow it: a warning to most callers.
func (r *Repository) AutoMerge(ctx context.Context, pull PullRequest) error {
	if pull.AutoMerge || pull.State != StateOpen {
		return nil
	}
	if err := r.driver.autoMerge(ctx, pull); err != nil {
		return r.fail("have pull request "+r.reference(pull.Number)+" merged when it is ready", err)
	}
	return nil
}

// landedTries bounds how often a pull request is read whose head was pushed into its base.
const landedTries = 3

// Landed marks a pull request as merged whose head was pushed into its base, in the given commit. GitHub and GitLab detect
// that, after a moment. Gitea takes a request, and refuses it unless the repository allows «mark as manually merged».
// Landed returns the pull request as it is afterwards; after a refusal it is open, without an error. Two requests, a few
// more if the forge is slow.
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

// Refused reports whether an error is the forge's lasting refusal of the request, rather than a fault, a rate limit or an
// invalid token.
func Refused(err error) bool { return refused(err) }

// reference returns a number as people write it.
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

// pages reads a list page by page, as far as it is ranged over; next returns the number of the next page, or 0.
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

// collect reads a list to its end.
func collect[T any](list iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for entry, err := range list {
		if err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
	return all, nil
}

// sleeper waits, or returns early with the context's error.
type sleeper func(context.Context, time.Duration) error

// checkTries bounds how often a merge is requested while the forge still checks whether it is possible: half a minute.
const checkTries = 7

// untilChecked repeats a request, with doubled pauses from half a second on, until the forge has checked.
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

package forge

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"regexp"
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
	MergeCommit string // that brought a merged one to the base; "" if the forge does not show it

	// AutoMerge reports whether the forge will merge by itself. It is always false on Gitea.
	AutoMerge bool

	id        string   // of GitHub's GraphQL
	reviewers []string // requested ones: names of users, and «owner/team»
	prefix    string   // the mark of a draft in front of the title
	style     string   // Gitea: the repository's merge method
}

// draftMarks matches the marks of a draft in front of a title, on GitLab and by default on Gitea.
var draftMarks = regexp.MustCompile(`(?i)^\s*(\[draft\]|draft:|draft -|\(draft\)|\[wip\]|wip:)\s*`)

// cutDraftMark moves the mark of a draft from the title to prefix.
func (p *PullRequest) cutDraftMark() {
	if p.Draft {
		p.prefix = draftMarks.FindString(p.Title)
		p.Title = strings.TrimPrefix(p.Title, p.prefix)
	}
}

const (
	pageSize = 100 // entries a request; Gitea gives fewer
	maxPages = 20  // of one list

	// MaxTitle bounds titles in bytes: below the least limit of the three (255 characters), with room for a draft's mark.
	MaxTitle = 240
)

// pulls is the part of a driver for pull requests. It ignores those of forks.
type pulls interface {
	// find returns pull requests, among them the open one from head into base, else the newest one.
	find(ctx context.Context, head, base string) ([]PullRequest, error)
	// merged returns pull requests, among them the one from head into base that brought a commit there, if it is among the newest.
	merged(ctx context.Context, head, base, commit string) ([]PullRequest, error)
	get(ctx context.Context, number int) (PullRequest, error)
	// create fails with errExists if an open one exists, and with errNoDrafts.
	create(ctx context.Context, request Request) (PullRequest, error)
	// edit writes title and body unless they are nil, and the state unless it is empty.
	edit(ctx context.Context, pull PullRequest, change change) (PullRequest, error)
	addLabels(ctx context.Context, pull PullRequest, labels []string) error
	// ask asks users, and teams of the repository's owner, for a review.
	ask(ctx context.Context, pull PullRequest, users, teams []string) error
	// autoMerge reports whether the forge has checked if the merge is possible; it is asked again until then.
	autoMerge(ctx context.Context, pull PullRequest) (checked bool, err error)
	// landed reports to the forge that a pull request's head was pushed into its base, in this commit. It does nothing if
	// the forge detects that.
	landed(ctx context.Context, pull PullRequest, commit string) error
}

// detectsMerges is the driver of a forge that detects by itself what landed.
type detectsMerges struct{}

func (detectsMerges) landed(context.Context, PullRequest, string) error { return nil }

type change struct {
	title, body *string
	state       State
}

// Find returns the open pull request from head into base, else the newest one that was merged or closed; false without any.
// One request, or a few on Gitea if only closed ones exist.
func (r *Repository) Find(ctx context.Context, head, base string) (PullRequest, bool, error) {
	candidates, err := r.driver.find(ctx, head, base)
	candidates = slices.DeleteFunc(candidates, func(pull PullRequest) bool { return pull.Head.Name != head || pull.Base.Name != base })
	if err != nil || len(candidates) == 0 {
		return PullRequest{}, false, r.fail(fmt.Sprintf("look for the pull request from %s into %s", head, base), err)
	}
	if i := slices.IndexFunc(candidates, func(pull PullRequest) bool { return pull.State == StateOpen }); i >= 0 {
		return candidates[i], true, nil // a forge has one at most
	}
	return slices.MaxFunc(candidates, func(a, b PullRequest) int { return a.Number - b.Number }), true, nil
}

// Merged returns the pull request from head into base that brought a commit to the base; false for none. It looks for it among the
// newest ones. One request, two on Gitea.
func (r *Repository) Merged(ctx context.Context, head, base, commit string) (PullRequest, bool, error) {
	all, err := r.driver.merged(ctx, head, base, commit)
	i := slices.IndexFunc(all, func(pull PullRequest) bool {
		return pull.State == StateMerged && pull.Head.Name == head && pull.Base.Name == base && (pull.MergeCommit == commit || pull.Head.Commit == commit)
	})
	if err != nil || i < 0 {
		return PullRequest{}, false, r.fail(fmt.Sprintf("look for the pull request that brought %.12s into %s", commit, base), err)
	}
	return all[i], true, nil
}

// Get returns a pull request as it is now.
func (r *Repository) Get(ctx context.Context, number int) (PullRequest, error) {
	pull, err := r.driver.get(ctx, number)
	return pull, r.fail("read pull request "+r.reference(number), err)
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

// AutoMerge makes the forge merge by itself as soon as its requirements are met; if they are, Gitea and GitLab merge at
// once, so statuses to wait for must be written before. It applies to the head in pull only. If [Refused] recognises the
// error, the repository does not allow it: a warning to most callers.
func (r *Repository) AutoMerge(ctx context.Context, pull PullRequest) error {
	if pull.AutoMerge || pull.State != StateOpen {
		return nil
	}
	err := r.repeat(ctx, checkTries, checkPause, func() (bool, error) { return r.driver.autoMerge(ctx, pull) })
	return r.fail("have pull request "+r.reference(pull.Number)+" merged when it is ready", err)
}

// landedTries bounds how often a pull request is read whose head was pushed into its base.
const landedTries = 3

// Landed marks a pull request as merged whose head was pushed into its base, in the given commit. GitHub and GitLab detect
// that, after a moment. Gitea takes a request, and refuses it unless the repository allows «mark as manually merged».
// Landed returns the pull request as it is afterwards; after a refusal it is open, without an error. Two requests, a few
// more if the forge is slow.
func (r *Repository) Landed(ctx context.Context, pull PullRequest, commit string) (PullRequest, error) {
	if pull.State != StateOpen {
		return pull, nil
	}
	tries := landedTries
	err := r.driver.landed(ctx, pull, commit)
	if Refused(err) && !hasStatus(err, http.StatusNotFound) {
		tries, err = 1, nil
	}
	if err == nil {
		err = r.repeat(ctx, tries, time.Second, func() (bool, error) {
			now, err := r.driver.get(ctx, pull.Number)
			if err == nil {
				pull = now
			}
			return err != nil || pull.State != StateOpen, err
		})
	}
	return pull, r.fail("show pull request "+r.reference(pull.Number)+" as merged", err)
}

func (r *Repository) reference(number int) string { return r.sign + strconv.Itoa(number) }

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

func convert[T, U any](list []T, f func(T) U) []U {
	var out []U
	for _, entry := range list {
		out = append(out, f(entry))
	}
	return out
}

// How often a merge is requested while the forge still checks whether it is possible: half a minute.
const (
	checkTries = 7
	checkPause = 500 * time.Millisecond
)

// repeat calls ask until it is done, at most a number of times, with doubled pauses from the first one on.
func (r *Repository) repeat(ctx context.Context, tries int, pause time.Duration, ask func() (done bool, err error)) error {
	for try := 1; ; try++ {
		done, err := ask()
		if done || try == tries {
			return err
		}
		if err := r.options.Sleep(ctx, pause<<(try-1)); err != nil {
			return err
		}
	}
}

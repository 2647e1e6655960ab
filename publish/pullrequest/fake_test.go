package pullrequest_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/forge"
)

// fake is a forge in memory. It keeps what it was asked, one line a call.
type fake struct {
	calls    []string
	pulls    []forge.PullRequest
	statuses map[string]forge.Status
	comments []string
	kind     forge.Kind
	lands    bool  // a head that is in the base is shown as merged
	refuse   error // of Ensure and Refresh
	noStatus error
	maxBody  int
}

// found returns the newest pull request from a branch; zero for none.
func (f *fake) found(head string) forge.PullRequest {
	own := slices.DeleteFunc(slices.Clone(f.pulls), func(p forge.PullRequest) bool { return p.Head.Name != head })
	slices.SortFunc(own, func(a, b forge.PullRequest) int { return cmp.Compare(a.Number, b.Number) })
	if len(own) == 0 {
		return forge.PullRequest{}
	}
	return own[len(own)-1]
}

func (f *fake) call(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// asked returns what was asked since the last time.
func (f *fake) asked() string {
	calls := strings.Join(f.calls, "\n")
	f.calls = nil
	return calls
}

func (f *fake) Ensure(_ context.Context, r forge.Request) (forge.Ensured, error) {
	f.call("ensure %s", r.Head)
	if f.refuse != nil {
		return forge.Ensured{}, f.refuse
	}
	for _, p := range f.pulls {
		if p.Head.Name == r.Head && p.Head.Commit == r.Commit {
			return forge.Ensured{PullRequest: p, Change: forge.Unchanged}, nil
		}
	}
	p := forge.PullRequest{
		Number: len(f.pulls) + 1, URL: fmt.Sprintf("https://forge/%d", len(f.pulls)+1), State: forge.StateOpen, Author: "bot",
		Head: forge.Branch{Name: r.Head, Commit: r.Commit}, Base: forge.Branch{Name: r.Base}, Title: r.Title, Body: r.Body, Labels: r.Labels,
	}
	f.pulls = append(f.pulls, p)
	return forge.Ensured{PullRequest: p, Change: forge.Created}, nil
}

func (f *fake) Refresh(_ context.Context, p forge.PullRequest, r forge.Request) (forge.Ensured, error) {
	if f.refuse != nil {
		return forge.Ensured{}, f.refuse
	}
	i := slices.IndexFunc(f.pulls, func(q forge.PullRequest) bool { return q.Number == p.Number })
	if p.Body == r.Body && p.Title == r.Title {
		return forge.Ensured{PullRequest: p, Change: forge.Unchanged}, nil
	}
	f.call("edit %d", p.Number)
	f.pulls[i].Body, f.pulls[i].Title, f.pulls[i].Head.Commit = r.Body, r.Title, r.Commit
	return forge.Ensured{PullRequest: f.pulls[i], Change: forge.Updated}, nil
}

func (f *fake) Comment(_ context.Context, number int, marker, body string) (forge.Change, error) {
	f.call("comment %d %s", number, marker)
	f.comments = append(f.comments, body)
	return forge.Created, nil
}

func (f *fake) Close(_ context.Context, p forge.PullRequest) (forge.PullRequest, error) {
	f.call("close %d", p.Number)
	f.pulls[p.Number-1].State = forge.StateClosed
	return f.pulls[p.Number-1], nil
}

func (f *fake) AutoMerge(_ context.Context, p forge.PullRequest) error {
	f.call("auto-merge %d", p.Number)
	return nil
}

func (f *fake) Landed(_ context.Context, p forge.PullRequest, commit string) (forge.PullRequest, error) {
	f.call("landed %d %s", p.Number, commit)
	if f.lands {
		f.pulls[p.Number-1].State = forge.StateMerged
	}
	return f.pulls[p.Number-1], nil
}

func (f *fake) SetStatus(_ context.Context, commit string, s forge.Status) (forge.Change, error) {
	f.call("status %s %s %s", commit, s.Context, s.State)
	if f.statuses == nil {
		f.statuses = map[string]forge.Status{}
	}
	f.statuses[commit] = s
	return forge.Created, f.noStatus
}

func (f *fake) MaxBody() int {
	if f.maxBody != 0 {
		return f.maxBody
	}
	return 60_000
}

func (f *fake) CommitURL(repository, commit string) string {
	if repository == "" {
		return ""
	}
	return repository + "/commit/" + commit
}

func (f *fake) Kind() forge.Kind { return f.kind }

// Package pullrequest writes a stage's pull request, keeps it up to date, and judges whether it is approved.
//
// # What is kept
//
// A release of a stage has one pull request, from its review branch into the stage branch. [Keeper.Keep] opens, finds or
// updates it, closes those of older releases with a pointer to it, and gives its head a commit status, lockage/STAGE. All
// of it converges: the next run completes what an earlier run left undone.
//
// # Requests
//
// All open pull requests are listed once, regardless of the number of stages. One that is up to date costs no other request
// (one, if a reviewer whom the pipeline file names has answered). A hidden first line of the text names its sources and
// holds a hash of the rest, so that an up-to-date text is recognised without being made again; a text that somebody edited
// is replaced.
//
// # Approval
//
// [Judge] counts approvals of exactly the head commit, by users other than the author, and only by the pipeline file's
// reviewers if it names any. A team among these counts for nobody, since forges do not show its members to everybody.
//
// # Text
//
// Package diff writes what comes from manifests, and neutralises all markup in it. Everything else is in code spans,
// without the characters that end one.
package pullrequest

import (
	"context"

	"github.com/lockage/lockage/internal/forge"
)

// Forge is a repository on a forge; *forge.Repository is one.
type Forge interface {
	ListOpen(ctx context.Context, prefix string) ([]forge.PullRequest, error)
	Find(ctx context.Context, head, base string) (forge.PullRequest, bool, error)
	Ensure(ctx context.Context, request forge.Request) (forge.Ensured, error)
	Refresh(ctx context.Context, pull forge.PullRequest, request forge.Request) (forge.Ensured, error)
	Supersede(ctx context.Context, old, by forge.PullRequest) error
	Comment(ctx context.Context, number int, marker, body string) (forge.Change, error)
	Close(ctx context.Context, pull forge.PullRequest) (forge.PullRequest, error)
	AutoMerge(ctx context.Context, pull forge.PullRequest) error
	Landed(ctx context.Context, pull forge.PullRequest, commit string) (forge.PullRequest, error)
	Approvals(ctx context.Context, pull forge.PullRequest) ([]forge.Approval, error)
	SetStatus(ctx context.Context, commit string, status forge.Status) (forge.Change, error)
	CommitURL(repositoryURL, commit string) string
	MaxBody() int
	Kind() forge.Kind
}

// StatusContext returns the name of a stage's commit status.
func StatusContext(stage string) string { return "lockage/" + stage }

// Package pullrequest writes a stage's pull request, keeps it up to date, and judges whether it is approved.
//
// # What is kept
//
// A stage has one pull request at a time, from its review branch into the stage branch. [Keep] opens or updates it, and gives its
// head a commit status, lockage/STAGE. All of it converges: the next run completes what an earlier run left undone.
//
// # Requests
//
// A pull request that is up to date costs no request but the one that found it (one more, if a reviewer whom the pipeline file names
// has answered). A hidden first line of the text names its sources and
// holds a hash of the rest, so that an up-to-date text is recognised without being made again; a text that somebody edited
// is replaced.
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
	Ensure(ctx context.Context, request forge.Request) (forge.Ensured, error)
	Refresh(ctx context.Context, pull forge.PullRequest, request forge.Request) (forge.Ensured, error)
	Comment(ctx context.Context, number int, marker, body string) (forge.Change, error)
	Close(ctx context.Context, pull forge.PullRequest) (forge.PullRequest, error)
	AutoMerge(ctx context.Context, pull forge.PullRequest) error
	Landed(ctx context.Context, pull forge.PullRequest, commit string) (forge.PullRequest, error)
	SetStatus(ctx context.Context, commit string, status forge.Status) (forge.Change, error)
	CommitURL(repositoryURL, commit string) string
	MaxBody() int
	Kind() forge.Kind
}

// StatusContext returns the name of a stage's commit status.
func StatusContext(stage string) string { return "lockage/" + stage }

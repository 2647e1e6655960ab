// Package pullrequest says what a stage's pull request says, keeps it, and tells whether it is approved.
//
// # What is kept
//
// A release of a stage has one pull request, from its review branch into the stage branch. [Keeper.Keep] opens it, finds it
// again and updates it, closes those of older releases with a pointer to it, and gives its head a commit status,
// lockage/STAGE. All of it converges: what an earlier run left undone is done by the next.
//
// # Requests
//
// All open pull requests are listed once, whatever the number of stages. One that is as it should be costs nothing more (one
// request, where a reviewer has answered whom the pipeline file names). A hidden first line of the text says what it was
// made from, and holds a hash of the rest, so that it need not be made again to be compared; a text that somebody edited is
// made anew.
//
// # Approval
//
// [Judge] counts approvals of exactly the head commit, by others than the author, and of the pipeline file's reviewers where
// it names any. A team among these counts for nobody, since forges do not tell everybody who is in it.
//
// # Text
//
// What comes from manifests is written by package diff, which lets none of it take effect. All else stands in code spans,
// without what ends one.
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
	MaxBody() int
	Kind() forge.Kind
}

// prefix is that of all review branches.
const prefix = "review/"

// Branch is the review branch of a release of a stage.
func Branch(pipeline, stage, release string) string {
	return prefix + pipeline + "/" + stage + "/" + release
}

// RollbackBranch is the review branch by which a stage is to go back to a release.
func RollbackBranch(pipeline, stage, release string) string {
	return Branch(pipeline, stage, rollback+release)
}

const rollback = "rollback-"

// StatusContext is the name of a stage's commit status.
func StatusContext(stage string) string { return "lockage/" + stage }

// Package promote decides what is live in a stage, and makes it live.
//
// # A promotion
//
//  1. The candidate is what the ledger has of the release, whatever the registry's tag names; everything after works on its
//     digest.
//  2. The artifact is verified as `lockage verify` does, by the policy ref and the statements in the ledger.
//  3. Order: verified records show that the release was live in the stages before, and was not rolled back there; and that with the
//     content that it has there beside the candidate, at one GitOps commit.
//  4. All gates are judged, even after one that does not pass.
//     If people review a stage, the first gate is [GateReview]; if promotion merges, the commit that they approved becomes
//     a parent of the live ref's. If people merge, an artifact that the stage branch shows below others counts only if
//     the forge, where it can be asked, reports that its own pull request was merged.
//  5. The promoter signs record, summary and signature in memory, and one commit on the live ref publishes them, with the
//     statements that they rest on: the commit point. It replaces only what was live when the decision was made.
//  6. The same statements are attached in the registry, and the stage's tag follows, until it agrees with the live ref.
//
// Nothing is written before step 5. A run that stops before its push leaves nothing that the promoter signed: a record counts
// only in the commit that it was made for. A run that stops after it leaves a registry behind the live ref; the next run
// completes that without a key and without judging a gate again.
//
// # Which release
//
// Without a name it is the newest release of the lock's history on the policy ref that passes: never one older than what
// is live, and after a rollback none up to the release that was left, nor its content under another name. A release that is
// named may be any of these. Releases whose gates do not pass yet are skipped, one that does not verify is not.
//
// # Which pull request
//
// A stage that people review has one pull request. It shows the newest release that is due, which is newer than what is live, has
// other content, and passes all gates but those that people and the clock satisfy. It stays with a release that is due while
// somebody approves it, and moves on otherwise: [run.keepReview].
//
// # Who is called
//
// Once all stages are done, the receivers of those whose live ref or tag moved are called: package [notify].
//
// # Trust
//
// Pipelines, locks, identities, keys and policies are those at the policy ref's tip, regardless of what is checked out.
package promote

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/notify"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign/predicate"
)

// Action is what a run did to a stage.
type Action string

// The actions of a stage.
const (
	Promoted   Action = "promoted"
	Noop       Action = "noop"      // the content was live already: recorded, and tagged again
	Unchanged  Action = "unchanged" // the release is live already, or none is newer
	Denied     Action = "denied"
	Pending    Action = "pending" // it lacks only time, or evidence that may still arrive
	RolledBack Action = "rolled-back"
	Failed     Action = "failed"
)

// Errors of a run or stage.
var (
	// ErrPending is returned if all gates that do not pass are pending.
	ErrPending = policy.ErrPending
	// ErrConflict is returned if what is live was changed after the decision.
	ErrConflict = errors.New("a concurrent change came first")
)

// Options select what to promote. Environment is required.
type Options struct {
	publish.Environment
	Stages  []string // by name, at least one; with Ready, none means all
	Release string   // git-<40 hex>; "" for the newest that passes
	Ready   bool     // only stages that the pipeline file calls auto, or that people review; a stage that is not ready is not a failure
	Reason  string   // given by a person, for the record

	proposed map[[2]string]bool // stages by pipeline and name that are only proposed; nil for all that are named
}

// Result is the outcome of one stage.
type Result struct {
	Pipeline string              `json:"pipeline"`
	Stage    string              `json:"stage"`
	Release  string              `json:"release,omitempty"` // that was judged; "" for none
	Action   Action              `json:"action"`
	From, To *predicate.Artifact `json:"-"`                  // live before, and live now or to become live; nil for nothing
	Checks   policy.Verdict      `json:"checks,omitempty"`   // of the artifact's verification
	Gates    []policy.GateResult `json:"gates"`              // order, and the gates that the pipeline file declares
	Record   digest.Digest       `json:"record,omitempty"`   // of the promotion; "" if none was made
	Branch   string              `json:"branch,omitempty"`   // of the live ref; "" without a mirror
	Commit   string              `json:"commit,omitempty"`   // on it; "" if none was made
	Proposal *Proposal           `json:"proposal,omitempty"` // to the people who review the stage; nil for none
	Notes    []string            `json:"notes,omitempty"`    // other findings and repairs
	Notified []notify.Outcome    `json:"notified,omitempty"` // who was called because the stage moved
	Err      error               `json:"-"`                  // why it is denied, pending or failed
}

// Proposal is what the pull request of a stage proposes.
type Proposal struct {
	Release     string `json:"release"`
	Branch      string `json:"branch"` // the review branch, or the stage branch once that has it
	Commit      string `json:"commit"`
	PullRequest string `json:"pullRequest,omitempty"` // URL; "" for none
	Compare     string `json:"compare,omitempty"`     // URL of the page on which a person opens it, without a token
	Changed     bool   `json:"-"`                     // by this run
}

// Promote promotes stages of all pipelines that have them. The error is for what concerns all of them; nothing was
// written then. Results come in the order of the pipelines, and of their stages' graph.
func Promote(ctx context.Context, o Options) ([]Result, error) { return start(ctx, o, (*run).promote) }

// Propose keeps the pull requests of some stages that people review, and promotes nothing. Stages are by pipeline and name.
func Propose(ctx context.Context, e publish.Environment, stages map[[2]string]bool) ([]Result, error) {
	return start(ctx, Options{Environment: e, Ready: true, proposed: stages}, (*run).promote)
}

// Rollback takes stages of all pipelines that have them back to what was live before: the release in Options.Release, or
// else the newest other content. Nothing is rendered; the artifact is verified again, by the policy ref of today. No gate
// is judged: the artifact passed them before. The release that is left is held until it is promoted by name.
func Rollback(ctx context.Context, o Options) ([]Result, error) {
	o.Ready = false
	return start(ctx, o, (*run).rollback)
}

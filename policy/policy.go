// Package policy judges verified evidence, and does nothing else: no network, no files, no clock, no context. Statements
// have the type [sign.Verified], which only verification makes; digests were computed from bytes that were read.
//
// A judgement is a list of checks. All of them are made, also after the first that fails, and each has a one-sentence reason.
//
// # Gates
//
// A gate is a name and a [Condition], which its kind parses and compiles when the pipeline file is read. [Kinds] lists the
// kinds, one file each. [Gates] judges them by [Facts]; packages evidence and verify collect what [NeedsOf] asks for.
//
//   - soak: the content of this release was live in another stage without a break. Equal content of several releases is one
//     stay; several stays do not add up; a stay that ended still counts. With healthy, a soak starts with the first health
//     attestation of the stay.
//   - attestation, approval, image: statements by declared identities about one digest. Signers are distinguished by their
//     keys, not by names. Only where judges the content of an attestation: without it, a bad report counts like a good one.
//   - file: a path exists on the policy ref.
//   - window: the local time of a time zone. A time that a clock change skips never comes, one that it repeats counts twice.
//     Deny wins.
//   - cel, rego: expressions and policies over the objects, see packages cel and rego.
//
// Times come from timestamps and logs where a statement has them. Others are claimed by their signers, in predicates and records; reasons
// say so.
//
// A gate that does not pass fails, with a reason that names what would satisfy it, or is pending if only time is in the way.
// If the content is live already ([Facts].Unchanged), gates about time and evidence pass: soak, window, attestation, approval, review, file
// and reproduced.
//
// A waiver (of package predicate) turns the result of one gate into [Waived]. Enough of the identities that the stage names
// must have signed it for exactly this digest, stage, release, gate and its declaration; it must not have expired, nor last
// longer than [MaxWaiver]. The gate's reason names any other waiver.
//
// Reasons quote foreign text on one line, shortened, with control characters escaped.
package policy

import (
	"errors"
	"fmt"
	"strings"
)

// ErrDenied is in the chain of every error that says: this was looked at, and judged, and must not go on.
var ErrDenied = errors.New("denied")

// ErrPending is in the chain of every error that says: it must not go on yet, and nothing is wrong with it.
var ErrPending = errors.New("not yet")

// Result is how one check came out.
type Result string

// The results of a check.
const (
	Pass Result = "pass"
	Fail Result = "fail"
)

// Check is one question that was asked of an artifact, with its answer and what decided it.
type Check struct {
	Check  string `json:"check"`
	Result Result `json:"result"`
	Reason string `json:"reason"`
}

// Verdict is every check of one judgement, in the order in which they were made.
type Verdict []Check

// Result is Pass if every check passed, and at least one was made; Pending if those that did not are pending.
func (v Verdict) Result() Result {
	pending := 0
	for _, c := range v {
		if c.Result == Pending {
			pending++
		}
	}
	switch {
	case len(v) == 0 || passed(v)+pending < len(v):
		return Fail
	case pending > 0:
		return Pending
	}
	return Pass
}

// Err returns nil for a verdict that passed, else [ErrDenied] or [ErrPending] with the reasons.
func (v Verdict) Err() error {
	switch v.Result() {
	case Pass:
		return nil
	case Pending:
		return fmt.Errorf("%w: %s", ErrPending, v.Reason())
	}
	return fmt.Errorf("%w: %s", ErrDenied, v.Reason())
}

// Reason joins the reasons of the checks that did not pass: why not, in one line. It is empty for a verdict that passed.
func (v Verdict) Reason() string {
	var reasons []string
	for _, c := range v {
		if c.Result != Pass {
			reasons = append(reasons, c.Check+": "+c.Reason)
		}
	}
	return strings.Join(reasons, "; ")
}

func check(name string, ok bool, pass, fail string) Check {
	if ok {
		return Check{name, Pass, pass}
	}
	return Check{name, Fail, fail}
}

// Package policy is judgement over verified evidence.
//
// It decides, and does nothing else: no network, no files, no clock, no context. Everything it looks at was proven
// before it came here: statements have the type [sign.Verified], which only verification can build, and digests were
// computed from bytes that were read, not copied from what somebody claims.
//
// A judgement is a list of checks. All of them are made, also after the first that fails, and each says in one
// sentence what decided it.
//
// # Gates
//
// A gate is a name and a [Condition], which its kind parses and compiles when the pipeline file is read: [Kinds] has them all, one
// file each. [Gates] judges them by [Facts], which packages evidence and verify collect as far as [NeedsOf] says:
//
//   - soak: this release's content was live in another stage without a break. Equal content of several releases is one
//     stay, several stays do not add up, and a stay that is over still counts. With healthy, time begins with the first
//     health attestation of the stay.
//   - attestation, approval, image: statements by declared identities about one digest. Signers are distinguished by their
//     keys, whatever names these have. An approval is good news by its type; of an attestation's content only its where
//     judges, and without it a bad report counts as well as a good one. Nothing but a statement of that type is a
//     signature.
//   - file: a path exists on the policy ref.
//   - window: what the clocks on the walls of a time zone show. Times that they skip never are, times that they show
//     twice count twice. Deny wins.
//   - cel, rego: expressions and policies over the objects, see packages cel and rego below this one.
//
// Times in predicates and records are their signers' word, and reasons say so.
//
// A gate that does not pass fails, and its reason says what would satisfy it; or it is pending, where only time is in
// the way. Where the content is what is live already ([Facts].Unchanged), soak, attestation and approval pass.
//
// A waiver (of package predicate) turns the result of one gate into [Waived]: signed by enough of those whom the stage
// names, for exactly this digest, stage, release, gate and its declaration, unexpired, and for no longer than [MaxWaiver].
// Any other is named in the gate's reason, and changes nothing.
//
// Reasons have what others wrote on one line, cut where it is long, with what a terminal obeys made visible.
package policy

import (
	"errors"
	"strings"
)

// ErrDenied is in the chain of every error that says: this was looked at, and judged, and must not go on.
var ErrDenied = errors.New("denied")

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

// Result is Pass if every check passed, and at least one was made.
func (v Verdict) Result() Result {
	if len(v) == 0 || passed(v) < len(v) {
		return Fail
	}
	return Pass
}

// Reason joins the reasons of the checks that failed: why not, in one line. It is empty for a verdict that passed.
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

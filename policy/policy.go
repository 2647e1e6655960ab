// Package policy is judgement over verified evidence.
//
// It decides, and does nothing else: no network, no files, no clock, no context. Everything it looks at was proven
// before it came here: statements have the type [sign.Verified], which only verification can build, and digests were
// computed from bytes that were read, not copied from what somebody claims.
//
// A judgement is a list of checks. All of them are made, also after the first that fails, and each says in one
// sentence what decided it.
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
	for _, c := range v {
		if c.Result != Pass {
			return Fail
		}
	}
	if len(v) == 0 {
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

package sides

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/policy/verify"
)

// A prefix determines the kind of a name.
const (
	CandidatePrefix = verify.CandidatePrefix
	LivePrefix      = "live:"
	BranchPrefix    = "branch:"
)

// Kind is what a name names; its text describes it to users.
type Kind string

// The kinds of names.
const (
	Stage     Kind = "the candidate of a stage"
	Live      Kind = "what is live in a stage"
	Release   Kind = "a release"
	Branch    Kind = "a branch"
	Reference Kind = "an artifact"
)

// Name is one side of a comparison as a user wrote it.
type Name struct {
	Kind Kind
	Text string // as written

	name string // without its prefix
}

var stageName = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*/)?[a-z0-9][a-z0-9-]*$`) // STAGE or PIPELINE/STAGE

// Parse determines the kind of a name by its spelling.
func Parse(text string) (Name, error) {
	branch, isBranch := strings.CutPrefix(text, BranchPrefix)
	stage, isLive := strings.CutPrefix(text, LivePrefix)
	candidate, isCandidate := strings.CutPrefix(text, CandidatePrefix)
	switch {
	case isCandidate && stageName.MatchString(candidate):
		return Name{Stage, text, candidate}, nil
	case isBranch && branch != "":
		return Name{Branch, text, branch}, nil
	case isLive && stageName.MatchString(stage):
		return Name{Live, text, stage}, nil
	case strings.Contains(text, "@") && lock.CheckName(text) == nil:
		return Name{Release, text, text}, nil
	case strings.ContainsAny(text, ":@") && !isBranch && !isLive && !isCandidate:
		_, _, err := verify.SplitReference(text)
		return Name{Reference, text, text}, err
	case lock.CheckName(text) == nil:
		return Name{Release, text, text}, nil
	case stageName.MatchString(text):
		return Name{Stage, text, text}, nil
	}
	return Name{}, fmt.Errorf("%q is not a STAGE, candidate:STAGE, live:STAGE, RELEASE (git-<4 to 40 hex digits>[@<4 of its input digest>]), branch:NAME or REFERENCE", text)
}

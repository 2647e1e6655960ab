package sides

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/lockage/lockage/oci"
)

// A prefix determines the kind of a name.
const (
	LivePrefix   = "live:"
	BranchPrefix = "branch:"
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

var (
	stageName     = regexp.MustCompile(`^([a-z0-9][a-z0-9-]*/)?[a-z0-9][a-z0-9-]*$`) // STAGE or PIPELINE/STAGE
	releasePrefix = regexp.MustCompile(`^git-[0-9a-f]{4,40}(-[0-9a-f]{1,12})?$`)
)

// Parse determines the kind of a name by its spelling.
func Parse(text string) (Name, error) {
	branch, isBranch := strings.CutPrefix(text, BranchPrefix)
	stage, isLive := strings.CutPrefix(text, LivePrefix)
	switch {
	case isBranch && branch != "":
		return Name{Branch, text, branch}, nil
	case isLive && stageName.MatchString(stage):
		return Name{Live, text, stage}, nil
	case strings.ContainsAny(text, ":@"):
		_, _, err := oci.SplitArtifact(text)
		return Name{Reference, text, text}, err
	case releasePrefix.MatchString(text):
		return Name{Release, text, text}, nil
	case stageName.MatchString(text):
		return Name{Stage, text, text}, nil
	}
	return Name{}, fmt.Errorf("%q is not a STAGE, live:STAGE, RELEASE (git-<4 to 40 hex digits>), branch:NAME or REFERENCE", text)
}

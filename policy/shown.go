package policy

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Shown is what a branch shows of an artifact.
type Shown struct {
	Branch, Path string
	Commit       string // the newest that names the artifact; "" if none does
	Missing      string // why no commit does
	Differences  string // the names of files that are not the artifact's; "" for none
}

// intact reports whether the branch has the artifact's files.
func (s Shown) intact() bool { return s.Commit != "" && s.Differences == "" }

// differs describes what is wrong with the files.
func (s Shown) differs() string {
	return fmt.Sprintf("commit %s of branch %s names the artifact, but its files in %s are others: %s", s.Commit, s.Branch, s.Path, s.Differences)
}

// ShownOn judges whether a branch has the artifact's files. What is reviewed there must be what was signed, and what is live
// there what was promoted. next is what helps where no commit names the artifact.
func ShownOn(name string, s Shown, next string) Check {
	switch {
	case s.Commit == "":
		return Check{name, Fail, s.Missing + "; " + next}
	case !s.intact():
		return Check{name, Fail, s.differs()}
	}
	return Check{name, Pass, fmt.Sprintf("commit %s of branch %s has the same files in %s", s.Commit, s.Branch, s.Path)}
}

// Newest judges whether a candidate is the hydration of its release that a stage branch shows last, at a commit. All hydrations
// are signed: nothing in the registry tells one that was replaced, by better values for example, from the one that replaced it
// but a tag, which anybody who may write there can set back. Without a commit, the branch shows none.
func Newest(candidate digest.Digest, branch, commit string, shown digest.Digest) Check {
	return check("newest", commit == "" || shown == candidate, "no later hydration of the release is shown",
		fmt.Sprintf("the candidate is %s, and commit %s of branch %s shows that the release was hydrated to %s since: the tag was set back; hydrate again",
			candidate, commit, branch, shown))
}

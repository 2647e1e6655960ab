package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// KindReview is the kind of gate that says whose approvals of a pull request count.
const KindReview = "review"

// ReviewGate is the declaration of a gate that asks for approvals of the pull request.
type ReviewGate struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Users or teams of the forge (owner/team, or team of the repository's owner), or names of identities, whose approvals of the artifact count."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct people."`
}

// Reviewed is what is known of the pull request of a release.
type Reviewed struct {
	Pull      Pull
	Commit    string // its head, which shows exactly the artifact; "" for none
	Due       bool   // it does not show the release, but may yet
	Missing   string // why it is not known
	Approvals []PullApproval
}

// reviewers asks for approvals of the commit that a pull request proposes, or of the artifact.
type reviewers struct {
	identities []string
	people     []string // users and teams of the forge
	count      int
}

func parseReview(declared ReviewGate, d *pipeline.Declaration) pipeline.Condition {
	g := reviewers{count: atLeast(declared.Count)}
	for _, name := range declared.By {
		if _, ok := d.Identities[name]; ok {
			g.identities = append(g.identities, name)
		} else {
			g.people = append(g.people, name)
		}
	}
	d.People(declared.By, declared.Count)
	return g
}

func (g reviewers) Signers() pipeline.Signers {
	return pipeline.Signers{About: pipeline.SubjectArtifact, Names: g.identities}
}

func (g reviewers) Need(n *Needs) { n.Review, n.Reviewers = true, append(n.Reviewers, g.people...) }

func (g reviewers) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	trusted := f.signers(g.identities, "")
	counted, notes := f.approvals(trusted)
	signed := counted.count()
	for _, a := range f.Review.Approvals {
		who := plain(a.User)
		switch {
		case strings.EqualFold(a.User, f.Review.Pull.Author):
			notes.add("the author %s does not count", who)
		case !g.names(a):
			notes.add("%s is not one of them", who)
		case a.Commit == "":
			notes.add("the forge does not show which commit %s approved", who)
		case a.Commit != f.Review.Commit:
			notes.add("%s approved %.12s, another commit", who, a.Commit)
		case a.Time.Before(f.Held.Since):
			notes.add("%s approved before the rollback at %s: approve again", who, at(f.Held.Since))
		default:
			counted.add("user "+strings.ToLower(a.User), who+" at "+at(a.Time), "")
		}
	}
	if counted.count() >= g.count {
		result := counted.pass("approved by %s", counted.String())
		if counted.count()-signed >= reviewParties { // a signed approval may be by one of those who approved the head
			result.Property = TwoReviewed
		}
		return result
	}
	if f.Review.Missing != "" {
		notes.add("%s", plain(f.Review.Missing))
	}
	what := f.Artifact.Digest.String()
	if f.Review.Commit != "" {
		what = fmt.Sprintf("commit %.12s: %s", f.Review.Commit, f.Review.Pull.URL)
	}
	reason := fmt.Sprintf("%s: it takes %s by %s of %s%s", counted.progress(g.count), count(g.count, "approval", "approvals by distinct people"),
		strings.Join(slices.Concat(g.people, g.identities), " or "), what, notes)
	if f.Review.Due || f.Review.Commit != "" && f.Review.Pull.State == PullOpen {
		return pending(time.Time{}, "%s", reason)
	}
	return fail("%s", reason)
}

// names reports whether the approval is by one of the people.
func (g reviewers) names(a PullApproval) bool {
	return slices.ContainsFunc(g.people, func(name string) bool {
		return strings.EqualFold(name, a.User) || slices.Contains(a.Teams, name)
	})
}

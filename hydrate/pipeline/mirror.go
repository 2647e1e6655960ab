package pipeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// When is the verb that writes a stage branch.
type When string

// The values of mirror.when.
const (
	OnHydrate When = "hydrate" // the branch shows candidates, and a branch beside it is the live ref
	OnPromote When = "promote" // the branch is the live ref
)

// Review is how people review what a stage branch is to show.
type Review string

// The values of mirror.review.
const (
	NoReview    Review = "none"
	PullRequest Review = "pull-request"
)

// Mirror is where manifests are committed for people. The methods of nil answer for a stage without a mirror.
type Mirror struct {
	Remote      string       `yaml:"remote" jsonschema:"default=origin" jsonschema_description:"A remote of the GitOps checkout, or a URL."`
	Branch      string       `yaml:"branch" jsonschema_description:"The stage branch. Default: stage/{stage}."`
	Path        string       `yaml:"path" jsonschema_description:"The directory on the branch; never empty."`
	When        When         `yaml:"when" jsonschema:"enum=hydrate,enum=promote,default=hydrate" jsonschema_description:"Whether the branch shows candidates or what is live."`
	Review      Review       `yaml:"review" jsonschema:"enum=none,enum=pull-request,default=none" jsonschema_description:"Whether a pull request is opened."`
	Reviewers   []string     `yaml:"reviewers" jsonschema_description:"Who is asked to review."`
	Labels      []string     `yaml:"labels" jsonschema_description:"Labels of the pull request."`
	Draft       bool         `yaml:"draft" jsonschema_description:"Whether pull requests open as drafts."`
	AutoMerge   bool         `yaml:"autoMerge" jsonschema_description:"Whether the forge merges once its rules are met."`
	Attributes  bool         `yaml:"gitattributes" jsonschema:"default=false" jsonschema_description:"Whether a .gitattributes beside the manifests marks them as generated, for the forge's diff view."`
	SignCommits *SignCommits `yaml:"signCommits" jsonschema_description:"The SSH key that signs commits."`
}

// SignCommits is the key that signs a mirror's commits.
type SignCommits struct {
	Key string `yaml:"key,required" jsonschema:"required" jsonschema_description:"A file or env://NAME."`
}

// ShowsCandidates reports whether the stage branch shows candidates.
func (m *Mirror) ShowsCandidates() bool { return m != nil && m.When == OnHydrate }

// ShowsLive reports whether the stage branch shows what is live, and promotion writes it.
func (m *Mirror) ShowsLive() bool { return m != nil && m.When == OnPromote }

// Reviewed reports whether people review what the stage branch is to show.
func (m *Mirror) Reviewed() bool { return m != nil && m.Review == PullRequest }

// Hydrated reports whether hydration writes the stage branch: nobody reviews what it shows first.
func (m *Mirror) Hydrated() bool { return m.ShowsCandidates() && !m.Reviewed() }

// ReviewBranch returns the review branch of a stage.
func ReviewBranch(pipeline, stage string) string { return "review/" + pipeline + "/" + stage }

// withDefaults returns a copy with the defaults of a stage.
func (m *Mirror) withDefaults(stage string) *Mirror {
	if m == nil {
		return nil
	}
	full := *m
	full.Remote = cmp.Or(m.Remote, "origin")
	full.Branch = cmp.Or(m.Branch, "stage/"+stage)
	full.When = cmp.Or(m.When, OnHydrate)
	full.Review = cmp.Or(m.Review, NoReview)
	return &full
}

// branch is the rule for names of branches.
func branch(name string) string {
	if short, isRef := strings.CutPrefix(name, "refs/heads/"); isRef {
		return "is a ref, and this is the name of a branch: write " + strconv.Quote(short)
	}
	if !branchName.MatchString(name) || strings.Contains(name, "..") || strings.HasSuffix(name, ".") ||
		slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return strings.HasSuffix(part, ".lock") }) {
		return "is not a branch name"
	}
	return ""
}

// checkMirror checks the mirror of an expanded stage.
func (e effective) checkMirror(c *checker) {
	if e.Mirror == nil {
		return
	}
	d := e.doc
	if d.Find("mirror", "path") == nil {
		c.add(d.At("mirror").Pos, "mirror.path is missing: name the directory on the branch")
	}
	c.rule(d, subdirectory, "mirror", "path")
	c.repositoryURL(d, "mirror", "remote")
	c.rule(d, branch, "mirror", "branch")
	c.rule(d, oneOf(string(OnHydrate), string(OnPromote)), "mirror", "when")
	c.rule(d, oneOf(string(NoReview), string(PullRequest)), "mirror", "review")
	c.rule(d, NotEmpty, "mirror", "reviewers")
	c.rule(d, NotEmpty, "mirror", "labels")
	c.rule(d, NotEmpty, "mirror", "signCommits", "key")
}

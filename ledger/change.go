package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// Change makes a place on a branch show an artifact.
type Change struct {
	Artifact
	Place

	// Review names a review branch that proposes the change to the branch of the place; "" writes to that branch itself.
	// It gets a commit on the head of the other branch, with its previous head as second parent, unless the other branch
	// shows the artifact, or the review branch does and the proposal is current. Two changes cannot share a review branch.
	Review string
	// Promotion is the promotion that the change puts into force; nil for a candidate.
	Promotion *Promotion
	// Hydration is what the change records of a candidate in the ledger; nil for a promotion. Without a place, that is all.
	Hydration *Hydration

	Attributes bool      // mark the files as generated
	Time       time.Time // of the commit: the committer's time of the source commit, or that of the promotion's record
	// Tree returns the artifact's files. It is called once, if they have to be written.
	Tree func(context.Context) (fs.FS, error)
	// Sign makes the commit's gpgsig; nil for none.
	Sign func(payload []byte) (string, error)
}

// Artifact is an artifact of one stage, with the commits that it was made from.
type Artifact struct {
	sign.Claim
	oci.Digests
	Files  git.Hash // Git's id of its files alone; "" if it is not known yet
	Source Origin   // the package
	GitOps Origin   // the pipeline file and values
}

// Reference returns repository@digest.
func (a Artifact) Reference() string { return a.Repository + "@" + a.Digest.String() }

// Promotion is what the commit of a promotion records.
type Promotion struct {
	// Attest makes the statements of a commit that follows parent, "" for none, and shows a tree: Git's id of the folder
	// without the statements. It is called for each attempt to push.
	Attest func(ctx context.Context, parent, tree git.Hash) (Statements, error)
	Verb   string   // of the commit's message; "" for Promote
	Merge  git.Hash // a commit to be the second parent, such as a reviewed branch's head; of a new branch the only one; "" for none
	// Bare leaves everything below the path as it is, and changes the statements alone: nothing is live.
	Bare bool
	// From is another remote that has Merge, which is pushed with all that it follows; nil if the branch's own remote has it.
	From *git.Remote
	// Expected is the id of the tree below the path that the promotion was decided on, "" for nothing. Write fails with
	// ErrMoved if the path has any other.
	Expected git.Hash
}

// Origin is a commit of a repository, as hydrator.metadata names it.
type Origin struct {
	Commit string `json:"sha"`               // 40 hex digits
	URL    string `json:"repoURL,omitempty"` // without credentials; "" for a repository without a remote
}

// String returns URL@commit.
func (o Origin) String() string {
	if o.URL == "" {
		return o.Commit
	}
	return terminal.Blank(o.URL) + "@" + o.Commit
}

// trailerArtifact is the trailer of a mirror's commits that names the artifact (git-interpret-trailers(1)).
const trailerArtifact = "Lockage-Artifact"

// committer is the author of a mirror's commits: the tool, not the person who runs it.
func committer() git.Signature { return git.Signature{Name: "lockage", Email: "noreply@lockage.dev"} }

// named returns the change's artifact for the trailer; "" for none.
func (c Change) named() string {
	if c.Digest == "" {
		return ""
	}
	return c.Reference()
}

// target returns the branch that the change writes to.
func (c Change) target() string { return cmp.Or(c.Review, c.Branch) }

// candidates returns the candidates branch that the change writes to; "" for none.
func (c Change) candidates() string {
	if c.Hydration == nil {
		return ""
	}
	return c.Hydration.Candidates
}

// branches lists the branches that the change reads or writes.
func (c Change) branches() []string {
	return slices.DeleteFunc([]string{c.Branch, c.target(), c.candidates()}, func(b string) bool { return b == "" })
}

// commit describes the change as a commit on a head. Reviewed is the previous head of the review branch, "" for none; record
// is the digest of the promotion's record, "" for a candidate.
func (c Change) commit(on, reviewed git.Hash, record digest.Digest) git.NewCommit {
	verb, base, merged := "Hydrate", "", reviewed
	if p := c.Promotion; p != nil {
		verb, merged = cmp.Or(p.Verb, "Promote"), cmp.Or(reviewed, p.Merge)
	}
	if c.Review != "" {
		base = string(on)
	}
	message := strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", verb, c.Pipeline, c.Stage, c.Release)) + "\n\n"
	for _, t := range []struct{ key, value string }{
		{"Lockage-Release", c.Release},
		{trailerArtifact, c.named()},
		{"Lockage-Content", c.Content.String()},
		{"Lockage-Source", c.Source.String()},
		{"Lockage-Gitops", c.GitOps.String()},
		{"Lockage-Record", record.String()}, // of promotions only
		{"Lockage-Base", base},              // of proposals only: the commit of the stage branch that it was made on
	} {
		if t.value != "" {
			message += t.key + ": " + terminal.Blank(t.value) + "\n"
		}
	}
	commit := git.NewCommit{By: committer(), When: c.Time, Message: message, Sign: c.Sign}
	if merged != "" {
		commit.Merged = []git.Hash{merged}
	}
	return commit
}

// trailers returns the values of a trailer in the last paragraph of a commit's message.
func trailers(message, key string) []string {
	message = strings.TrimSpace(message)
	last := message[strings.LastIndex(message, "\n\n")+1:]
	var values []string
	for line := range strings.Lines(last) {
		if k, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), key) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// Metadata is the content of hydrator.metadata.
type Metadata struct {
	RepoURL    string      `json:"repoURL,omitempty"`
	DrySHA     string      `json:"drySha"`
	References []Reference `json:"references,omitempty"`
	Lockage    Facts       `json:"lockage"`
}

// Reference is a commit that the hydrated one stems from.
type Reference struct {
	Commit Origin `json:"commit"`
}

// Facts are what lockage adds to the format.
type Facts struct {
	sign.Claim               // whose repository is written in Artifact alone
	Artifact   string        `json:"artifact"` // repository@digest
	Content    digest.Digest `json:"content"`  // digest of its tar
	Tree       git.Hash      `json:"tree"`     // id of the files alone
}

// facts returns what the metadata of a change says, with the Git id of its files.
func (c Change) facts(tree git.Hash) Facts {
	return Facts{c.Claim, c.Reference(), c.Content, tree}
}

// metadata returns the metadata file of a change, with the Git id of its files.
func (c Change) metadata(tree git.Hash) ([]byte, error) {
	m := Metadata{
		RepoURL:    c.GitOps.URL,
		DrySHA:     c.GitOps.Commit,
		References: []Reference{{c.Source}},
		Lockage:    c.facts(tree),
	}
	m.Lockage.Repository = ""
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// ParseMetadata reads a hydrator.metadata of ours. It returns false for that of another hydrator, which names no artifact,
// and for fields that lockage does not write: too long, or not printable.
func ParseMetadata(data []byte) (m Metadata, ours bool) {
	if len(data) > maxMetadataBytes || json.Unmarshal(data, &m) != nil || m.Digest() == "" {
		return Metadata{}, false
	}
	m.Lockage.Repository, _, _ = strings.Cut(m.Lockage.Artifact, "@")
	l := m.Lockage
	for _, field := range []string{l.Pipeline, l.Stage, l.Release, l.Artifact, string(l.Content), string(l.Tree), m.DrySHA} {
		if len(field) > maxField || terminal.Blank(field) != field {
			return Metadata{}, false
		}
	}
	return m, true
}

// Digest returns the artifact's digest.
func (m Metadata) Digest() digest.Digest { return digestOf(m.Lockage.Artifact) }

// digestOf returns the digest in repository@digest; "" if it has none.
func digestOf(artifact string) digest.Digest {
	_, d, _ := strings.Cut(artifact, "@")
	if digest.Digest(d).Validate() != nil {
		return ""
	}
	return digest.Digest(d)
}

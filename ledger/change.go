package ledger

import (
	"cmp"
	"context"
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
	// It becomes one commit on the head of the other branch, whatever it was, unless the other branch shows the artifact, or the
	// review branch does and the proposal is current. Two changes cannot share a review branch.
	Review string
	// Promotion is the promotion that the change puts into force; nil for a candidate.
	Promotion *Promotion
	// Hydration is what the change records of a candidate in the ledger; nil for a promotion or proposal. Without a place, that is all.
	Hydration *Hydration

	// Commit reads a GitOps commit, for what the metadata says of it; nil to leave that out.
	Commit func(ctx context.Context, commit string) (git.Commit, error)

	Attributes bool      // mark the files as generated
	Time       time.Time // of the commit: the committer's time of the source commit, or that of the promotion's record
	// Tree returns the artifact's files. It is called once, if they have to be written and sent.
	Tree func(context.Context) (fs.FS, error)
	// Compared is how the files of a remote compared with the artifact's: a remote that has them does not get them again.
	Compared Comparison
	// Sign makes the commit's gpgsig; nil for none.
	Sign func(payload []byte) (string, error)
}

// Artifact is an artifact of one stage, with the commits that it was made from.
type Artifact struct {
	sign.Claim
	oci.Digests
	Files  git.Hash `json:"tree"`   // Git's id of its files alone; "" if it is not known yet
	Source Origin   `json:"source"` // the package
	GitOps Origin   `json:"gitops"` // the pipeline file and values
}

// Reference returns repository@digest; "" for no artifact.
func (a Artifact) Reference() string {
	if a.Digest == "" {
		return ""
	}
	return a.Repository + "@" + a.Digest.String()
}

// Promotion is what the commit of a promotion records.
type Promotion struct {
	// Attest makes the statements of a commit that follows parent, "" for none, and shows a tree: Git's id of the folder
	// without the statements. It is called for each attempt to push.
	Attest func(ctx context.Context, parent, tree git.Hash) (Statements, error)
	Verb   string   // of the commit's message; "" for Promote
	Merge  git.Hash // a commit to be the second parent, such as a reviewed branch's head; of a new branch the only one; "" for none
	// First says that the stage has no history in the place: a folder of another pipeline or stage is [ErrTaken] then, in the result. Later ones
	// replace whatever somebody put there.
	First bool
	// Former is the pipeline's name where a stage is carried over from, "" for none: folders of other stages of the pipeline, by either name, are
	// replaced nonetheless, since stages of one pipeline change places.
	Former string
	// Bare leaves everything below the path as it is, and changes the statements alone: nothing is live.
	Bare bool
	// From is another remote that has Merge, which is pushed with all that it follows; nil if the branch's own remote has it.
	From *git.Remote
	// Expected is the id of the tree below the path that the promotion was decided on, "" for nothing. Write fails with
	// ErrMoved if the path has any other.
	Expected git.Hash
}

// Origin is a commit of a repository, or a packaged chart, as hydrator.metadata names it.
type Origin struct {
	Commit string `json:"sha"`               // 40 hex digits, or the digest of a chart's archive, sha256:<64 hex>
	URL    string `json:"repoURL,omitempty"` // without credentials; "" for a repository without a remote
}

// String returns URL@commit.
func (o Origin) String() string {
	if o.URL == "" {
		return o.Commit
	}
	return terminal.Blank(o.URL) + "@" + o.Commit
}

// committer is the author of a mirror's commits: the tool, not the person who runs it.
func committer() git.Signature { return git.Signature{Name: "lockage", Email: "noreply@lockage.dev"} }

// target returns the branch that the change writes to.
func (c Change) target() string { return cmp.Or(c.Review, c.Branch) }

// candidates returns the candidates branch that the change writes to; "" for none.
func (c Change) candidates() string {
	if c.Hydration == nil {
		return ""
	}
	return c.Hydration.Candidates
}

// commitOf describes changes as one commit. Of several, artifact and content have the stage before them. Record is the digest of a
// promotion's record; base is the commit of the stage branch that a proposal was made on; "" for none.
func commitOf(record digest.Digest, base git.Hash, changes ...*pendingChange) git.NewCommit {
	first := changes[0]
	verb, several := "Hydrate", len(changes) > 1
	if first.Promotion != nil {
		verb = cmp.Or(first.Promotion.Verb, "Promote")
	}
	commit := git.NewCommit{By: committer(), Message: strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", verb, first.Pipeline, first.Stage, first.Release)) + "\n"}
	if several {
		commit.Message = fmt.Sprintf("Hydrate %d stages\n\n", len(changes))
	}
	var trailers [7][]string // git-interpret-trailers(1)
	for _, c := range changes {
		of := ""
		if several {
			of = c.Stage + " "
			commit.Message += c.Pipeline + "/" + c.Stage + "\n"
		}
		for i, t := range [len(trailers)]struct{ key, of, value string }{
			{"Lockage-Release", "", c.Release},
			{"Lockage-Artifact", of, c.Reference()},
			{"Lockage-Content", of, c.Content.String()},
			{"Lockage-Source", "", c.Source.String()},
			{"Lockage-Gitops", "", c.GitOps.String()},
			{"Lockage-Record", "", record.String()},
			{"Lockage-Base", "", string(base)},
		} {
			if line := t.key + ": " + terminal.Blank(t.of+t.value) + "\n"; t.value != "" && !slices.Contains(trailers[i], line) {
				trailers[i] = append(trailers[i], line)
			}
		}
		if c.Time.After(commit.When) {
			commit.When = c.Time
		}
		if commit.Sign == nil {
			commit.Sign = c.Sign
		}
	}
	commit.Message += "\n" + strings.Join(slices.Concat(trailers[:]...), "")
	return commit
}

package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
)

// Entry is an artifact of one stage, and where it is to be seen.
type Entry struct {
	Pipeline, Stage, Release string

	Branch string // short name
	// Base makes the entry a proposal for another branch, by its short name: Branch is a review branch then. It gets one
	// commit on Base's head, with Base's files but for what is below the path; what the review branch had before is its second
	// parent. Nothing is done where Base shows the entry, or where the review branch does and Base has below the path what
	// it had then. Two entries cannot share a review branch.
	Base          string
	Path          string // folder on the branch, never its root
	GitAttributes bool   // whether the files are marked as generated

	Artifact string        // repository@digest
	Content  digest.Digest // of its tar
	Source   Origin        // what was rendered
	GitOps   Origin        // what it was rendered by
	Time     time.Time     // the committer's time of the source commit; of a promotion, that of its record

	// Record names the promotion that the entry puts into force: the digest of the manifest that attaches its record.
	// "" for a hydration.
	Record   digest.Digest
	RollBack bool     // the promotion goes back: for the commit's message
	Merge    git.Hash // a commit of the remote to be the second parent, such as a reviewed branch's head; "" for none
	// Over is the id of all that lay below the path when the change was decided, "" for nothing. If anything else lies
	// there when it is written, Write fails with ErrMoved. Nil is for entries that may be written over what they find.
	Over *git.Hash

	// Tree returns the artifact's files. It is called when they have to be written, and once.
	Tree func(context.Context) (fs.FS, error)
	// Sign makes the commit's gpgsig; nil for none.
	Sign func(payload []byte) (string, error)
}

// Origin is a commit of a repository.
type Origin struct {
	URL    string // without credentials; "" for a repository without a remote
	Commit string // 40 hex digits
}

// String is URL@commit.
func (o Origin) String() string {
	if o.URL == "" {
		return o.Commit
	}
	return terminal.Blank(o.URL) + "@" + o.Commit
}

// Trailers of a mirror's commits (git-interpret-trailers(1)).
const (
	TrailerRelease  = "Lockage-Release"
	TrailerArtifact = "Lockage-Artifact"
	TrailerContent  = "Lockage-Content"
	TrailerSource   = "Lockage-Source"
	TrailerGitOps   = "Lockage-Gitops"
	TrailerRecord   = "Lockage-Record" // of promotions only
)

// committer is who a mirror's commits are by: the tool, not whoever runs it.
func committer() git.Signature { return git.Signature{Name: "lockage", Email: "noreply@lockage.dev"} }

func (e Entry) commit(on git.Hash) git.NewCommit {
	verb, base := "Hydrate", ""
	if e.Base != "" {
		base = string(on)
	}
	switch {
	case e.Record != "" && e.RollBack:
		verb = "Roll back"
	case e.Record != "":
		verb = "Promote"
	}
	message := fmt.Sprintf("%s %s/%s %s\n\n", verb, e.Pipeline, e.Stage, e.Release)
	for _, t := range []struct{ key, value string }{
		{TrailerRelease, e.Release},
		{TrailerArtifact, e.Artifact},
		{TrailerContent, e.Content.String()},
		{TrailerSource, e.Source.String()},
		{TrailerGitOps, e.GitOps.String()},
		{TrailerRecord, e.Record.String()},
		{TrailerBase, base},
	} {
		if t.value == "" {
			continue
		}
		message += t.key + ": " + terminal.Blank(t.value) + "\n"
	}
	commit := git.NewCommit{By: committer(), When: e.Time, Message: message, Sign: e.Sign}
	if e.Merge != "" {
		commit.Merged = []git.Hash{e.Merge}
	}
	return commit
}

// trailer is the value of a trailer in the last paragraph of a commit's message; "" for none.
func trailer(message, key string) string {
	message = strings.TrimSpace(message)
	last := message[strings.LastIndex(message, "\n\n")+1:]
	for line := range strings.Lines(last) {
		if k, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(k), key) {
			return strings.TrimSpace(value)
		}
	}
	return ""
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
	Commit struct {
		SHA     string `json:"sha"`
		RepoURL string `json:"repoURL,omitempty"`
	} `json:"commit"`
}

// Facts are what lockage adds to the format.
type Facts struct {
	Pipeline string        `json:"pipeline"`
	Stage    string        `json:"stage"`
	Release  string        `json:"release"`
	Artifact string        `json:"artifact"`
	Content  digest.Digest `json:"content"`
	Tree     git.Hash      `json:"tree"`
	Record   digest.Digest `json:"record,omitempty"` // of the promotion that put it there; "" for a candidate
}

// facts of an entry whose files have the Git id tree.
func (e Entry) facts(tree git.Hash) Facts {
	return Facts{e.Pipeline, e.Stage, e.Release, e.Artifact, e.Content, tree, e.Record}
}

// metadata of an entry whose files have the Git id tree.
func (e Entry) metadata(tree git.Hash) ([]byte, error) {
	m := Metadata{
		RepoURL:    e.GitOps.URL,
		DrySHA:     e.GitOps.Commit,
		References: make([]Reference, 1),
		Lockage:    e.facts(tree),
	}
	m.References[0].Commit.SHA, m.References[0].Commit.RepoURL = e.Source.Commit, e.Source.URL
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// ParseMetadata reads a hydrator.metadata of ours. Another hydrator's is an error.
func ParseMetadata(data []byte) (Metadata, error) {
	var m Metadata
	if len(data) > maxMetadataBytes {
		return m, fmt.Errorf("%s has more than %d bytes", MetadataFile, maxMetadataBytes)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w", MetadataFile, err)
	}
	if m.Digest() == "" {
		return m, errors.New(MetadataFile + " names no artifact of lockage")
	}
	l := m.Lockage
	for _, field := range []string{l.Pipeline, l.Stage, l.Release, l.Artifact, string(l.Content), string(l.Record), string(l.Tree), m.DrySHA} {
		if len(field) > maxField || terminal.Blank(field) != field {
			return m, errors.New(MetadataFile + " holds what lockage does not write")
		}
	}
	return m, nil
}

// Digest is the artifact's.
func (m Metadata) Digest() digest.Digest { return digestOf(m.Lockage.Artifact) }

// digestOf is the digest in repository@digest; "" where there is none.
func digestOf(artifact string) digest.Digest {
	_, d, _ := strings.Cut(artifact, "@")
	if digest.Digest(d).Validate() != nil {
		return ""
	}
	return digest.Digest(d)
}

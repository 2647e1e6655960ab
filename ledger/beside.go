package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/sign"
)

// Metadata is the content of hydrator.metadata.
type Metadata struct {
	RepoURL    string      `json:"repoURL,omitempty"`
	DrySHA     string      `json:"drySha"`
	Author     string      `json:"author,omitempty"` // NAME <EMAIL>, of the commit DrySHA, as all up to Body
	Date       string      `json:"date,omitempty"`   // RFC 3339
	Subject    string      `json:"subject,omitempty"`
	Body       string      `json:"body,omitempty"`
	References []Reference `json:"references,omitempty"`
	Lockage    Facts       `json:"lockage"`
}

// Reference is a commit that went into the hydration beside DrySHA. GitOps Promoter takes ids of commits and web addresses only.
type Reference struct {
	Commit Origin `json:"commit"`
}

// Facts are what lockage adds to the format.
type Facts struct {
	sign.Claim               // whose repository is written in Artifact alone
	Artifact   string        `json:"artifact"` // repository@digest
	Content    digest.Digest `json:"content"`  // digest of its tar
	Source     Origin        `json:"source"`   // the package
}

// facts returns what the metadata of a change says.
func (c Change) facts() Facts { return Facts{c.Claim, c.Reference(), c.Content, c.Source} }

// metadata returns the metadata file of a change.
func (c Change) metadata(ctx context.Context) ([]byte, error) {
	m := Metadata{RepoURL: c.GitOps.URL, DrySHA: c.GitOps.Commit, Lockage: c.facts()}
	m.Lockage.Repository = ""
	if c.Commit != nil {
		commit, err := c.Commit(ctx, c.GitOps.Commit)
		if err == nil {
			m.describe(commit)
		} else if !errors.Is(err, git.ErrNotFound) { // a history that was rewritten has no more of it
			return nil, fmt.Errorf("GitOps commit %.12s: %w", c.GitOps.Commit, err)
		}
	}
	if _, err := git.ParseHash(c.Source.Commit); err == nil {
		source := c.Source
		if !strings.HasPrefix(source.URL, "https://") && !strings.HasPrefix(source.URL, "http://") {
			source.URL = ""
		}
		m.References = []Reference{{source}}
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(m)
	return b.Bytes(), err
}

// describe adds what a commit says of itself, as Argo CD does: the subject is the first paragraph of the message.
func (m *Metadata) describe(commit git.Commit) {
	m.Author = terminal.Clip(commit.Author.String(), maxSubject)
	m.Date = commit.Authored.Format(time.RFC3339)
	subject, body, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(commit.Message, "\r\n", "\n")), "\n\n")
	m.Subject = terminal.Clip(strings.Join(strings.Fields(subject), " "), maxSubject)
	m.Body = terminal.Clip(strings.TrimSpace(body), maxBody)
}

// ParseMetadata reads a hydrator.metadata of ours. It returns false for that of another hydrator, which names no artifact,
// and for fields that lockage does not write: too long, or not printable.
func ParseMetadata(data []byte) (m Metadata, ours bool) {
	if len(data) > maxMetadataBytes || json.Unmarshal(data, &m) != nil || m.Digest() == "" {
		return Metadata{}, false
	}
	m.Lockage.Repository, _, _ = strings.Cut(m.Lockage.Artifact, "@")
	l := m.Lockage
	for _, field := range []string{l.Pipeline, l.Stage, l.Release, l.Artifact, string(l.Content), l.Source.URL, l.Source.Commit, m.DrySHA} {
		if len(field) > maxField || terminal.Blank(field) != field {
			return Metadata{}, false
		}
	}
	return m, true
}

// readMetadata reads a hydrator.metadata by its id, "" for none, and reports whether it is ours.
func readMetadata(ctx context.Context, remote *git.Remote, id git.Hash) (Metadata, bool, error) {
	if id == "" {
		return Metadata{}, false, nil
	}
	data, err := remote.File(ctx, id)
	if errors.Is(err, bounded.ErrTooLarge) {
		return Metadata{}, false, nil
	}
	if err != nil {
		return Metadata{}, false, err
	}
	m, ours := ParseMetadata(data)
	return m, ours, nil
}

// Digest returns the artifact's digest; "" if the metadata names none.
func (m Metadata) Digest() digest.Digest {
	_, d, _ := strings.Cut(m.Lockage.Artifact, "@")
	if digest.Digest(d).Validate() != nil {
		return ""
	}
	return digest.Digest(d)
}

// Statements are what was signed about an artifact. A file of the ledger holds them, a JSON object a line: enough to put them
// back into a registry.
type Statements struct {
	Bundles []sign.Bundle
	Images  []sign.ImageSignature // in the older form
	Record  digest.Digest         // of a promotion's record, which is among Bundles; not in the file
}

// encode returns the lines of the statements, each once. A bundle of several lines becomes one line.
func (s Statements) encode() ([]byte, error) {
	var lines [][]byte
	for _, b := range s.Bundles {
		lines = append(lines, b.JSON)
	}
	for _, i := range s.Images {
		line, err := json.Marshal(i)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	var text bytes.Buffer
	seen := map[digest.Digest]bool{}
	for _, line := range lines {
		if bytes.ContainsAny(line, "\r\n") {
			var one bytes.Buffer
			if err := json.Compact(&one, line); err != nil {
				return nil, fmt.Errorf("statement %s: %w", digest.FromBytes(line), err)
			}
			line = one.Bytes()
		}
		if d := digest.FromBytes(line); !seen[d] {
			seen[d] = true
			text.Write(line)
			text.WriteByte('\n')
		}
	}
	if len(seen) > maxStatements || text.Len() > maxEntryBytes {
		return nil, fmt.Errorf("%d statements of %d bytes, at most %d of %d are recorded", len(seen), text.Len(), maxStatements, maxEntryBytes)
	}
	return text.Bytes(), nil
}

// Beside returns the digest of what the file holds beside a record: the record names it, so that nobody adds or takes away what it rests on.
func (s Statements) Beside(record digest.Digest) (digest.Digest, error) {
	s.Bundles = slices.DeleteFunc(slices.Clone(s.Bundles), func(b sign.Bundle) bool { return b.Digest() == record })
	text, err := s.encode()
	return digest.FromBytes(text), err
}

// parseStatements reads what encode writes. Nothing in it is proven.
func parseStatements(text []byte) (Statements, error) {
	var s Statements
	if len(text) > maxEntryBytes {
		return s, fmt.Errorf("%d bytes of statements, at most %d are read", len(text), maxEntryBytes)
	}
	for line := range bytes.Lines(text) {
		if len(s.Bundles)+len(s.Images) == maxStatements {
			return Statements{}, fmt.Errorf("more than %d statements", maxStatements)
		}
		var kind struct {
			MediaType string `json:"mediaType"`
			sign.ImageSignature
		}
		if err := json.Unmarshal(line, &kind); err != nil {
			return Statements{}, fmt.Errorf("a line is not a statement: %w", err)
		}
		if kind.MediaType == "" && kind.Payload != nil {
			s.Images = append(s.Images, kind.ImageSignature)
			continue
		}
		s.Bundles = append(s.Bundles, sign.Bundle{JSON: bytes.TrimSuffix(line, []byte("\n"))})
	}
	return s, nil
}

// Statements reads the statements beside a version's files. A version without them, or with a file that lockage did not write,
// has none.
func (v Version) Statements(ctx context.Context, remote *git.Remote) (Statements, error) {
	if v.statements == "" {
		return Statements{}, nil
	}
	if err := remote.FetchFiles(ctx, v.statements); err != nil {
		return Statements{}, err
	}
	text, err := remote.File(ctx, v.statements)
	if errors.Is(err, bounded.ErrTooLarge) {
		return Statements{}, nil // lockage did not write it
	}
	if err != nil {
		return Statements{}, err
	}
	s, _ := parseStatements(text) // none if nobody signed that
	return s, nil
}

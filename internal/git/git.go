package git

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrNotFound is returned if an object or a reference does not exist. Errors that wrap it name the object and the place.
var ErrNotFound = errors.New("not found")

// ErrNoCommit is returned for the head of a repository that has no commit yet.
var ErrNoCommit = errors.New("no commit yet")

// ErrNoRepository is returned if a folder belongs to no repository.
var ErrNoRepository = errors.New("no git repository")

// Hash is a full object id: 40 lower-case hexadecimal digits (SHA-1).
type Hash string

// ParseHash accepts a full id only: an abbreviated one may mean another object tomorrow.
func ParseHash(s string) (Hash, error) {
	if len(s) != 40 || strings.Trim(s, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is not a full commit id: give all 40 lower-case hexadecimal digits (git rev-parse prints them)", s)
	}
	return Hash(s), nil
}

// BlobID returns the id of a file of this content.
func BlobID(data []byte) Hash {
	return Hash(plumbing.ComputeHash(plumbing.BlobObject, data).String())
}

func (h Hash) id() plumbing.Hash { return plumbing.NewHash(string(h)) }

func hashOf(id plumbing.Hash) Hash { return Hash(id.String()) }

// Commit is a commit object.
type Commit struct {
	Hash      Hash
	Tree      Hash
	Parents   []Hash
	Committed time.Time // the committer's time, in UTC, to the second
	Author    Signature
	Authored  time.Time // the author's time, in UTC, to the second
	Message   string    // unchanged
}

// Head is the commit that is checked out.
type Head struct {
	Commit
	Branch string // short name; empty when HEAD is detached
}

// Options describe the environment of repositories and remotes.
type Options struct {
	// Dir is where relative paths in URLs start, and whose git configuration applies to a Remote. Open sets it.
	Dir string
	// CacheDir holds fetched objects, below "git/". Without it nothing can be fetched over a network.
	CacheDir string
	// Environ is the environment, "key=value", of this package and of git commands; nil is that of the process.
	Environ []string
	// Warn receives, once each, notices of unexpectedly expensive fetches.
	Warn func(string)
	// Backoff is the first pause before a request is repeated; it doubles each time. 0 is half a second.
	Backoff time.Duration
}

func (o Options) environ() []string {
	if o.Environ == nil {
		return os.Environ()
	}
	return o.Environ
}

func (o Options) getenv(key string) string {
	value := ""
	for _, entry := range o.environ() {
		if k, v, ok := strings.Cut(entry, "="); ok && k == key {
			value = v
		}
	}
	return value
}

// gitVariable has the token for remotes.
const gitVariable = "LOCKAGE_GIT_TOKEN"

// withoutToken are the options without the token.
func (o Options) withoutToken() Options {
	o.Environ = slices.DeleteFunc(slices.Clone(o.environ()), func(entry string) bool { return strings.HasPrefix(entry, gitVariable+"=") })
	return o
}

// Stats counts the requests to a server.
type Stats struct {
	BytesReceived int64 // bodies of all replies
	RoundTrips    int64 // requests, repetitions included
}

func parseCommit(id plumbing.Hash, data []byte) (Commit, error) {
	raw, err := encoded{kind: plumbing.CommitObject, data: data}.object()
	if err != nil {
		return Commit{}, err
	}
	var c object.Commit
	if err := c.Decode(raw); err != nil {
		return Commit{}, fmt.Errorf("commit %s cannot be read: %w", id, err)
	}
	if c.TreeHash.IsZero() {
		return Commit{}, fmt.Errorf("commit %s cannot be read: it has no tree", id)
	}
	out := Commit{Hash: hashOf(id), Tree: hashOf(c.TreeHash), Committed: c.Committer.When.UTC(), Message: utf8Of(c.Message),
		Author: Signature{utf8Of(c.Author.Name), utf8Of(c.Author.Email)}, Authored: c.Author.When.UTC()}
	for _, p := range c.ParentHashes {
		out.Parents = append(out.Parents, hashOf(p))
	}
	return out, nil
}

// utf8Of returns text of a commit as UTF-8. Text in another encoding is taken as ISO 8859-1, in which most of it is, and nothing is lost.
func utf8Of(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var converted strings.Builder
	for i := range len(text) {
		converted.WriteRune(rune(text[i]))
	}
	return converted.String()
}

package ledger

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/sign"
)

// ErrEntry is returned for a file of a candidates branch that is not as hydration writes it.
var ErrEntry = errors.New("is not an entry of the ledger")

// Entry is a candidate: the newest hydration of a release for a stage, and what the hydrator signed about it. Nothing in it is
// proven; the signed provenance repeats every fact.
type Entry struct {
	Artifact
	Input      digest.Digest `json:"input"`           // of all that can change the output
	Image      digest.Digest `json:"image,omitempty"` // the release's own; "" for none
	Statements `json:"-"`
}

// Equal reports whether two entries hold the same.
func (e Entry) Equal(other Entry) bool {
	a, err := e.Encode()
	b, otherErr := other.Encode()
	return err == nil && otherErr == nil && bytes.Equal(a, b)
}

// Tagged returns the digest that the artifact's tags name: that of the image, or of a packaged chart; "" for neither.
func (e Entry) Tagged() digest.Digest {
	if d := digest.Digest(e.Source.Commit); d.Validate() == nil {
		return d
	}
	return e.Image
}

// Encode returns the file of the entry. Its facts are the first line.
func (e Entry) Encode() ([]byte, error) {
	facts, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	statements, err := e.encode()
	return slices.Concat(facts, []byte("\n"), statements), err
}

// ParseEntry reads the file of an entry, byte for byte as [Entry.Encode] writes it. The error is ErrEntry.
func ParseEntry(data []byte) (Entry, error) {
	fail := func(err error) (Entry, error) { return Entry{}, fmt.Errorf("%w: %w", ErrEntry, err) }
	if len(data) > maxEntryBytes {
		return fail(fmt.Errorf("it has %d bytes, at most %d are read", len(data), maxEntryBytes))
	}
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return fail(err)
	}
	var err error
	if e.Statements, err = parseStatements(rest); err == nil {
		err = e.check()
	}
	if err != nil {
		return fail(err)
	}
	if again, err := e.Encode(); err != nil || !bytes.Equal(again, data) {
		return fail(cmp.Or(err, errors.New("it is written in another way")))
	}
	return e, nil
}

// check refuses what messages and paths could not hold.
func (e Entry) check() error {
	for _, d := range []digest.Digest{e.Digest, e.Content, e.Input, cmp.Or(e.Image, e.Digest)} {
		if err := d.Validate(); err != nil {
			return err
		}
	}
	hashes := []string{string(e.Files), e.GitOps.Commit}
	if digest.Digest(e.Source.Commit).Validate() != nil {
		hashes = append(hashes, e.Source.Commit)
	}
	for _, h := range hashes {
		if _, err := git.ParseHash(h); err != nil {
			return err
		}
	}
	for _, field := range []string{e.Pipeline, e.Stage, e.Release, e.Repository, e.Source.URL, e.GitOps.URL} {
		if len(field) > maxField || terminal.Blank(field) != field {
			return errors.New("a field is too long or not printable")
		}
	}
	return nil
}

// entryPath returns the path of an entry on its branch.
func entryPath(stage, release string) string { return stage + "/" + entryName(release) }

func entryName(release string) string { return release + entrySuffix }

// Candidate names an entry, by its branch and what it is of. An entry of another pipeline or repository, which a pipeline file named
// before it was changed, is none.
type Candidate struct {
	Branch string
	sign.Claim
}

// Candidates are the candidates branches of one remote at their tips.
type Candidates struct {
	remote *git.Remote
	heads  map[string]git.Commit
}

// ReadCandidates reads the tips of branches, and fetches the named entries of them: their trees and those files alone.
func ReadCandidates(ctx context.Context, remote *git.Remote, wanted ...Candidate) (*Candidates, error) {
	var branches []string
	for _, w := range wanted {
		branches = append(branches, w.Branch)
	}
	slices.Sort(branches)
	tips, err := remote.Tips(ctx, slices.Compact(branches)...)
	if err != nil {
		return nil, err
	}
	return candidatesAt(ctx, remote, tips, wanted)
}

// candidatesAt is ReadCandidates at known tips of the branches. It fetches other files in the same round trip.
func candidatesAt(ctx context.Context, remote *git.Remote, tips map[string]git.Hash, wanted []Candidate, files ...git.Hash) (*Candidates, error) {
	var heads []git.Hash
	for _, w := range wanted {
		heads = append(heads, tips[w.Branch])
	}
	if err := remote.FetchTrees(ctx, 1, heads...); err != nil {
		return nil, err
	}
	c := &Candidates{remote, map[string]git.Commit{}}
	for i, w := range wanted {
		if _, known := c.heads[w.Branch]; !known && heads[i] != "" {
			head, err := remote.Commit(ctx, heads[i])
			if err != nil {
				return nil, err
			}
			c.heads[w.Branch] = head
		}
		id, err := c.id(ctx, w)
		if err != nil {
			return nil, err
		}
		files = append(files, id)
	}
	return c, remote.FetchFiles(ctx, files...)
}

// Remote returns the repository of the branches.
func (c *Candidates) Remote() *git.Remote { return c.remote }

func (c *Candidates) id(ctx context.Context, w Candidate) (git.Hash, error) {
	head, ok := c.heads[w.Branch]
	if !ok {
		return "", nil
	}
	ids, err := c.remote.PathIDs(ctx, entryPath(w.Stage, w.Release), head)
	if err != nil {
		return "", err
	}
	return ids[0], nil
}

// Entry returns an entry, false if none exists. The error is ErrEntry if there is something else in its place.
func (c *Candidates) Entry(ctx context.Context, w Candidate) (Entry, bool, error) {
	id, err := c.id(ctx, w)
	if err != nil || id == "" {
		return Entry{}, false, err
	}
	e, err := c.read(ctx, id)
	if err == nil && (e.Stage != w.Stage || e.Release != w.Release) {
		err = fmt.Errorf("%w: it names %s of stage %s", ErrEntry, e.Release, e.Stage)
	}
	if err != nil {
		err = fmt.Errorf("%s on branch %s of %s: %w", entryPath(w.Stage, w.Release), w.Branch, c.remote.Written(), err)
	}
	return e, err == nil && e.Claim == w.Claim, err
}

// read reads an entry by its id.
func (c *Candidates) read(ctx context.Context, id git.Hash) (Entry, error) {
	data, err := c.remote.File(ctx, id)
	if errors.Is(err, fs.ErrInvalid) {
		err = fmt.Errorf("%w: it is a folder", ErrEntry)
	}
	if errors.Is(err, bounded.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", ErrEntry, err)
	}
	if err != nil {
		return Entry{}, err
	}
	return ParseEntry(data)
}

// All reads the entries of a stage, of all releases. It leaves out what is not an entry.
func All(ctx context.Context, remote *git.Remote, of Candidate) ([]Entry, error) {
	c, err := ReadCandidates(ctx, remote, of)
	if err != nil {
		return nil, err
	}
	releases, err := c.Releases(ctx, of.Branch, of.Stage)
	if err != nil || len(releases) == 0 {
		return nil, err
	}
	names := make([]Candidate, len(releases))
	for i, release := range releases {
		of.Release = release
		names[i] = of
	}
	if c, err = candidatesAt(ctx, remote, map[string]git.Hash{of.Branch: c.heads[of.Branch].Hash}, names); err != nil {
		return nil, err
	}
	var all []Entry
	for _, name := range names {
		e, ok, err := c.Entry(ctx, name)
		if err != nil && !errors.Is(err, ErrEntry) {
			return nil, err
		}
		if ok {
			all = append(all, e)
		}
	}
	return all, nil
}

// Releases returns the releases that have an entry for a stage, in no particular order.
func (c *Candidates) Releases(ctx context.Context, branch, stage string) ([]string, error) {
	head, ok := c.heads[branch]
	if !ok {
		return nil, nil
	}
	ids, err := c.remote.PathIDs(ctx, stage, head)
	if err != nil || ids[0] == "" {
		return nil, err
	}
	items, _, err := c.remote.Entries(ctx, ids[0])
	if err != nil {
		return nil, err
	}
	var releases []string
	for _, item := range items {
		if release, ok := strings.CutSuffix(item.Path, entrySuffix); ok {
			releases = append(releases, release)
		}
	}
	return releases, nil
}

// Had reports whether match is true of an entry at any commit of its branch, the newest first.
func (c *Candidates) Had(ctx context.Context, w Candidate, match func(Entry) (bool, error)) (found bool, err error) {
	head, ok := c.heads[w.Branch]
	if !ok {
		return false, nil
	}
	err = History(ctx, c.remote, head.Hash, entryPath(w.Stage, w.Release), func(v Version) (bool, error) {
		if v.Tree == "" {
			return true, nil // it was taken away
		}
		e, err := c.read(ctx, v.Tree)
		if err == nil {
			found, err = match(e)
		} else if errors.Is(err, ErrEntry) {
			err = nil
		}
		return !found, err
	})
	if err != nil {
		err = fmt.Errorf("branch %s: %w", w.Branch, err)
	}
	return found, err
}

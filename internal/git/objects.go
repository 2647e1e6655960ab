package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/lockage/lockage/internal/memo"
)

// objects is a source of commits, trees and files: a Repository or a Remote.
type objects interface {
	fmt.Stringer
	// read returns an object that is on disk, or errMissing.
	read(ctx context.Context, id plumbing.Hash) (encoded, error)
	// has reports whether read would find the object.
	has(ctx context.Context, id plumbing.Hash) bool
	// fetch fetches objects to disk.
	fetch(ctx context.Context, w want) error
	// large returns a file of Git LFS.
	large(ctx context.Context, p largePointer) ([]byte, error)
}

// commits are the methods that Repository and Remote have in common.
type commits struct {
	from    objects
	warn    func(string) // may be nil
	lost    *notices     // files of Git LFS that are not to be had
	folders memo.Recent[Hash, *folder]
	known   memo.Recent[Hash, Commit] // those that were read: all stages of a pipeline ask for that of their candidates
}

// maxKeptCommits bounds the commits that are kept, in bytes.
const maxKeptCommits = 8 << 20

// newCommits returns the methods of a source of objects.
func newCommits(from objects, opts Options) commits {
	return commits{from: from, warn: opts.Warn, lost: &notices{}, folders: memo.Recent[Hash, *folder]{Limit: maxKeptEntries}, known: memo.Recent[Hash, Commit]{Limit: maxKeptCommits}}
}

// Commit reads one commit, and fetches it if it is absent.
func (c *commits) Commit(ctx context.Context, h Hash) (Commit, error) {
	return c.load(ctx, h, shapeCommit)
}

// Snapshot returns the tree of one commit.
func (c *commits) Snapshot(ctx context.Context, h Hash) (*Snapshot, error) {
	commit, err := c.Commit(ctx, h)
	if err != nil {
		return nil, err
	}
	return &Snapshot{commit: commit, from: c.from, warn: c.warn, lost: c.lost, trees: map[plumbing.Hash]*tree{}, files: memo.Recent[plumbing.Hash, []byte]{Limit: maxKeptFiles}}, nil
}

// want is one set of objects to fetch.
type want struct {
	ids    []plumbing.Hash
	commit plumbing.Hash // the commit they belong to, if known: fetched as a whole if necessary
	shape  shape

	generations int // of shapeTrees; 0 is 1
}

type shape int

const (
	shapeExact   shape = iota // the named objects alone
	shapeCommit               // commits and their root trees
	shapeTrees                // commits and all their trees
	shapeDeep                 // the named objects and everything below them
	shapeRecent               // commits and some generations of ancestors
	shapeHistory              // commits and all ancestors
)

func (w want) String() string {
	noun := "object"
	if w.shape != shapeExact && w.shape != shapeDeep {
		noun = "commit"
	}
	text := noun + " " + w.ids[0].String()
	if more := len(w.ids) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// loadAs reads the first object of w; if it is absent, w is fetched.
func loadAs(ctx context.Context, from objects, w want) (encoded, error) {
	obj, err := from.read(ctx, w.ids[0])
	if !errors.Is(err, errMissing) {
		return obj, err
	}
	if err := from.fetch(ctx, w); err != nil {
		return encoded{}, err
	}
	if obj, err = from.read(ctx, w.ids[0]); errors.Is(err, errMissing) {
		return encoded{}, fmt.Errorf("%s is not in %s: %w", w, from, ErrNotFound)
	}
	return obj, err
}

// loadKind is loadAs for an object of a kind.
func loadKind(ctx context.Context, from objects, w want, kind plumbing.ObjectType) ([]byte, error) {
	obj, err := loadAs(ctx, from, w)
	if err != nil {
		return nil, err
	}
	return obj.as(kind, w.ids[0], from)
}

// load reads one commit; if it is absent, it is fetched in a shape.
func (c *commits) load(ctx context.Context, h Hash, shape shape) (Commit, error) {
	if commit, ok := c.known.Get(h); ok {
		return commit, nil
	}
	id := h.id()
	data, err := loadKind(ctx, c.from, want{ids: []plumbing.Hash{id}, commit: id, shape: shape}, plumbing.CommitObject)
	if err != nil {
		return Commit{}, err
	}
	commit, err := parseCommit(id, data)
	if err == nil {
		commit = c.known.Put(h, commit, len(data)+100)
	}
	return commit, err
}

package git

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// maxBrought bounds the objects of a history that is pushed to another remote.
const maxBrought = 1_000_000

// Bring adds to the draft a commit of another remote with all that it reaches, so that a commit can merge it.
func (d *Draft) Bring(ctx context.Context, from *Remote, commit Hash) error {
	b := bringer{draft: d, from: from, top: commit.id(), seen: map[plumbing.Hash]bool{}}
	b.add(commit.id(), plumbing.CommitObject)
	for len(b.queue) > 0 {
		next := b.queue[len(b.queue)-1]
		b.queue = b.queue[:len(b.queue)-1]
		if err := b.bring(ctx, next); err != nil {
			return fmt.Errorf("history of commit %.12s of %s: %w", commit, from, err)
		}
	}
	d.done = len(d.order) // the commit that merges it names it
	return nil
}

// bringer copies one history.
type bringer struct {
	draft *Draft
	from  *Remote
	top   plumbing.Hash
	deep  bool // everything was fetched
	seen  map[plumbing.Hash]bool
	queue []brought
}

type brought struct {
	id   plumbing.Hash
	kind plumbing.ObjectType
}

func (b *bringer) add(id plumbing.Hash, kind plumbing.ObjectType) {
	if !b.seen[id] {
		b.seen[id] = true
		b.queue = append(b.queue, brought{id, kind})
	}
}

// bring copies one object, and lists what it names.
func (b *bringer) bring(ctx context.Context, o brought) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(b.seen) > maxBrought {
		return fmt.Errorf("it has more than %d objects: push the branch with git", maxBrought)
	}
	obj, err := b.from.read(ctx, o.id)
	if errors.Is(err, errMissing) && !b.deep {
		b.deep = true
		if err := b.from.fetch(ctx, want{ids: []plumbing.Hash{b.top}, commit: b.top, shape: shapeDeep}); err != nil {
			return err
		}
		obj, err = b.from.read(ctx, o.id)
	}
	if err != nil {
		return err
	}
	data, err := obj.as(o.kind, o.id, b.from)
	if err != nil {
		return err
	}
	b.draft.keep(obj)
	switch o.kind {
	case plumbing.CommitObject:
		return b.commit(o.id, data)
	case plumbing.TreeObject:
		return b.tree(o.id, data)
	}
	return nil
}

func (b *bringer) commit(id plumbing.Hash, data []byte) error {
	commit, err := parseCommit(id, data)
	if err != nil {
		return err
	}
	b.add(commit.Tree.id(), plumbing.TreeObject)
	for _, parent := range commit.Parents {
		b.add(parent.id(), plumbing.CommitObject)
	}
	return nil
}

func (b *bringer) tree(id plumbing.Hash, data []byte) error {
	entries, err := parseRawTree(data, id, b.from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.mode {
		case filemode.Dir:
			b.add(e.id, plumbing.TreeObject)
		case filemode.Submodule:
		default:
			b.add(e.id, plumbing.BlobObject)
		}
	}
	return nil
}

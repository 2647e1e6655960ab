package ledger

import (
	"context"
	"fmt"
	"slices"

	"github.com/lockage/lockage/internal/git"
)

// Proposal compares a review branch with the place on the stage branch that it is for.
type Proposal struct {
	Head  git.Hash // of the review branch; "" if it does not exist
	Shows Metadata // of Head, which proves nothing; zero for none of ours
	Base  git.Hash // first parent of Head: the commit of the stage branch that the proposal was made on; "" for none
	Into  git.Hash // head of the stage branch; "" if it does not exist

	// Current reports that the stage branch still has below the path what it had at Base: the comparison that a reviewer
	// read still holds, regardless of changes outside the path. Base is on the stage branch then, and Head is not: a
	// merge that was reverted has to be proposed again.
	Current bool
	// Landed reports that the stage branch has below the path what the proposal has.
	Landed bool
}

// Proposed compares a review branch with a place on the stage branch.
func Proposed(ctx context.Context, remote *git.Remote, branch string, into Place) (Proposal, error) {
	tips, err := remote.Tips(ctx, branch, into.Branch)
	if err != nil {
		return Proposal{}, err
	}
	p := Proposal{Head: tips[branch], Into: tips[into.Branch]}
	if p.Head == "" {
		return p, nil
	}
	head, err := shown(ctx, remote, p.Head, into.Path)
	if p.Shows = head.Metadata; err != nil || p.Into == "" {
		return p, err
	}
	return p, p.compare(ctx, remote, into.Path)
}

// compare fills in what follows from Head and Into. Who pushed to the review branch does not matter: the parents of the
// commits decide, as they do for the changes that a forge shows to reviewers.
func (p *Proposal) compare(ctx context.Context, remote *git.Remote, path string) error {
	commits, ids, err := trees(ctx, remote, path, p.Head, p.Into)
	if err != nil {
		return err
	}
	p.Landed = ids[0] == ids[1]
	if len(commits[0].Parents) == 0 {
		return nil
	}
	p.Base = commits[0].Parents[0]
	if based, err := remote.IsAncestor(ctx, p.Base, p.Into); err != nil || !based {
		return err
	}
	if merged, err := remote.IsAncestor(ctx, p.Head, p.Into); err != nil || merged {
		return err
	}
	_, then, err := trees(ctx, remote, path, p.Base)
	p.Current = err == nil && then[0] == ids[1]
	return err
}

// propose decides whether a change that the head of the stage branch, r.Commit, does not show has to be written to its review branch.
func (w *Writer) propose(ctx context.Context, c Change, r *Result) error {
	p := Proposal{Head: w.tips[c.Review], Into: git.Hash(r.Commit)}
	r.Written, r.Base = true, r.Commit
	if p.Head == "" {
		return nil
	}
	there, err := shown(ctx, w.remote, p.Head, c.Path)
	if err != nil || !there.Ours {
		return err
	}
	if same, err := there.shows(ctx, there.Metadata, c); err != nil || !same {
		return err // the next commit repairs what was changed by hand
	}
	if err := p.compare(ctx, w.remote, c.Path); err != nil || !p.Current {
		return err
	}
	r.Written, r.Commit, r.Base = false, string(p.Head), string(p.Base)
	return nil
}

// begin creates the branches that changes are proposed to, if they do not exist: forges need both sides of a pull request.
// They begin with a commit of ours without files.
func (w *Writer) begin(ctx context.Context, changes []*pendingChange) error {
	var updates []git.Update
	for _, c := range changes {
		if c.Review == "" || w.tips[c.Branch] != "" || slices.ContainsFunc(updates, func(u git.Update) bool { return u.Branch == c.Branch }) {
			continue
		}
		d, err := w.remote.Draft(ctx, "")
		if err != nil {
			return err
		}
		if err := d.Put(ctx, ".", nil); err != nil {
			return err
		}
		message := fmt.Sprintf("Begin %s\n\nThe branch is empty. Pull requests bring what was reviewed.\n", c.Branch)
		if _, err := d.Commit(git.NewCommit{By: committer(), When: c.Time, Message: message, Sign: c.Sign}); err != nil {
			return fmt.Errorf("branch %s: %w", c.Branch, err)
		}
		updates = append(updates, git.Update{Branch: c.Branch, Draft: d})
	}
	return w.push(ctx, updates)
}

package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockage/lockage/internal/git"
)

// TrailerBase is a proposal's: the commit of the stage branch that it was made on.
const TrailerBase = "Lockage-Base"

// Proposal is what a review branch proposes for a place, and where both stand.
type Proposal struct {
	Head git.Hash // of the review branch; "" where it does not exist
	Base git.Hash // the first parent of Head: the commit of the stage branch that the proposal was made on; "" for none
	Into git.Hash // the head of the stage branch; "" where it does not exist

	// Stands tells that below the path the stage branch has what it had at Base: what a reviewer compared the proposal with
	// still holds, whatever changed elsewhere on the branch. Base is on the stage branch then, and Head is not: what was
	// merged, and taken back, has to be proposed anew.
	Stands bool
	// Taken tells that below the path the stage branch has what the proposal has.
	Taken bool
}

// Proposed reads how a review branch stands to a place on the stage branch.
func Proposed(ctx context.Context, remote *git.Remote, branch string, into Place) (Proposal, error) {
	tips, err := remote.Tips(ctx, branch, into.Branch)
	if err != nil {
		return Proposal{}, err
	}
	p := Proposal{Head: tips[branch], Into: tips[into.Branch]}
	if p.Head == "" || p.Into == "" {
		return p, nil
	}
	return p, p.compare(ctx, remote, into.Path)
}

// compare fills in what follows from where both branches stand. Who pushed what to the review branch does not matter: it is
// the commits' parents that tell, by which a forge finds what to show to reviewers too.
func (p *Proposal) compare(ctx context.Context, remote *git.Remote, path string) error {
	if err := remote.FetchTrees(ctx, p.Head, p.Into); err != nil {
		return err
	}
	head, err := remote.Commit(ctx, p.Head)
	if err != nil {
		return err
	}
	into, err := remote.Commit(ctx, p.Into)
	if err != nil {
		return err
	}
	commits := []git.Commit{head, into}
	if len(head.Parents) > 0 {
		p.Base = head.Parents[0]
		on, err := remote.IsAncestor(ctx, p.Base, p.Into)
		if err != nil {
			return err
		}
		merged := false
		if on {
			if merged, err = remote.IsAncestor(ctx, p.Head, p.Into); err != nil {
				return err
			}
		}
		if on && !merged {
			base, err := remote.Commit(ctx, p.Base)
			if err != nil {
				return err
			}
			commits = append(commits, base)
		}
	}
	ids, err := remote.PathIDs(ctx, path, commits...)
	if err != nil {
		return err
	}
	p.Taken = ids[0] == ids[1]
	p.Stands = len(ids) == 3 && ids[2] == ids[1]
	return nil
}

// propose says whether an entry has to be proposed for a folder as it stands at the head of the draft.
func (w *Writer) propose(ctx context.Context, e Entry, d *git.Draft, before folder) (Result, error) {
	into := d.Head()
	shown, ours, err := before.read(ctx, d)
	if err != nil {
		return Result{}, err
	}
	if ours && before.shows(shown.as(e), e) {
		return Result{Commit: string(into), Base: string(into), Taken: true}, nil
	}
	write := Result{Written: true, Base: string(into)}
	if e.Over != nil {
		if err := e.notMoved(ctx, d); err != nil {
			return Result{}, err
		}
	} else if ours {
		if newer, err := w.newer(ctx, shown, e); err != nil || newer {
			return Result{Commit: string(into), Superseded: true}, err
		}
	}
	head := w.tips[e.Branch]
	if head == "" {
		return write, nil
	}
	proposed, err := w.remote.Draft(ctx, head)
	if err != nil {
		return Result{}, err
	}
	items, err := proposed.Items(ctx, e.Path)
	if errors.Is(err, git.ErrOccupied) {
		return write, nil // by hand; the commit to come puts it right
	}
	if err != nil {
		return Result{}, err
	}
	f := split(items)
	m, ours, err := f.read(ctx, proposed)
	switch {
	case err != nil:
		return Result{}, err
	case !ours:
		return write, nil
	case !f.shows(m.as(e), e):
		newer, err := false, error(nil)
		if e.Over == nil {
			newer, err = w.newer(ctx, m, e)
		}
		if newer {
			return Result{Commit: string(head), Superseded: true}, err
		}
		return write, err
	}
	p := Proposal{Head: head, Into: into}
	if err := p.compare(ctx, w.remote, e.Path); err != nil {
		return Result{}, err
	}
	if !p.Stands {
		return write, nil
	}
	return Result{Commit: string(head), Base: string(p.Base)}, nil
}

// as leaves out the record of a promotion where the entry is about none: what is live is no candidate any more.
func (m Metadata) as(e Entry) Metadata {
	if e.Record == "" {
		m.Lockage.Record = ""
	}
	return m
}

// begin makes the branches that entries are proposed for, where they do not exist: forges want both sides of a pull request.
// They begin with a commit of ours that holds no file.
func (w *Writer) begin(ctx context.Context, changes []*change) error {
	var updates []git.Update
	for _, c := range changes {
		if c.Base == "" || w.tips[c.Base] != "" || slices.ContainsFunc(updates, func(u git.Update) bool { return u.Branch == c.Base }) {
			continue
		}
		d, err := w.remote.Draft(ctx, "")
		if err != nil {
			return err
		}
		if err := d.Put(ctx, ".", nil); err != nil {
			return err
		}
		message := fmt.Sprintf("Begin %s\n\nNothing is here yet. Pull requests bring what is reviewed.\n", c.Base)
		if _, err := d.Commit(git.NewCommit{By: committer(), When: c.Time, Message: message, Sign: c.Sign}); err != nil {
			return fmt.Errorf("branch %s: %w", c.Base, err)
		}
		updates = append(updates, git.Update{Branch: c.Base, Draft: d})
	}
	if err := w.remote.Push(ctx, updates...); err != nil {
		return err
	}
	w.moved(updates)
	return nil
}

// moved remembers where branches are after a push.
func (w *Writer) moved(updates []git.Update) {
	for _, u := range updates {
		if u.Draft.Changed() {
			w.tips[u.Branch] = u.Draft.Head()
		}
	}
}

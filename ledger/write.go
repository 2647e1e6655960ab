package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/retry"
)

// ErrMoved is returned by Write if the path of a promotion no longer has the tree that it was decided on.
var ErrMoved = errors.New("was changed meanwhile")

// Ancestry knows the history of the GitOps repository.
type Ancestry interface {
	// IsAncestor reports whether ancestor comes before descendant, or is the same commit.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
}

// Result is the outcome of one change.
type Result struct {
	// Commit shows the change's artifact: the new commit, or the branch's head if nothing had to be written. For a
	// superseded change it is the head, which shows a newer artifact.
	Commit     string
	Written    bool
	Superseded bool // the branch shows an artifact that was hydrated from a newer GitOps commit

	// Base is the commit that a proposal was made on. Landed reports that the branch that it is for shows the artifact
	// already: then nothing is proposed, and Commit is that branch's head.
	Base   string
	Landed bool
}

// Writer writes to the branches of one remote. It remembers their tips, and is not safe for concurrent use.
type Writer struct {
	remote   *git.Remote
	ancestry Ancestry
	wait     func(ctx context.Context, attempt int) error
	tips     map[string]git.Hash // "" for branches that do not exist
}

// NewWriter writes to a remote's branches. It calls wait after each stale push, before the next attempt; see [Backoff].
func NewWriter(remote *git.Remote, ancestry Ancestry, wait func(ctx context.Context, attempt int) error) *Writer {
	return &Writer{remote: remote, ancestry: ancestry, wait: wait, tips: map[string]git.Hash{}}
}

// Backoff waits before attempt n+1: a random time of up to first·2ⁿ, at most a hundred times first, so that writers that
// collided once do not collide again. Random returns a number below n.
func Backoff(first time.Duration, random func(n int64) int64) func(context.Context, int) error {
	return func(ctx context.Context, attempt int) error {
		limit := min(first<<min(attempt, 10), 100*first)
		return retry.Sleep(ctx, time.Duration(random(int64(limit))+1))
	}
}

// Look reads the tips of the branches of the changes, with as few requests as for one of them. Write does so itself if
// they are not known.
func (w *Writer) Look(ctx context.Context, changes []Change) error {
	var branches []string
	for _, c := range changes {
		branches = append(branches, c.Branch, c.target())
	}
	slices.Sort(branches)
	branches = slices.Compact(branches)
	tips, err := w.remote.Tips(ctx, branches...)
	if err != nil {
		return err
	}
	heads := make([]git.Hash, len(branches))
	for i, b := range branches {
		w.tips[b], heads[i] = tips[b], tips[b]
	}
	return w.remote.FetchTrees(ctx, 1, heads...)
}

// Write makes the branches show the changes, in one atomic push, and returns a result for each. An error is about all of
// them: nothing was pushed then.
func (w *Writer) Write(ctx context.Context, changes []Change) ([]Result, error) {
	pending := make([]*pendingChange, len(changes))
	known := true
	for i, c := range changes {
		pending[i] = &pendingChange{Change: c}
		_, branch := w.tips[c.Branch]
		_, target := w.tips[c.target()]
		known = known && branch && target
	}
	for attempt := 1; ; attempt++ {
		if !known {
			if err := w.Look(ctx, changes); err != nil {
				return nil, err
			}
		}
		results, err := w.attempt(ctx, pending)
		if err == nil {
			return results, nil
		}
		if !errors.Is(err, git.ErrStale) {
			return nil, err
		}
		if attempt == maxAttempts {
			return nil, fmt.Errorf("%d pushes were stale: %w; run it again when fewer others push to the branch", attempt, err)
		}
		if err := w.wait(ctx, attempt); err != nil {
			return nil, err
		}
		known = false
	}
}

// push pushes, and remembers the new tips.
func (w *Writer) push(ctx context.Context, updates []git.Update) error {
	if err := w.remote.Push(ctx, updates...); err != nil {
		return err
	}
	for _, u := range updates {
		if u.Draft.Changed() {
			w.tips[u.Branch] = u.Draft.Head()
		}
	}
	return nil
}

// attempt writes once, from the tips that were read last.
func (w *Writer) attempt(ctx context.Context, changes []*pendingChange) ([]Result, error) {
	if err := w.begin(ctx, changes); err != nil {
		return nil, err
	}
	updates, err := w.drafts(ctx, changes)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(changes))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, c := range changes {
		if results[i], err = w.judge(ctx, c); err != nil {
			return nil, fmt.Errorf("branch %s: %w", c.target(), err)
		}
		if results[i].Written {
			group.Go(func() error { return c.load(ctx) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, c := range changes {
		if !results[i].Written {
			continue
		}
		reviewed := w.tips[c.Review] // as second parent, so that the review branch only moves forward; "" without one
		commit, err := c.apply(ctx, reviewed)
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", c.target(), err)
		}
		if c.Review != "" {
			c.draft.MovesFrom(reviewed)
		}
		results[i].Commit = string(commit)
	}
	return results, w.push(ctx, updates)
}

// drafts assigns each change the draft of its branch, and reads the folders and their metadata.
func (w *Writer) drafts(ctx context.Context, changes []*pendingChange) ([]git.Update, error) {
	drafts := map[string]*git.Draft{}
	var updates []git.Update
	metadata := make([]git.Hash, len(changes))
	for i, c := range changes {
		target := c.target()
		if drafts[target] == nil {
			d, err := w.remote.Draft(ctx, w.tips[c.Branch])
			if err != nil {
				return nil, fmt.Errorf("branch %s: %w", target, err)
			}
			drafts[target] = d
			updates = append(updates, git.Update{Branch: target, Draft: d})
		}
		c.draft = drafts[target]
		items, err := c.draft.Items(ctx, c.Path)
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", target, err)
		}
		c.before = split(items)
		metadata[i] = c.before.metadata
	}
	return updates, w.remote.FetchFiles(ctx, metadata...)
}

// judge decides whether a change has to be written.
func (w *Writer) judge(ctx context.Context, c *pendingChange) (Result, error) {
	head := string(c.draft.Head())
	shown, ours, err := c.before.read(ctx, c.draft)
	if err != nil {
		return Result{}, err
	}
	if c.Review != "" {
		shown = shown.as(c.Change)
	}
	switch {
	case ours && c.before.shows(shown, c.Change):
		return Result{Commit: head, Base: head, Landed: c.Review != ""}, nil
	case c.Promotion != nil:
		if err := c.notMoved(ctx); err != nil {
			return Result{}, err
		}
	case ours:
		if newer, err := w.newer(ctx, shown, c.Change); err != nil || newer {
			return Result{Commit: head, Superseded: true}, err
		}
	}
	if c.Review != "" {
		return w.propose(ctx, c.Change, c.draft.Head())
	}
	return Result{Written: true}, nil
}

// newer reports whether a branch shows an artifact that was hydrated after the change's. The same artifact is never newer,
// only broken.
func (w *Writer) newer(ctx context.Context, shown Metadata, c Change) (bool, error) {
	if shown.Digest() == c.Digest || shown.DrySHA == c.GitOps.Commit {
		return false, nil
	}
	return w.ancestry.IsAncestor(ctx, c.GitOps.Commit, shown.DrySHA)
}

// pendingChange is a change under way. It keeps its files from one attempt to the next.
type pendingChange struct {
	Change
	draft  *git.Draft // of the branch that it writes to
	before folder     // what the draft has below the path
	files  map[string][]byte
	tree   git.Hash // of the files alone
}

// notMoved fails unless the path has the tree that the promotion was decided on.
func (c *pendingChange) notMoved(ctx context.Context) error {
	id, err := c.draft.ID(ctx, c.Path)
	if err != nil || id == c.Promotion.Expected {
		return err
	}
	return fmt.Errorf("%s %w: its tree was %s and is now %s", c.Path, ErrMoved, cmp.Or(c.Promotion.Expected, "nothing"), cmp.Or(id, "nothing"))
}

// apply commits the change's files to its draft.
func (c *pendingChange) apply(ctx context.Context, reviewed git.Hash) (git.Hash, error) {
	metadata, err := c.metadata(c.tree)
	if err != nil {
		return "", err
	}
	files := maps.Clone(c.files)
	files[MetadataFile] = metadata
	if c.Attributes {
		files[attributesFile] = []byte(attributes)
	}
	if err := c.draft.Replace(ctx, c.Path, files); err != nil {
		return "", err
	}
	return c.draft.Commit(c.commit(c.draft.Head(), reviewed))
}

// load reads the change's files, once.
func (c *pendingChange) load(ctx context.Context) error {
	if c.files != nil {
		return nil
	}
	tree, err := c.Tree(ctx)
	if err != nil {
		return err
	}
	files, err := readFiles(tree)
	if err != nil {
		return fmt.Errorf("files of %s: %w", c.Reference(), err)
	}
	for _, name := range []string{MetadataFile, attributesFile} {
		if _, taken := files[name]; taken {
			return fmt.Errorf("artifact %s has a file %s, a name that the branch keeps for a file beside the artifact", c.Reference(), name)
		}
	}
	if c.tree, err = git.TreeID(itemsOf(files)); err != nil {
		return fmt.Errorf("files of %s: %w", c.Reference(), err)
	}
	c.files = files
	return nil
}

func readFiles(tree fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = fs.ReadFile(tree, name)
		return err
	})
	return files, err
}

func itemsOf(files map[string][]byte) []git.Item {
	items := make([]git.Item, 0, len(files))
	for name, data := range files {
		items = append(items, git.Item{Path: name, Mode: git.ModeFile, ID: git.BlobID(data)})
	}
	return items
}

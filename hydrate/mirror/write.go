package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/retry"
)

// ErrMoved says that below an entry's path lies something else than when the entry was decided.
var ErrMoved = errors.New("was changed meanwhile")

// Trunk knows the history of the GitOps repository.
type Trunk interface {
	// IsAncestor tells whether ancestor comes before descendant, or is the same commit.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
}

// Result is what became of one entry.
type Result struct {
	// Commit is one at which the branch shows the entry's artifact: the new one, or the branch's head where nothing had to
	// be written. For a superseded entry it is the head, which shows a newer one.
	Commit     string
	Written    bool
	Superseded bool // the branch shows what a newer GitOps commit was hydrated to

	// Of an entry that is proposed for another branch: the commit of that branch that it was proposed on, and whether that
	// branch shows it already. Then there is nothing to propose, and Commit is that branch's head.
	Base  string
	Taken bool
}

// Writer writes to the branches of one remote. It remembers where they are, and is not safe for concurrent use.
type Writer struct {
	remote *git.Remote
	trunk  Trunk
	wait   func(ctx context.Context, attempt int) error
	tips   map[string]git.Hash // "" for branches that do not exist
}

// NewWriter writes to a remote's branches. Wait is called after each push that
// came too late, before the next attempt; see [Backoff].
func NewWriter(remote *git.Remote, trunk Trunk, wait func(ctx context.Context, attempt int) error) *Writer {
	return &Writer{remote: remote, trunk: trunk, wait: wait, tips: map[string]git.Hash{}}
}

// Backoff waits before attempt n+1: a random time of up to first·2ⁿ, at most
// a hundred times first, so that those who met once do not meet again.
// Random returns a number below n.
func Backoff(first time.Duration, random func(n int64) int64) func(context.Context, int) error {
	return func(ctx context.Context, attempt int) error {
		limit := min(first<<min(attempt, 10), 100*first)
		return retry.Sleep(ctx, time.Duration(random(int64(limit))+1))
	}
}

// Look finds out where the branches of the entries stand, with as few requests as
// for one of them. Write does so itself where it has not been done.
func (w *Writer) Look(ctx context.Context, entries []Entry) error {
	var branches []string
	for _, e := range entries {
		branches = append(branches, e.Branch)
		if e.Base != "" {
			branches = append(branches, e.Base)
		}
	}
	slices.Sort(branches)
	branches = slices.Compact(branches)
	tips, err := w.remote.Tips(ctx, branches...)
	if err != nil {
		return err
	}
	var heads []git.Hash
	for _, b := range branches {
		if w.tips[b] = tips[b]; tips[b] != "" {
			heads = append(heads, tips[b])
		}
	}
	return w.remote.FetchTrees(ctx, heads...)
}

// Write makes the branches show the entries, in one atomic push, and returns a
// result for each. An error is about all of them: nothing was pushed then.
func (w *Writer) Write(ctx context.Context, entries []Entry) ([]Result, error) {
	changes := make([]*change, len(entries))
	for i, e := range entries {
		changes[i] = &change{Entry: e}
	}
	known := !slices.ContainsFunc(entries, func(e Entry) bool {
		_, known := w.tips[e.Branch]
		_, based := w.tips[e.Base]
		return !known || e.Base != "" && !based
	})
	for attempt := 1; ; attempt++ {
		if !known {
			if err := w.Look(ctx, entries); err != nil {
				return nil, err
			}
		}
		results, err := w.attempt(ctx, changes)
		if err == nil {
			return results, nil
		}
		if !errors.Is(err, git.ErrStale) {
			return nil, err
		}
		if attempt == maxAttempts {
			return nil, fmt.Errorf("%d attempts came too late: %w; run it again when fewer others push to the branch", attempt, err)
		}
		if err := w.wait(ctx, attempt); err != nil {
			return nil, err
		}
		known = false
	}
}

// attempt writes once, from where the branches were when they were looked at.
func (w *Writer) attempt(ctx context.Context, changes []*change) ([]Result, error) {
	if err := w.begin(ctx, changes); err != nil {
		return nil, err
	}
	results, updates, err := w.prepare(ctx, changes)
	if err != nil {
		return nil, err
	}
	if err := w.remote.Push(ctx, updates...); err != nil {
		return nil, err
	}
	w.moved(updates)
	return results, nil
}

// change is an entry to be written, with its files once they are known.
type change struct {
	Entry
	files map[string][]byte
	tree  git.Hash // of the files alone
}

// prepare makes a draft of every branch that has to change.
func (w *Writer) prepare(ctx context.Context, changes []*change) ([]Result, []git.Update, error) {
	drafts := map[string]*git.Draft{}
	var updates []git.Update
	standing := make([]folder, len(changes))
	var metadata []git.Hash
	for i, c := range changes {
		d := drafts[c.Branch]
		if d == nil {
			var err error
			if d, err = w.remote.Draft(ctx, w.tips[cmp.Or(c.Base, c.Branch)]); err != nil {
				return nil, nil, fmt.Errorf("branch %s: %w", c.Branch, err)
			}
			drafts[c.Branch] = d
			updates = append(updates, git.Update{Branch: c.Branch, Draft: d})
		}
		items, err := d.Items(ctx, c.Path)
		if err != nil {
			return nil, nil, fmt.Errorf("branch %s: %w", c.Branch, err)
		}
		standing[i] = split(items)
		if id := standing[i].metadata; id != "" {
			metadata = append(metadata, id)
		}
	}
	if err := w.remote.FetchFiles(ctx, metadata...); err != nil {
		return nil, nil, err
	}
	results := make([]Result, len(changes))
	var group errgroup.Group
	group.SetLimit(concurrency)
	for i, c := range changes {
		var err error
		if results[i], err = w.judge(ctx, c.Entry, drafts[c.Branch], standing[i]); err != nil {
			return nil, nil, fmt.Errorf("branch %s: %w", c.Branch, err)
		}
		if results[i].Written {
			group.Go(func() error { return c.load(ctx) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, c := range changes {
		if !results[i].Written {
			continue
		}
		d := drafts[c.Branch]
		if c.Base != "" {
			c.Merge = w.tips[c.Branch] // what the review branch had before, so that it only moves forward
		}
		commit, err := c.apply(ctx, d)
		if err != nil {
			return nil, nil, fmt.Errorf("branch %s: %w", c.Branch, err)
		}
		if c.Base != "" {
			d.MovesFrom(w.tips[c.Branch])
		}
		results[i].Commit = string(commit)
	}
	return results, updates, nil
}

// judge says whether an entry has to be written where a folder stands.
func (w *Writer) judge(ctx context.Context, e Entry, d *git.Draft, before folder) (Result, error) {
	if e.Base != "" {
		return w.propose(ctx, e, d, before)
	}
	shown, ours, err := before.read(ctx, d)
	if err != nil {
		return Result{}, err
	}
	if ours && before.shows(shown, e) {
		return Result{Commit: string(d.Head())}, nil
	}
	if e.Over != nil {
		return Result{Written: true}, e.notMoved(ctx, d)
	}
	if !ours {
		return Result{Written: true}, nil
	}
	newer, err := w.newer(ctx, shown, e)
	if err != nil || !newer {
		return Result{Written: true}, err
	}
	return Result{Commit: string(d.Head()), Superseded: true}, nil
}

// notMoved fails unless below the path lies what the entry was decided over.
func (e Entry) notMoved(ctx context.Context, d *git.Draft) error {
	id, err := d.ID(ctx, e.Path)
	if err != nil || id == *e.Over {
		return err
	}
	name := func(h git.Hash) string {
		if h == "" {
			return "nothing"
		}
		return "tree " + string(h)
	}
	return fmt.Errorf("%s %w: there lay %s, and now lies %s", e.Path, ErrMoved, name(*e.Over), name(id))
}

// apply puts the entry's files on its branch's draft.
func (c *change) apply(ctx context.Context, d *git.Draft) (git.Hash, error) {
	files, err := c.all()
	if err != nil {
		return "", err
	}
	if err := d.Replace(ctx, c.Path, files); err != nil {
		return "", err
	}
	return d.Commit(c.commit(d.Head()))
}

// newer says whether what a branch shows was hydrated after the entry. What
// shows the same artifact is never newer, only broken.
func (w *Writer) newer(ctx context.Context, shown Metadata, e Entry) (bool, error) {
	if shown.Digest() == digestOf(e.Artifact) || shown.DrySHA == e.GitOps.Commit {
		return false, nil
	}
	return w.trunk.IsAncestor(ctx, e.GitOps.Commit, shown.DrySHA)
}

// load reads the entry's files, once.
func (c *change) load(ctx context.Context) error {
	if c.files != nil {
		return nil
	}
	tree, err := c.Tree(ctx)
	if err != nil {
		return err
	}
	files, err := readFiles(tree)
	if err != nil {
		return fmt.Errorf("files of %s: %w", c.Artifact, err)
	}
	for _, name := range []string{MetadataFile, attributesFile} {
		if _, taken := files[name]; taken {
			return fmt.Errorf("artifact %s holds a file %s, which lies beside the artifact on the branch", c.Artifact, name)
		}
	}
	if c.tree, err = git.TreeID(itemsOf(files)); err != nil {
		return fmt.Errorf("files of %s: %w", c.Artifact, err)
	}
	c.files = files
	return nil
}

// all are the files of the folder: the artifact's, and those beside them.
func (c *change) all() (map[string][]byte, error) {
	metadata, err := c.metadata(c.tree)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{MetadataFile: metadata}
	if c.GitAttributes {
		files[attributesFile] = []byte(attributes)
	}
	for name, data := range c.files {
		files[name] = data
	}
	return files, nil
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

// folder is what lies below a path on a branch.
type folder struct {
	files                []git.Item // but for the two beside the artifact
	metadata, attributes git.Hash   // "" where absent
}

// split tells the files beside the artifact's from these. A .gitattributes with other content than ours is none of them: it
// could change how all the others are checked out, and hide them from reviewers.
func split(items []git.Item) folder {
	var f folder
	ours := git.BlobID([]byte(attributes))
	for _, item := range items {
		switch {
		case item.Path == MetadataFile && item.Mode == git.ModeFile:
			f.metadata = item.ID
		case item.Path == attributesFile && item.Mode == git.ModeFile && item.ID == ours:
			f.attributes = item.ID
		default:
			f.files = append(f.files, item)
		}
	}
	return f
}

// read returns the folder's metadata, if it is ours.
func (f folder) read(ctx context.Context, d *git.Draft) (Metadata, bool, error) {
	if f.metadata == "" {
		return Metadata{}, false, nil
	}
	files, err := d.Files(ctx, f.metadata)
	if err != nil {
		return Metadata{}, false, err
	}
	m, err := ParseMetadata(files[f.metadata])
	return m, err == nil, nil // what is not ours shows nothing
}

// shows says whether the folder is what Write would make of an entry, but for the GitOps commit.
func (f folder) shows(m Metadata, e Entry) bool {
	want := git.Hash("")
	if e.GitAttributes {
		want = git.BlobID([]byte(attributes))
	}
	tree, err := git.TreeID(f.files)
	return err == nil && f.attributes == want && m.Lockage == e.facts(tree)
}

package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/internal/retry"
)

// ErrMoved is returned by Write if the path of a promotion no longer has the tree that it was decided on.
var ErrMoved = errors.New("was changed meanwhile")

// Result is the outcome of one change.
type Result struct {
	// Commit shows the change's artifact: the new commit, or the branch's head if nothing had to be written. For a
	// superseded change it is the head, which shows a newer artifact.
	Commit     string
	Written    bool
	Superseded bool // by another hydration: the ledger has a newer one, or the branch shows one of another release

	Entry    *Entry // of a hydration: what the ledger has now
	Recorded bool   // that is new
	Replaced *Entry // what it had before; nil for nothing
	Err      error  // [ErrTaken], which concerns no other change

	// Base is the commit that a proposal was made on. Landed reports that the branch that it is for shows the artifact
	// already: then nothing is proposed, and Commit is that branch's head.
	Base   string
	Landed bool
}

// Writer writes to the branches of one remote. It remembers their tips, and is not safe for concurrent use.
type Writer struct {
	remote *git.Remote
	wait   func(ctx context.Context, attempt int) error
	tips   map[string]git.Hash // "" for branches that do not exist
}

// NewWriter writes to a remote's branches. It calls wait after each stale push, before the next attempt; see [Backoff].
func NewWriter(remote *git.Remote, wait func(ctx context.Context, attempt int) error) *Writer {
	return &Writer{remote: remote, wait: wait, tips: map[string]git.Hash{}}
}

// Backoff waits before attempt n+1: a random time of up to first·2ⁿ, at most a hundred times first, so that writers that
// collided once do not collide again. Random returns a number below n.
func Backoff(first time.Duration, random func(n int64) int64) func(context.Context, int) error {
	return func(ctx context.Context, attempt int) error {
		limit := min(first<<min(attempt, 10), 100*first)
		return retry.Sleep(ctx, time.Duration(random(int64(limit))+1))
	}
}

// Write makes the branches show the changes, in one atomic push, and returns a result for each. An error is about all of
// them: nothing was pushed then.
func (w *Writer) Write(ctx context.Context, changes []Change) ([]Result, error) {
	pending := make([]*pendingChange, len(changes))
	var shared memo.Map[git.Hash, git.Blob]
	for i, c := range changes {
		pending[i] = &pendingChange{Change: c, as: c.Artifact, shared: &shared}
	}
	for attempt := 1; ; attempt++ {
		if err := w.look(ctx, changes); err != nil {
			return nil, err
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
		clear(w.tips)
	}
}

// look reads the tips of the branches of the changes, with as few requests as for one of them, unless all are known.
func (w *Writer) look(ctx context.Context, changes []Change) error {
	var branches []string
	known := true
	for _, c := range changes {
		for _, b := range []string{c.Branch, c.Review, c.candidates()} {
			if _, read := w.tips[b]; b != "" && !slices.Contains(branches, b) {
				branches, known = append(branches, b), known && read
			}
		}
	}
	if known {
		return nil
	}
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
	group.SetLimit(min(concurrency, 2*runtime.GOMAXPROCS(0))) // it unpacks and hashes
	for i, c := range changes {
		c.Artifact = c.as
		if results[i], err = w.judge(ctx, c); err != nil {
			return nil, fmt.Errorf("branch %s: %w", c.target(), err)
		}
		if results[i].Written {
			group.Go(func() error { return c.load(ctx, w.remote) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := w.apply(ctx, changes, results); err != nil {
		return nil, err
	}
	return results, w.push(ctx, updates)
}

// apply puts the files and entries of the changes into the drafts of their branches. The candidates on one branch are one commit.
func (w *Writer) apply(ctx context.Context, changes []*pendingChange, results []Result) error {
	together := map[*git.Draft][]*pendingChange{}
	for i, c := range changes {
		var err error
		if results[i].Written {
			err = c.replace(ctx)
		}
		switch {
		case err != nil || !results[i].Written:
		case c.Hydration != nil:
			together[c.draft] = append(together[c.draft], c)
		default:
			err = c.commit(w.tips[c.Review])
		}
		if err != nil {
			return fmt.Errorf("branch %s: %w", c.target(), err)
		}
		if results[i].Recorded {
			if err := c.enter(ctx); err != nil {
				return fmt.Errorf("branch %s: %w", c.candidates(), err)
			}
			together[c.ledger] = append(together[c.ledger], c)
		}
	}
	for draft, own := range together {
		if _, err := draft.Commit(commitOf("", "", own...)); err != nil {
			return fmt.Errorf("%s: %w", own[0].Reference(), err)
		}
	}
	for i, c := range changes {
		if results[i].Written {
			results[i].Commit = string(c.draft.Head())
		}
	}
	return nil
}

// commit commits a promotion, or a proposal that replaces the head of its review branch, "" for none: reviewers see one commit, which
// a forge may merge, squash or rebase.
func (c *pendingChange) commit(reviewed git.Hash) (err error) {
	base := git.Hash("")
	if c.Review != "" {
		base = c.draft.Head()
	}
	commit := commitOf(c.recorded, base, c)
	if c.Promotion != nil && c.Promotion.Merge != "" {
		commit.Merged = []git.Hash{c.Promotion.Merge}
	}
	if c.pushed, err = c.draft.Commit(commit); c.Review != "" {
		c.draft.MovesFrom(reviewed)
	}
	return err
}

// drafts assigns each change the drafts of its branches, and reads the folders, their metadata and the entries. The stage
// branches come first: where a server moves branches one by one, no entry is written whose branch is not.
func (w *Writer) drafts(ctx context.Context, changes []*pendingChange) ([]git.Update, error) {
	drafts := map[string]*git.Draft{}
	var updates []git.Update
	draft := func(branch, from string) (*git.Draft, error) {
		if drafts[branch] != nil {
			return drafts[branch], nil
		}
		d, err := w.remote.Draft(ctx, w.tips[from])
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", branch, err)
		}
		drafts[branch] = d
		updates = append(updates, git.Update{Branch: branch, Draft: d})
		return d, nil
	}
	var wanted []git.Hash
	for _, c := range changes {
		if c.Branch == "" {
			continue
		}
		var err error
		if c.draft, err = draft(c.target(), c.Branch); err != nil {
			return nil, err
		}
		items, err := c.draft.Items(ctx, c.Path)
		if err != nil {
			return nil, fmt.Errorf("branch %s: %w", c.target(), err)
		}
		c.before, c.below = split(items)
		wanted = append(wanted, c.before.metadata)
	}
	var entries []Candidate
	for _, c := range changes {
		if c.candidates() == "" {
			continue
		}
		var err error
		if c.ledger, err = draft(c.candidates(), c.candidates()); err != nil {
			return nil, err
		}
		entries = append(entries, c.entry())
	}
	known, err := candidatesAt(ctx, w.remote, w.tips, entries, wanted...)
	for _, c := range changes {
		c.entries = known
	}
	return updates, err
}

// judge decides what of a change has to be written.
func (w *Writer) judge(ctx context.Context, c *pendingChange) (r Result, err error) {
	if c.Branch != "" && (c.Promotion == nil || c.Promotion.First) {
		if err := c.taken(ctx, w.remote); errors.Is(err, ErrTaken) {
			return Result{Err: err}, nil
		} else if err != nil {
			return r, err
		}
	}
	if c.Hydration != nil {
		if r, err = c.record(ctx); err != nil || r.Superseded || c.Branch == "" {
			return r, err
		}
	}
	err = w.judgePlace(ctx, c, &r)
	return r, err
}

// judgePlace decides whether a change has to be written to its place.
func (w *Writer) judgePlace(ctx context.Context, c *pendingChange, r *Result) error {
	shown, ours, err := readMetadata(ctx, w.remote, c.before.metadata)
	if err != nil {
		return err
	}
	shows := false
	if c.Promotion == nil && ours {
		if shows, err = c.before.shows(ctx, shown, c.Change); err != nil {
			return err
		}
	}
	r.Commit = string(c.draft.Head())
	switch {
	case c.pushed != "" && c.pushed == c.draft.Head(): // the answer to the last push was lost
		return nil
	case shows:
		r.Base, r.Landed = r.Commit, c.Review != ""
		return nil
	case c.Promotion != nil:
		if err := c.notMoved(ctx); err != nil {
			return err
		}
	case ours && c.Hydration != nil:
		if overtaken, err := c.overtaken(ctx, shown); err != nil || overtaken {
			r.Superseded = true
			return err
		}
	}
	if c.Review != "" {
		return w.propose(ctx, c.Change, r)
	}
	r.Written = true
	return nil
}

// pendingChange is a change under way. It keeps its files from one attempt to the next.
type pendingChange struct {
	Change
	as       Artifact   // the change's own, which an entry of the same artifact may replace
	draft    *git.Draft // of the branch that it writes to; nil without a place
	ledger   *git.Draft // of its candidates branch; nil if it has none here
	entries  *Candidates
	before   folder     // what the draft has below the path
	below    []git.Item // of that, all but the files beside the artifact's
	files    map[string]git.Blob
	shared   *memo.Map[git.Hash, git.Blob] // contents of the changes that are written together: stages have most definitions in common
	recorded digest.Digest                 // the promotion's record in the last attempt
	pushed   git.Hash                      // the commit of the last attempt
}

// notMoved fails unless the path has the tree that the promotion was decided on.
func (c *pendingChange) notMoved(ctx context.Context) error {
	id, err := c.draft.ID(ctx, c.Path)
	if err != nil || id == c.Promotion.Expected {
		return err
	}
	return fmt.Errorf("%s %w: its tree was %s and is now %s", c.Path, ErrMoved, cmp.Or(c.Promotion.Expected, "nothing"), cmp.Or(id, "nothing"))
}

// replace puts the change's files into its draft.
func (c *pendingChange) replace(ctx context.Context) error {
	if c.Promotion != nil && c.Promotion.Bare {
		return c.replaceStatements(ctx)
	}
	metadata, err := c.metadata(ctx)
	if err != nil {
		return err
	}
	files := maps.Clone(c.files)
	files[MetadataFile] = git.NewBlob(metadata)
	files[attributesFile] = git.NewBlob([]byte(c.attributes()))
	if c.Promotion != nil {
		statements, err := c.attest(ctx, itemsOf(files))
		if err != nil {
			return err
		}
		files[StatementsFile] = git.NewBlob(statements)
	}
	return c.draft.Replace(ctx, c.Path, files)
}

// replaceStatements changes the statements of the draft's folder alone.
func (c *pendingChange) replaceStatements(ctx context.Context) error {
	items, err := c.draft.Items(ctx, c.Path)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	items = slices.DeleteFunc(items, func(item git.Item) bool { return item.Path == StatementsFile })
	if len(items) == 0 {
		files[attributesFile] = []byte(c.attributes())
		items = []git.Item{{Path: attributesFile, Mode: git.ModeFile, ID: git.BlobID(files[attributesFile])}}
	}
	if files[StatementsFile], err = c.attest(ctx, items); err != nil {
		return err
	}
	return c.draft.Put(ctx, c.Path, files)
}

// attest makes the statements of the promotion for a folder.
func (c *pendingChange) attest(ctx context.Context, items []git.Item) ([]byte, error) {
	tree, err := git.TreeID(items)
	if err != nil {
		return nil, err
	}
	p := c.Promotion
	if p.From != nil {
		if err := c.draft.Bring(ctx, p.From, p.Merge); err != nil {
			return nil, err
		}
	}
	statements, err := p.Attest(ctx, cmp.Or(c.draft.Head(), p.Merge), tree)
	if err != nil {
		return nil, err
	}
	c.recorded = statements.Record
	return statements.encode()
}

// load reads the change's files, once. Those that the remote has already are not read.
func (c *pendingChange) load(ctx context.Context, remote *git.Remote) error {
	if c.files != nil || c.Promotion != nil && c.Promotion.Bare {
		return nil
	}
	if c.files = c.Compared.blobs(remote, c.Content); c.files != nil {
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
	for _, name := range []string{MetadataFile, attributesFile, StatementsFile} {
		if _, taken := files[name]; taken {
			return fmt.Errorf("artifact %s has a file %s, a name that the branch keeps for a file beside the artifact", c.Reference(), name)
		}
	}
	id, err := git.TreeID(itemsOf(files))
	if err == nil && c.Files != "" && c.Files != id {
		err = fmt.Errorf("their tree is %s, and what was signed says %s", id, c.Files)
	}
	if err != nil {
		return fmt.Errorf("files of %s: %w", c.Reference(), err)
	}
	c.keep(files)
	c.files = files
	return nil
}

// keep holds the contents of files in little memory: the changes of a run are all in memory until they are pushed together. What the
// branch has is not sent, nor kept.
func (c *pendingChange) keep(files map[string]git.Blob) {
	sent := map[git.Hash]bool{}
	for _, item := range c.below {
		sent[item.ID] = item.Mode == git.ModeFile || sent[item.ID]
	}
	deflater := git.NewDeflater()
	for name, blob := range files {
		if sent[blob.ID] {
			files[name] = git.SentBlob(blob.ID)
			continue
		}
		files[name], _ = c.shared.Get(blob.ID, func() (git.Blob, error) { return deflater.Deflate(blob), nil })
	}
}

func readFiles(tree fs.FS) (map[string]git.Blob, error) {
	files := map[string]git.Blob{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(tree, name)
		if err == nil {
			files[name] = git.NewBlob(data)
		}
		return err
	})
	return files, err
}

// FilesID returns Git's id of the folder that holds an artifact's files alone.
func FilesID(tree fs.FS) (git.Hash, error) {
	files, err := readFiles(tree)
	if err != nil {
		return "", err
	}
	return git.TreeID(itemsOf(files))
}

func itemsOf(files map[string]git.Blob) []git.Item {
	items := make([]git.Item, 0, len(files))
	for name, blob := range files {
		items = append(items, git.Item{Path: name, Mode: git.ModeFile, ID: blob.ID})
	}
	return items
}

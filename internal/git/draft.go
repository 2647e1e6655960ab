package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// ErrOccupied is returned if something else than a folder is at the path of a folder to write.
var ErrOccupied = errors.New("is in the way")

// Draft is the new state of a branch of a remote: the files at its tip, and commits on top that replace whole folders or
// single files. It is in memory until [Remote.Push] sends it. Everything else stays byte for byte. It is not safe for
// concurrent use.
type Draft struct {
	remote  *Remote
	base    Hash // the branch's tip; "" for a branch that does not exist
	head    Hash // base, or the last commit made
	time    time.Time
	root    plumbing.Hash // tree with the replacements so far; zero for no files
	objects map[plumbing.Hash]encoded
	order   []plumbing.Hash // of objects to push, in order of creation
	done    int             // objects at the beginning of order that commits name, or will
	asked   bool            // all trees of base were fetched
}

// Signature is the author of a commit.
type Signature struct{ Name, Email string }

// String returns NAME <EMAIL>.
func (s Signature) String() string { return s.Name + " <" + s.Email + ">" }

// NewCommit is a commit to make. Its author is its committer.
type NewCommit struct {
	By      Signature
	When    time.Time // to the second; written in UTC, and never before the parent's time
	Message string
	// Merged are further parents, beside the draft's head. They have to be on the remote, or brought from another one.
	Merged []Hash
	// Sign returns the value of the gpgsig header for the commit's bytes; nil for no signature.
	Sign func(payload []byte) (string, error)
}

// Draft starts from a commit, which has to be on the remote, or from "" for a branch without history.
func (r *Remote) Draft(ctx context.Context, base Hash) (*Draft, error) {
	d := &Draft{remote: r, base: base, head: base, objects: map[plumbing.Hash]encoded{}}
	if base == "" {
		return d, nil
	}
	commit, err := r.load(ctx, base, shapeTrees)
	if err != nil {
		return nil, err
	}
	d.time, d.root = commit.Committed, commit.Tree.id()
	return d, nil
}

// FetchTrees fetches absent commits, their ancestors of some generations (1 is the commits alone), and all their trees,
// without files, in one round trip.
func (r *Remote) FetchTrees(ctx context.Context, generations int, commits ...Hash) error {
	absent := r.absent(ctx, commits)
	if len(absent) == 0 || r.local != nil {
		return nil
	}
	return r.fetch(ctx, want{ids: absent, commit: absent[0], shape: shapeTrees, generations: generations})
}

// absent returns the ids of objects that are not on disk, each once. It leaves out "".
func (c *commits) absent(ctx context.Context, ids []Hash) []plumbing.Hash {
	var absent []plumbing.Hash
	seen := map[Hash]bool{"": true}
	for _, h := range ids {
		if !seen[h] && !c.from.has(ctx, h.id()) {
			absent = append(absent, h.id())
		}
		seen[h] = true
	}
	return absent
}

// FetchFiles fetches absent files by their ids, in one round trip.
func (c *commits) FetchFiles(ctx context.Context, ids ...Hash) error {
	absent := c.absent(ctx, ids)
	if len(absent) == 0 {
		return nil
	}
	return c.from.fetch(ctx, want{ids: absent})
}

// MovesFrom makes the draft one of a branch whose tip is another commit than the draft's first, or "" for a branch that
// does not exist yet. [Remote.Push] then moves the branch from there. Call it after the last commit; unless tip is among
// its merged parents, the push is not a fast-forward, and a server may refuse it.
func (d *Draft) MovesFrom(tip Hash) { d.base = tip }

// Head returns the last commit: the first one if the draft made none; "" without any.
func (d *Draft) Head() Hash { return d.head }

// Changed reports whether the draft has a commit to push.
func (d *Draft) Changed() bool { return d.head != d.base }

// tree reads a tree that the draft made or the remote has.
func (d *Draft) tree(ctx context.Context, id plumbing.Hash) ([]entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	obj, ok := d.objects[id]
	if !ok {
		var err error
		obj, err = d.remote.read(ctx, id)
		if errors.Is(err, errMissing) && !d.asked && d.base != "" {
			d.asked = true
			if err := d.remote.fetch(ctx, want{ids: []plumbing.Hash{d.base.id()}, commit: d.base.id(), shape: shapeTrees}); err != nil {
				return nil, err
			}
		}
		if err != nil {
			if obj, err = loadAs(ctx, d.remote, want{ids: []plumbing.Hash{id}, commit: d.base.id()}); err != nil {
				return nil, err
			}
		}
	}
	data, err := obj.as(plumbing.TreeObject, id, d.remote)
	if err != nil {
		return nil, err
	}
	return parseRawTree(data, id, d.remote)
}

// find follows a path of folders, but no links. A missing folder is the zero id, anything but a folder ErrOccupied.
func (d *Draft) find(ctx context.Context, dir string) (plumbing.Hash, error) {
	at := d.root
	parts := splitPath(dir)
	for i, part := range parts {
		entries, err := d.tree(ctx, at)
		if err != nil {
			return at, err
		}
		j := indexOf(entries, part)
		if j < 0 {
			return plumbing.ZeroHash, nil
		}
		if entries[j].mode != filemode.Dir {
			return at, occupied(strings.Join(parts[:i+1], "/"), entries[j])
		}
		at = entries[j].id
	}
	return at, nil
}

func occupied(name string, e entry) error {
	return fmt.Errorf("%s is a %s, and a folder is to be written there: it %w, move it away or choose another folder", name, e.kind(), ErrOccupied)
}

// Items lists all files below a folder, links and submodules too, by path. Anything but a folder is ErrOccupied.
func (d *Draft) Items(ctx context.Context, dir string) ([]Item, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	var items []Item
	left := maxPaths
	root, err := d.find(ctx, dir)
	if err == nil {
		err = d.walk(ctx, root, "", &items, &left)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.remote, err)
	}
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Path, b.Path) })
	return items, nil
}

// walk lists the files of a folder. It counts folders too: a few folders that each hold the next one twice have endless paths.
func (d *Draft) walk(ctx context.Context, id plumbing.Hash, prefix string, items *[]Item, left *int) error {
	entries, err := d.tree(ctx, id)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(prefix, e.name)
		if *left--; *left < 0 || strings.Count(name, "/") > maxDepth {
			return fmt.Errorf("more than %d files and folders, or folders %d deep, below one folder", maxPaths, maxDepth)
		}
		if e.mode != filemode.Dir {
			*items = append(*items, Item{name, e.raw, hashOf(e.id)})
		} else if err := d.walk(ctx, e.id, name, items, left); err != nil {
			return err
		}
	}
	return nil
}

// ID returns the id of a folder with the replacements so far, "" without one. Anything but a folder is ErrOccupied.
func (d *Draft) ID(ctx context.Context, dir string) (Hash, error) {
	if err := checkDir(dir); err != nil {
		return "", err
	}
	id, err := d.find(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.remote, err)
	}
	if id.IsZero() {
		return "", nil
	}
	return hashOf(id), nil
}

// Blob is the content of a file under its id, which is computed once.
type Blob struct {
	ID       Hash
	data     []byte
	deflated []byte // instead of data: see [Deflater]
	length   int    // of the data then
	sent     bool   // the remote has it
}

func (b Blob) encoded() encoded {
	return encoded{kind: plumbing.BlobObject, data: b.data, deflated: b.deflated, length: b.length}
}

// NewBlob returns the blob of a content.
func NewBlob(data []byte) Blob { return Blob{ID: BlobID(data), data: data} }

// SentBlob returns a blob that the remote has, since a branch of it that was read does.
func SentBlob(id Hash) Blob { return Blob{ID: id, sent: true} }

// Replace makes a folder hold these files and nothing else: blobs by path below it. It creates a missing folder.
func (d *Draft) Replace(ctx context.Context, dir string, files map[string]Blob) error {
	before, err := d.Items(ctx, dir)
	if err != nil {
		return err
	}
	known := map[Hash]bool{}
	for _, item := range before {
		known[item.ID] = item.Mode == ModeFile || known[item.ID] // what is in the place of a submodule is in another repository
	}
	items := make([]Item, 0, len(files))
	for name, blob := range files {
		obj := blob.encoded()
		if err := checkSize(path.Join(dir, name), obj.size()); err != nil {
			return err
		}
		items = append(items, Item{name, ModeFile, blob.ID})
		if !blob.sent && !known[blob.ID] {
			d.keepAs(blob.ID.id(), obj)
		}
	}
	sub, err := buildTree(items, d.keep)
	if err != nil {
		return fmt.Errorf("folder %s: %w", dir, err)
	}
	return d.place(ctx, dir, sub)
}

// FileID returns the id of a file with the replacements so far, "" without one.
func (d *Draft) FileID(ctx context.Context, name string) (Hash, error) {
	at, err := d.find(ctx, path.Dir(name))
	var entries []entry
	if err == nil {
		entries, err = d.tree(ctx, at)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", d.remote, err)
	}
	i := indexOf(entries, path.Base(name))
	if i < 0 || entries[i].raw != ModeFile {
		return "", nil
	}
	return hashOf(entries[i].id), nil
}

// Remove removes files of a folder by their names, and keeps everything else in it.
func (d *Draft) Remove(ctx context.Context, dir string, names ...string) error {
	at, err := d.find(ctx, dir)
	var entries []entry
	if err == nil {
		entries, err = d.tree(ctx, at)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.remote, err)
	}
	kept := slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return e.mode != filemode.Dir && slices.Contains(names, e.name) })
	if len(kept) == len(entries) {
		return nil
	}
	return d.place(ctx, dir, d.keep(encoded{kind: plumbing.TreeObject, data: encodeTree(kept)}))
}

// Put writes files to a folder, contents by name, and keeps everything else in it. It creates a missing folder; "." is the
// root. It replaces files and links of these names; anything else is ErrOccupied.
func (d *Draft) Put(ctx context.Context, dir string, files map[string][]byte) error {
	if dir != "." {
		if err := checkDir(dir); err != nil {
			return err
		}
	}
	var entries []entry
	at, err := d.find(ctx, dir)
	if err == nil {
		entries, err = d.tree(ctx, at)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.remote, err)
	}
	for name, data := range files {
		full := path.Join(dir, name)
		if !goodName(name) {
			return fmt.Errorf("invalid file name %q", full)
		}
		if err := checkSize(full, len(data)); err != nil {
			return err
		}
		i := indexOf(entries, name)
		if i < 0 {
			i = len(entries)
			entries = append(entries, entry{})
		} else if e := entries[i]; e.mode == filemode.Dir || e.mode == filemode.Submodule {
			return fmt.Errorf("%s: %s is a %s, and a file is to be written there: it %w, move it away", d.remote, full, e.kind(), ErrOccupied)
		}
		entries[i] = newEntry(ModeFile, name, d.keep(encoded{kind: plumbing.BlobObject, data: data}))
	}
	return d.place(ctx, dir, d.keep(encoded{kind: plumbing.TreeObject, data: encodeTree(entries)}))
}

func checkSize(name string, size int) error {
	if size > MaxObjectBytes {
		return fmt.Errorf("%s has %d bytes, above the limit of %d", name, size, MaxObjectBytes)
	}
	return nil
}

func checkDir(dir string) error {
	if !fs.ValidPath(dir) || dir == "." || slices.ContainsFunc(strings.Split(dir, "/"), func(part string) bool { return !goodName(part) }) {
		return fmt.Errorf("%q is not a folder below the root", dir)
	}
	return nil
}

// place makes a folder hold this tree.
func (d *Draft) place(ctx context.Context, dir string, sub plumbing.Hash) error {
	root, err := d.graft(ctx, d.root, splitPath(dir), "", sub)
	if err != nil {
		return fmt.Errorf("%s: %w", d.remote, err)
	}
	d.root = root
	return nil
}

// graft puts a tree at a path below another tree, and returns the new tree.
func (d *Draft) graft(ctx context.Context, at plumbing.Hash, parts []string, prefix string, sub plumbing.Hash) (plumbing.Hash, error) {
	if len(parts) == 0 {
		return sub, nil
	}
	entries, err := d.tree(ctx, at)
	if err != nil {
		return at, err
	}
	name := path.Join(prefix, parts[0])
	i := indexOf(entries, parts[0])
	if i < 0 {
		i = len(entries)
		entries = append(entries, newEntry(modeTree, parts[0], plumbing.ZeroHash))
	}
	if entries[i].mode != filemode.Dir {
		return at, occupied(name, entries[i])
	}
	child, err := d.graft(ctx, entries[i].id, parts[1:], name, sub)
	if err != nil || child == entries[i].id {
		return at, err
	}
	entries[i].id = child
	return d.keep(encoded{kind: plumbing.TreeObject, data: encodeTree(entries)}), nil
}

func (d *Draft) keep(obj encoded) plumbing.Hash { return d.keepAs(obj.id(), obj) }

func (d *Draft) keepAs(id plumbing.Hash, obj encoded) plumbing.Hash {
	if _, kept := d.objects[id]; !kept {
		d.objects[id] = obj
		d.order = append(d.order, id)
	}
	return id
}

// Commit commits the replacements since the last one. The same draft and the same commit have the same id.
func (d *Draft) Commit(n NewCommit) (Hash, error) {
	when := n.When.UTC()
	if when.Before(d.time) {
		when = d.time
	}
	root := d.root
	if root.IsZero() {
		return "", errors.New("the commit has no files")
	}
	head := fmt.Sprintf("tree %s\n", root)
	if d.head != "" {
		head += fmt.Sprintf("parent %s\n", d.head)
	}
	for _, parent := range n.Merged {
		head += fmt.Sprintf("parent %s\n", parent)
	}
	who := fmt.Sprintf("%s <%s> %d +0000", n.By.Name, n.By.Email, when.Unix())
	head += "author " + who + "\ncommitter " + who + "\n"
	body := "\n" + strings.TrimRight(n.Message, "\n") + "\n"
	if n.Sign != nil {
		signature, err := n.Sign([]byte(head + body))
		if err != nil {
			return "", fmt.Errorf("sign the commit: %w", err)
		}
		// Further lines of a header begin with a space.
		head += "gpgsig " + strings.ReplaceAll(strings.TrimRight(signature, "\n"), "\n", "\n ") + "\n"
	}
	if err := d.drop(); err != nil {
		return "", fmt.Errorf("%s: %w", d.remote, err)
	}
	d.head, d.time = hashOf(d.keep(encoded{kind: plumbing.CommitObject, data: []byte(head + body)})), when
	d.done = len(d.order)
	return d.head, nil
}

// drop forgets what was replaced since the last commit: many folders of one commit make one root after the other.
func (d *Draft) drop() error {
	named := map[plumbing.Hash]bool{} // objects since the last commit, whether the root leads to them
	for _, id := range d.order[d.done:] {
		named[id] = false
	}
	at := []plumbing.Hash{d.root}
	for len(at) > 0 {
		id := at[len(at)-1]
		at = at[:len(at)-1]
		if reached, kept := named[id]; reached || !kept {
			continue
		}
		named[id] = true
		if d.objects[id].kind != plumbing.TreeObject {
			continue
		}
		entries, err := parseRawTree(d.objects[id].data, id, d.remote)
		if err != nil {
			return err
		}
		for _, e := range entries {
			at = append(at, e.id)
		}
	}
	d.order = slices.DeleteFunc(d.order, func(id plumbing.Hash) bool {
		reached, kept := named[id]
		if kept && !reached {
			delete(d.objects, id)
		}
		return kept && !reached
	})
	return nil
}

package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
	"github.com/lockage/lockage/oci"
)

// ErrNotShown is returned by Check if no commit of a branch shows the artifact.
var ErrNotShown = errors.New("not shown")

// Place is a folder on a branch.
type Place struct {
	Branch string
	Path   string
}

// Difference is one file that differs from the artifact's: in content or mode if it is edited.
type Difference struct {
	Kind string // edited, added or removed
	Path string
}

func (d Difference) String() string { return d.Kind + " " + terminal.Blank(d.Path) }

// maxNamed bounds the differing files that a reason names.
const maxNamed = 20

// Names lists differences for a reason that people read, at most the first twenty.
func Names(differences []Difference) string {
	var names []string
	for _, d := range differences[:min(len(differences), maxNamed)] {
		names = append(names, d.String())
	}
	if more := len(differences) - maxNamed; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// Comparison is what [Check] found.
type Comparison struct {
	Commit      git.Hash     // the first of the newest version that names the artifact
	Differences []Difference // none if it has the artifact's files, bit for bit

	remote  *git.Remote
	content digest.Digest
	equal   []git.Item // the files, if they are the artifact's
}

// Check finds the newest version of a place that shows an artifact (by digest), and compares it with the artifact's tree, whose
// content digest is content. The error is ErrNotShown if no commit shows the artifact.
func Check(ctx context.Context, remote *git.Remote, at Place, artifact, content digest.Digest, tree fs.FS) (Comparison, error) {
	shows, err := find(ctx, remote, at, artifact)
	if err != nil {
		return Comparison{}, fmt.Errorf("branch %s of %s: %w", at.Branch, remote, err)
	}
	c := Comparison{Commit: shows.Commit, remote: remote, content: content}
	d, err := remote.Draft(ctx, shows.Commit)
	if err != nil {
		return c, err
	}
	items, err := d.Items(ctx, at.Path)
	if err != nil {
		return c, err
	}
	_, there := split(items)
	// The digest that was signed decides. Git's ids only say what differs.
	var got digest.Digest
	shown, err := Files(ctx, remote, shows.Commit, at.Path)
	if err == nil && shown != nil {
		got, err = oci.ContentDigest(shown)
	}
	if err == nil && got == content && shows.attributes != "" && plain(there) {
		c.equal = there
		return c, nil
	}
	files, unread := readFiles(tree)
	if unread != nil {
		return c, unread
	}
	c.Differences = compare(there, itemsOf(files))
	if shows.attributes == "" && !slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Path == attributesFile }) {
		c.Differences = append(c.Differences, Difference{"removed", attributesFile})
	}
	switch {
	case len(c.Differences) > 0:
		return c, nil
	case err == nil:
		err = fmt.Errorf("branch %s of %s: the files in %s at %s have the digest %s, the artifact's have %s, although their Git ids are equal",
			at.Branch, remote, at.Path, shows.Commit, got, content)
	}
	return c, err
}

// blobs returns the files of an artifact that a remote has, since they were compared with it there; nil if that is not known.
func (c Comparison) blobs(remote *git.Remote, content digest.Digest) map[string]git.Blob {
	if c.equal == nil || c.remote != remote || c.content != content {
		return nil
	}
	files := map[string]git.Blob{}
	for _, item := range c.equal {
		files[item.Path] = git.SentBlob(item.ID)
	}
	return files
}

// plain reports whether items are files as an artifact has them, neither links nor executable: their digest does not tell.
func plain(items []git.Item) bool {
	return !slices.ContainsFunc(items, func(i git.Item) bool { return i.Mode != git.ModeFile })
}

// find returns the newest version of a place that shows an artifact.
func find(ctx context.Context, remote *git.Remote, at Place, artifact digest.Digest) (shows Version, err error) {
	tips, err := remote.Tips(ctx, at.Branch)
	if err == nil {
		err = History(ctx, remote, tips[at.Branch], at.Path, func(v Version) (bool, error) {
			if v.Metadata.Digest() == artifact {
				shows = v
			}
			return shows.Commit == "", nil
		})
	}
	switch {
	case err != nil:
	case tips[at.Branch] == "":
		err = fmt.Errorf("artifact %s is %w: no such branch", artifact, ErrNotShown)
	case shows.Commit == "":
		err = fmt.Errorf("artifact %s is %w in %s by any of its commits", artifact, ErrNotShown, at.Path)
	}
	return shows, err
}

func compare(got, want []git.Item) []Difference {
	wanted := map[string]git.Item{}
	for _, item := range want {
		wanted[item.Path] = item
	}
	var differences []Difference
	for _, item := range got {
		w, ok := wanted[item.Path]
		delete(wanted, item.Path)
		switch {
		case !ok:
			differences = append(differences, Difference{"added", item.Path})
		case w != item:
			differences = append(differences, Difference{"edited", item.Path})
		}
	}
	for path := range wanted {
		differences = append(differences, Difference{"removed", path})
	}
	slices.SortFunc(differences, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return differences
}

// Files returns the files at a path in a commit, without the two beside an artifact's; nil for none. It does not check
// who wrote them.
func Files(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (fs.FS, error) {
	if commit == "" {
		return nil, nil //nolint:nilnil // there are no files
	}
	snapshot, err := remote.Snapshot(ctx, commit)
	if err != nil {
		return nil, err
	}
	if err := snapshot.Prefetch(ctx, path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // likewise
	} else if err != nil {
		return nil, err
	}
	files, err := fs.Sub(snapshot.FS(ctx), path)
	return artifactFiles{files}, err
}

// artifactFiles hides the files beside an artifact's.
type artifactFiles struct{ fs.FS }

// ReadDir implements [fs.ReadDirFS].
func (a artifactFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(a.FS, name)
	if name != "." {
		return entries, err
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == MetadataFile || e.Name() == attributesFile || e.Name() == StatementsFile
	}), err
}

// folder is the content of a path on a branch, by Git's ids, "" for what is absent.
type folder struct {
	Files                            git.Hash // the artifact's files alone, as a folder; "" if the place is none, or git itself would refuse it
	metadata, attributes, statements git.Hash // the files beside them
}

// resets and generates are Git's ids of our .gitattributes.
var resets, generates = git.BlobID([]byte(resetAttributes)), git.BlobID([]byte(generatedAttributes))

// attributes returns the content of .gitattributes beside the files of a change.
func (c Change) attributes() string {
	if c.Attributes {
		return generatedAttributes
	}
	return resetAttributes
}

// split separates the artifact's files from those beside them. A .gitattributes with other content than ours is one of
// the artifact's: it could change how all the others are checked out, and hide them from reviewers.
func split(items []git.Item) (f folder, files []git.Item) {
	for _, item := range items {
		switch {
		case item.Path == MetadataFile && item.Mode == git.ModeFile:
			f.metadata = item.ID
		case item.Path == attributesFile && item.Mode == git.ModeFile && (item.ID == resets || item.ID == generates):
			f.attributes = item.ID
		case item.Path == StatementsFile && item.Mode == git.ModeFile:
			f.statements = item.ID
		default:
			files = append(files, item)
		}
	}
	if id, err := git.TreeID(files); err == nil {
		f.Files = id
	}
	return f, files
}

// shows reports whether the folder, which has metadata of ours, is what Write would make of a candidate. On a review branch the GitOps
// commit may be an older one. All of it is computed from Git's objects: what the metadata says of its own folder proves nothing.
func (f folder) shows(ctx context.Context, m Metadata, c Change) (bool, error) {
	if f.Files == "" || f.Files != c.Files || f.attributes != git.BlobID([]byte(c.attributes())) {
		return false, nil
	}
	if c.Review != "" {
		return m.Lockage == c.facts(), nil
	}
	metadata, err := c.metadata(ctx)
	return f.metadata == git.BlobID(metadata), err
}

package mirror

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

// ErrNotShown says that no commit of a branch shows an artifact.
var ErrNotShown = errors.New("not shown")

// Place is a folder on a branch.
type Place struct {
	Branch string
	Path   string
}

// Finding is the newest commit that shows an artifact, and how the files there
// differ from the artifact's.
type Finding struct {
	Commit      string
	Differences []Difference // none: both are the same, bit for bit
}

// Difference is one file that differs.
type Difference struct {
	Path string
	Kind Kind
}

// Kind is what was done to a file of the artifact.
type Kind string

// The kinds of differences.
const (
	Edited  Kind = "edited" // content, or mode
	Added   Kind = "added"
	Removed Kind = "removed"
)

func (d Difference) String() string { return string(d.Kind) + " " + terminal.Blank(d.Path) }

// maxNamed bounds the differing files that a reason names.
const maxNamed = 20

// Names lists differences for a reason that people read; of many, the first.
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

// Check finds the newest commit of a branch that shows an artifact (by digest)
// and compares it with the artifact's tree, whose content digest is content.
// The error is ErrNotShown where there is no such commit.
func Check(ctx context.Context, remote *git.Remote, at Place, artifact, content digest.Digest, tree fs.FS) (Finding, error) {
	commit, items, err := find(ctx, remote, at, artifact)
	if err != nil {
		return Finding{}, fmt.Errorf("branch %s of %s: %w", at.Branch, remote, err)
	}
	found := Finding{Commit: string(commit)}
	files, err := readFiles(tree)
	if err != nil {
		return found, err
	}
	if found.Differences = compare(items, itemsOf(files)); len(found.Differences) > 0 {
		return found, nil
	}
	// Git's ids say that the bytes are equal; the digest that was signed has the last word.
	got, err := digestAt(ctx, remote, commit, at.Path)
	if err != nil {
		return found, err
	}
	if got != content {
		return found, fmt.Errorf("branch %s of %s: the files in %s at %s have the digest %s, the artifact's have %s, though Git calls them equal",
			at.Branch, remote, at.Path, commit, got, content)
	}
	return found, nil
}

// Shown is what a branch's head shows at a place; false where it is nothing of ours.
func Shown(ctx context.Context, remote *git.Remote, at Place) (Metadata, bool, error) {
	tips, err := remote.Tips(ctx, at.Branch)
	if err != nil || tips[at.Branch] == "" {
		return Metadata{}, false, err
	}
	m, _, ok, err := inspect(ctx, remote, tips[at.Branch], at.Path)
	return m, ok, err
}

// find walks back from the branch's head. Metadata decides. What other commits
// of ours say in their trailers spares a look at their files.
func find(ctx context.Context, remote *git.Remote, at Place, artifact digest.Digest) (git.Hash, []git.Item, error) {
	tips, err := remote.Tips(ctx, at.Branch)
	if err != nil {
		return "", nil, err
	}
	head := tips[at.Branch]
	if head == "" {
		return "", nil, fmt.Errorf("artifact %s is %w: there is no such branch", artifact, ErrNotShown)
	}
	var (
		commit  git.Hash
		items   []git.Item
		visited int
		foreign int
	)
	err = remote.Log(ctx, head, func(c git.Commit) (bool, error) {
		visited++
		switch named := trailer(c.Message, TrailerArtifact); {
		case c.Hash == head, digestOf(named) == artifact:
		case named != "":
			return visited < maxCommits, nil
		default:
			if foreign++; foreign > maxForeign {
				return visited < maxCommits, nil
			}
		}
		m, found, ok, err := inspect(ctx, remote, c.Hash, at.Path)
		if err != nil {
			return false, err
		}
		if ok && m.Digest() == artifact {
			commit, items = c.Hash, found
			return false, nil
		}
		return visited < maxCommits, nil
	})
	if err == nil && commit == "" {
		err = fmt.Errorf("artifact %s is %w in %s by any of its newest %d commits", artifact, ErrNotShown, at.Path, visited)
	}
	return commit, items, err
}

// inspect reads what a commit shows at a path: metadata of ours, and the artifact's files.
func inspect(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (Metadata, []git.Item, bool, error) {
	d, err := remote.Draft(ctx, commit)
	if err != nil {
		return Metadata{}, nil, false, err
	}
	items, err := d.Items(ctx, path)
	if errors.Is(err, git.ErrOccupied) {
		return Metadata{}, nil, false, nil
	}
	if err != nil {
		return Metadata{}, nil, false, err
	}
	f := split(items)
	m, ok, err := f.read(ctx, d)
	return m, f.files, ok, err
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
			differences = append(differences, Difference{item.Path, Added})
		case w != item:
			differences = append(differences, Difference{item.Path, Edited})
		}
	}
	for path := range wanted {
		differences = append(differences, Difference{path, Removed})
	}
	slices.SortFunc(differences, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return differences
}

// digestAt packs what lies at a path, without the two files beside the artifact.
func digestAt(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (digest.Digest, error) {
	snapshot, err := remote.Snapshot(ctx, commit)
	if err != nil {
		return "", err
	}
	files, err := artifactAt(ctx, snapshot, path)
	if err != nil {
		return "", err
	}
	return oci.ContentDigest(files)
}

func artifactAt(ctx context.Context, snapshot *git.Snapshot, path string) (fs.FS, error) {
	if err := snapshot.Prefetch(ctx, path); err != nil {
		return nil, err
	}
	files, err := fs.Sub(snapshot.FS(ctx), path)
	if err != nil {
		return nil, err
	}
	return artifactFiles{files}, nil
}

// Files are those that lie at a path in a commit, without the two that lie beside an artifact's; nil for none. Whose they are
// is not asked.
func Files(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (fs.FS, error) {
	if commit == "" {
		return nil, nil //nolint:nilnil // there are no files
	}
	snapshot, err := remote.Snapshot(ctx, commit)
	if err != nil {
		return nil, err
	}
	files, err := artifactAt(ctx, snapshot, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // likewise
	}
	return files, err
}

// artifactFiles hides what lies beside an artifact's files.
type artifactFiles struct{ fs.FS }

// ReadDir implements [fs.ReadDirFS].
func (a artifactFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(a.FS, name)
	if name != "." {
		return entries, err
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		return e.Name() == MetadataFile || e.Name() == attributesFile
	}), err
}

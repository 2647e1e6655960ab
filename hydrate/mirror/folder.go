package mirror

import (
	"context"
	"errors"

	"github.com/lockage/lockage/internal/git"
)

// folder is the content of a path on a branch.
type folder struct {
	files                []git.Item // without the two beside the artifact
	metadata, attributes git.Hash   // "" if absent
}

// split separates the artifact's files from those beside them. A .gitattributes with other content than ours is one of
// the artifact's: it could change how all the others are checked out, and hide them from reviewers.
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

// read returns the folder's metadata, and reports whether it is ours.
func (f folder) read(ctx context.Context, d *git.Draft) (Metadata, bool, error) {
	if f.metadata == "" {
		return Metadata{}, false, nil
	}
	files, err := d.Files(ctx, f.metadata)
	if err != nil {
		return Metadata{}, false, err
	}
	m, err := ParseMetadata(files[f.metadata])
	return m, err == nil, nil // metadata of others shows nothing
}

// shows reports whether the folder is what Write would make of a change, except for the GitOps commit.
func (f folder) shows(m Metadata, c Change) bool {
	want := git.Hash("")
	if c.Attributes {
		want = git.BlobID([]byte(attributes))
	}
	tree, err := git.TreeID(f.files)
	return err == nil && f.attributes == want && m.Lockage == c.facts(tree)
}

// as drops the record of a promotion for a candidate: an artifact that is live shows the candidate too.
func (m Metadata) as(c Change) Metadata {
	if c.Promotion == nil {
		m.Lockage.Record = ""
	}
	return m
}

// inspect reads what a commit has at a path, and reports whether its metadata is ours.
func inspect(ctx context.Context, remote *git.Remote, commit git.Hash, path string) (folder, Metadata, bool, error) {
	d, err := remote.Draft(ctx, commit)
	if err != nil {
		return folder{}, Metadata{}, false, err
	}
	items, err := d.Items(ctx, path)
	if errors.Is(err, git.ErrOccupied) {
		return folder{}, Metadata{}, false, nil
	}
	if err != nil {
		return folder{}, Metadata{}, false, err
	}
	f := split(items)
	m, ours, err := f.read(ctx, d)
	return f, m, ours, err
}

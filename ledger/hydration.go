package ledger

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/lockage/lockage/internal/git"
)

// ErrTaken is in the result of a change whose folder belongs to another pipeline or stage.
var ErrTaken = errors.New("belongs to")

// Hydration is what a change records of a candidate in the ledger, in the push that shows it.
type Hydration struct {
	// Candidates is the branch of the entries; "" if it lies in another repository, where Entries reads it.
	Candidates string
	Entries    func(ctx context.Context, release string) (Entry, bool, error)

	Entry Entry // whose artifact is the change's
	// Stays reports whether an entry of the stage is kept where it is: it is newer than this one, or made of the same inputs.
	Stays func(context.Context, Entry) (bool, error)
	// Keep returns the releases of the stage that keep their entries; nil for all. It is called if there are many.
	Keep func(ctx context.Context, releases []string) ([]string, error)
}

// there reads the entry of a release of the change's stage. What is not an entry counts for none: hydration writes it again.
func (c *pendingChange) there(ctx context.Context, release string) (Entry, bool, error) {
	if c.Hydration.Candidates == "" {
		return c.Hydration.Entries(ctx, release)
	}
	name := c.entry()
	name.Release = release
	e, ok, err := c.entries.Entry(ctx, name)
	if errors.Is(err, ErrEntry) {
		err = nil
	}
	return e, ok, err
}

// entry names the change's entry.
func (c *pendingChange) entry() Candidate { return Candidate{c.Hydration.Candidates, c.Claim} }

// record decides whether the ledger gets the change's entry. It keeps an entry that stays: the change becomes that one if both
// are of one artifact, and is superseded otherwise.
func (c *pendingChange) record(ctx context.Context) (Result, error) {
	h := c.Hydration
	r := Result{Entry: &h.Entry}
	there, ok, err := c.there(ctx, c.Release)
	if err != nil {
		return r, err
	}
	if ok {
		stays, err := h.Stays(ctx, there)
		if err != nil {
			return r, err
		}
		if stays {
			r.Entry = &there
			r.Superseded = there.Digest != c.Digest
			c.Artifact = there.Artifact
			return r, nil
		}
		r.Replaced = &there
	}
	r.Recorded = h.Candidates != ""
	return r, nil
}

// overtaken reports whether a branch shows another release of the stage that the ledger knows to be hydrated later. The
// metadata only says which entry to ask.
func (c *pendingChange) overtaken(ctx context.Context, shown Metadata) (bool, error) {
	release := shown.Lockage.Release
	if release == c.Release {
		return false, nil
	}
	there, ok, err := c.there(ctx, release)
	if err != nil || !ok {
		return false, err
	}
	return c.Hydration.Stays(ctx, there)
}

// taken returns ErrTaken if metadata at the change's path, above or below it gives a folder to another pipeline or stage.
func (c *pendingChange) taken(ctx context.Context, remote *git.Remote) error {
	found := map[string]git.Hash{c.Path: c.before.metadata}
	for dir := path.Dir(c.Path); dir != "."; dir = path.Dir(dir) {
		id, err := c.draft.FileID(ctx, path.Join(dir, MetadataFile))
		if err != nil {
			return err
		}
		found[dir] = id
	}
	for _, item := range c.below { // which has none of its own path
		if path.Base(item.Path) == MetadataFile && item.Mode == git.ModeFile {
			found[path.Join(c.Path, path.Dir(item.Path))] = item.ID
		}
	}
	for dir, id := range found {
		m, ours, err := readMetadata(ctx, remote, id)
		if err != nil {
			return err
		}
		if p := m.Lockage.Pipeline; c.Promotion != nil && c.Promotion.Former != "" && (p == c.Pipeline || p == c.Promotion.Former) {
			continue
		}
		if ours && (m.Lockage.Pipeline != c.Pipeline || m.Lockage.Stage != c.Stage) {
			return fmt.Errorf("folder %s of branch %s %w stage %s of pipeline %s, and stage %s of pipeline %s would write to %s: give one of them another mirror.path or mirror.branch; if nobody writes the folder any more, as after a pipeline or stage got another name, remove it (git switch %s && git rm -r %s), commit and push that, and run it again",
				dir, c.Branch, ErrTaken, m.Lockage.Stage, m.Lockage.Pipeline, c.Stage, c.Pipeline, c.Path, c.Branch, dir)
		}
	}
	return nil
}

// enter puts the change's entry into the draft of its branch.
func (c *pendingChange) enter(ctx context.Context) error {
	text, err := c.Hydration.Entry.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", c.Reference(), err)
	}
	outdated, err := c.outdated(ctx)
	if err == nil {
		err = c.ledger.Remove(ctx, c.Stage, outdated...)
	}
	if err == nil {
		err = c.ledger.Put(ctx, c.Stage, map[string][]byte{entryName(c.Release): text})
	}
	return err
}

// outdated returns the files of the stage's entries to remove.
func (c *pendingChange) outdated(ctx context.Context) ([]string, error) {
	releases, err := c.entries.Releases(ctx, c.Hydration.Candidates, c.Stage)
	if !slices.Contains(releases, c.Release) {
		releases = append(releases, c.Release)
	}
	if err != nil || len(releases) <= MaxCandidates {
		return nil, err
	}
	kept, err := c.Hydration.Keep(ctx, releases)
	if err != nil || kept == nil {
		return nil, err
	}
	var files []string
	for _, release := range releases {
		if !slices.Contains(kept, release) {
			files = append(files, entryName(release))
		}
	}
	return files, nil
}

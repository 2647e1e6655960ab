package ledger

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/terminal"
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

// entries reads the entries of a candidates branch as its draft has them.
type entries struct {
	draft *git.Draft
	items map[string][]git.Item // by stage
}

// of returns the files of a stage.
func (e *entries) of(ctx context.Context, stage string) ([]git.Item, error) {
	if items, known := e.items[stage]; known {
		return items, nil
	}
	items, err := e.draft.Items(ctx, stage)
	e.items[stage] = items
	return items, err
}

// entry returns the entry of a release. What is not an entry counts for none: hydration writes it again.
func (e *entries) entry(ctx context.Context, stage, release string) (Entry, bool, error) {
	items, err := e.of(ctx, stage)
	i := slices.IndexFunc(items, func(item git.Item) bool { return item.Path == entryName(release) && item.Mode == git.ModeFile })
	if err != nil || i < 0 {
		return Entry{}, false, err
	}
	files, err := e.draft.Files(ctx, items[i].ID)
	if err != nil {
		return Entry{}, false, err
	}
	there, err := ParseEntry(files[items[i].ID])
	if err != nil || there.Stage != stage || there.Release != release {
		return Entry{}, false, nil //nolint:nilerr // a file that is not the entry is replaced
	}
	return there, true, nil
}

// there reads an entry of the change's stage.
func (c *pendingChange) there(ctx context.Context, release string) (Entry, bool, error) {
	if c.entries == nil {
		return c.Hydration.Entries(ctx, release)
	}
	return c.entries.entry(ctx, c.Stage, release)
}

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
	r.Recorded = c.entries != nil
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
func (c *pendingChange) taken(ctx context.Context) error {
	var at []string
	for dir := path.Dir(c.Path); dir != "."; dir = path.Dir(dir) {
		at = append(at, dir)
	}
	found := map[string]git.Hash{}
	for _, dir := range at {
		id, err := c.draft.FileID(ctx, path.Join(dir, MetadataFile))
		if err != nil {
			return err
		}
		if id != "" {
			found[dir] = id
		}
	}
	for _, item := range c.before.files { // which has none of its own path
		if path.Base(item.Path) == MetadataFile && item.Mode == git.ModeFile {
			found[path.Join(c.Path, path.Dir(item.Path))] = item.ID
		}
	}
	if c.before.metadata != "" {
		found[c.Path] = c.before.metadata
	}
	for dir, id := range found {
		files, err := c.draft.Files(ctx, id)
		if err != nil {
			return err
		}
		m, ours := ParseMetadata(files[id])
		if ours && (m.Lockage.Pipeline != c.Pipeline || m.Lockage.Stage != c.Stage) {
			return fmt.Errorf("folder %s of branch %s %w stage %s of pipeline %s, and stage %s of pipeline %s would write to %s: give one of them another mirror.path or mirror.branch, or remove that folder from the branch if nobody writes it any more",
				dir, c.Branch, ErrTaken, m.Lockage.Stage, m.Lockage.Pipeline, c.Stage, c.Pipeline, c.Path)
		}
	}
	return nil
}

// writeEntries puts the entries of the changes into the drafts of their branches, and commits each of those once.
func (w *Writer) writeEntries(ctx context.Context, changes []*pendingChange, results []Result) error {
	written := map[*git.Draft][]*pendingChange{}
	for i, c := range changes {
		if !results[i].Recorded {
			continue
		}
		text, err := c.Hydration.Entry.Encode()
		if err != nil {
			return fmt.Errorf("%s: %w", c.Reference(), err)
		}
		draft := c.entries.draft
		outdated, err := c.outdated(ctx)
		if err == nil {
			err = draft.Remove(ctx, c.Stage, outdated...)
		}
		if err == nil {
			err = draft.Put(ctx, c.Stage, map[string][]byte{entryName(c.Release): text})
		}
		if err != nil {
			return err
		}
		written[draft] = append(written[draft], c)
	}
	for draft, own := range written {
		if _, err := draft.Commit(commitOf(own)); err != nil {
			return fmt.Errorf("branch %s: %w", own[0].Hydration.Candidates, err)
		}
	}
	return nil
}

// outdated returns the files of the stage's entries to remove.
func (c *pendingChange) outdated(ctx context.Context) ([]string, error) {
	items, err := c.entries.of(ctx, c.Stage)
	if err != nil || len(items) < MaxCandidates {
		return nil, err
	}
	releases := []string{c.Release}
	for _, item := range items {
		if release, ok := strings.CutSuffix(item.Path, entrySuffix); ok && release != c.Release {
			releases = append(releases, release)
		}
	}
	if len(releases) <= MaxCandidates {
		return nil, nil
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

// commitOf describes changes as one commit.
func commitOf(changes []*pendingChange) git.NewCommit {
	first := changes[0].Change
	if len(changes) == 1 {
		return first.commit("", "", "")
	}
	var names []string
	trailers := []struct {
		key   string
		value func(Change) string
	}{
		{"Lockage-Release", func(c Change) string { return c.Release }},
		{trailerArtifact, func(c Change) string { return c.Stage + " " + c.Reference() }},
		{"Lockage-Content", func(c Change) string { return c.Stage + " " + c.Content.String() }},
		{"Lockage-Source", func(c Change) string { return c.Source.String() }},
		{"Lockage-Gitops", func(c Change) string { return c.GitOps.String() }},
	}
	commit := git.NewCommit{By: committer()}
	lines := make([][]string, len(trailers))
	for _, c := range changes {
		names = append(names, c.Pipeline+"/"+c.Stage)
		if c.Time.After(commit.When) {
			commit.When = c.Time
		}
		if commit.Sign == nil {
			commit.Sign = c.Sign
		}
		for i, t := range trailers {
			line := t.key + ": " + terminal.Blank(t.value(c.Change)) + "\n"
			if !slices.Contains(lines[i], line) {
				lines[i] = append(lines[i], line)
			}
		}
	}
	commit.Message = fmt.Sprintf("Hydrate %d stages\n\n%s\n\n", len(changes), strings.Join(names, "\n"))
	for _, l := range lines {
		commit.Message += strings.Join(l, "")
	}
	return commit
}

package lock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
)

// Ancestry orders commits of the source repository.
type Ancestry interface {
	// IsAncestor reports whether descendant's history has ancestor. Both are full commit ids. A commit that does not exist
	// is an error.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
}

// HistoryOnly is the Ancestry with which a release is recorded without becoming the current one.
var HistoryOnly Ancestry = historyOnly{}

type historyOnly struct{}

func (historyOnly) IsAncestor(context.Context, string, string) (bool, error) { return true, nil }

// Action is what Write does with a file.
type Action string

// The actions on a file.
const (
	Created   Action = "created"   // the file did not exist before
	Updated   Action = "updated"   // the file named another release before
	Unchanged Action = "unchanged" // the file had this content already
	Newer     Action = "newer"     // the file names a newer release, and is kept
	Kept      Action = "kept"      // the file names another release, and is kept: this one is recorded as history only
)

// Written is the result of Write.
type Written struct {
	Lock    Lock        `json:"lock"` // as the history file has it: its CreatedAt is that of the first write
	History WrittenFile `json:"history"`
	Current WrittenFile `json:"current"`
}

// WrittenFile is one file and the action on it. Path is slash-separated, relative to the root that Write takes.
type WrittenFile struct {
	Path   string `json:"path"`
	Action Action `json:"action"`
}

// Write records release l in the lock directory dir below root, which it creates if it is missing: the history file, and
// current.yaml unless that names a newer release.
//
// A history file with the same fields, except CreatedAt and those that the short form leaves out, is kept. If it has other content, l
// becomes a further release of its commit, with an id of its own. current.yaml becomes a copy of the history file unless l's
// commit is an ancestor of the one it names. With [HistoryOnly], current.yaml stays, and has to be there.
//
// Both files are complete on disk, with mode 0644 whatever the umask, before either is renamed into place: a full disk or a
// crash leaves no half-written file, and the next Write completes what a crash between the renames left undone. Write
// follows no symbolic link out of dir.
func Write(ctx context.Context, root *os.Root, dir string, l Lock, ancestry Ancestry) (Written, error) {
	if err := checkWritable(l); err != nil {
		return Written{}, err
	}
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return Written{}, fmt.Errorf("make lock directory: %w", err)
	}
	d, err := root.OpenRoot(dir)
	if err != nil {
		return Written{}, fmt.Errorf("open lock directory: %w", err)
	}
	defer d.Close()
	plan, err := prepare(ctx, d.FS(), ".", dir, l, ancestry)
	if err != nil {
		return Written{}, err
	}
	var temps []string
	defer func() {
		for _, temp := range temps {
			_ = d.Remove(temp) // does not exist any more once it is renamed
		}
	}()
	for _, name := range plan.Paths {
		temp, err := writeTemp(d, path.Base(name), plan.Data)
		if err != nil {
			return Written{}, fmt.Errorf("write %s: %w", name, err)
		}
		temps = append(temps, temp)
	}
	for i, name := range plan.Paths {
		if err := d.Rename(temps[i], path.Base(name)); err != nil {
			return Written{}, fmt.Errorf("put %s in place: %w", name, err)
		}
	}
	return plan.Written, syncDir(d)
}

// Plan is the decision how to record a release in a lock directory.
type Plan struct {
	Written          // the result of carrying it out
	Paths   []string // the files to write, in this order: history before current.yaml, and none if nothing changes
	Data    []byte   // the content of each of them
}

// Prepare decides what Write would do to the files fsys, and writes nothing.
func Prepare(ctx context.Context, fsys fs.FS, dir string, l Lock, ancestry Ancestry) (Plan, error) {
	if err := checkWritable(l); err != nil {
		return Plan{}, err
	}
	return prepare(ctx, fsys, dir, dir, l, ancestry)
}

// checkWritable returns an error unless Parse reads back what Format writes of l.
func checkWritable(l Lock) error {
	if _, err := Parse("lock", Format(l)); err != nil {
		return fmt.Errorf("lock of release %s is not written: %w", l.ReleaseID, err)
	}
	return nil
}

// prepare reads the lock directory, which is at in fsys and called dir.
func prepare(ctx context.Context, fsys fs.FS, at, dir string, l Lock, ancestry Ancestry) (Plan, error) {
	historyName := l.ReleaseID + ".yaml"
	plan := Plan{Data: Format(l), Written: Written{
		Lock:    l,
		History: WrittenFile{path.Join(dir, historyName), Created},
		Current: WrittenFile{CurrentFile(dir), Created},
	}}
	kept, err := read(fsys, path.Join(at, historyName))
	switch {
	case err == nil:
		if same := bytes.Equal(kept.From(l.Packaging.SourceRepo).Canonical(), l.From(kept.Packaging.SourceRepo).Canonical()); !same {
			if l.Packaging.Kind == Packaged {
				return Plan{}, fmt.Errorf("lock directory %s: release %s is recorded already, as %s: one archive is one release, wherever it lies", dir, l.ReleaseID, kept.Chart)
			}
			further := l.furtherID()
			if further == l.ReleaseID {
				return Plan{}, fmt.Errorf("lock directory %s: %s has other content than its name says", dir, historyName)
			}
			l.ReleaseID = further
			return prepare(ctx, fsys, at, dir, l, ancestry)
		}
		plan.Data, plan.Lock, plan.History.Action = kept.Data, kept.Lock, Unchanged
	case !errors.Is(err, fs.ErrNotExist):
		return Plan{}, fmt.Errorf("lock directory %s: %w", dir, err)
	default:
		plan.Paths = append(plan.Paths, plan.History.Path)
	}
	if plan.Current.Action, err = currentAction(ctx, fsys, at, plan, ancestry); err != nil {
		return Plan{}, fmt.Errorf("lock directory %s: %w", dir, err)
	}
	if a := plan.Current.Action; a == Created || a == Updated {
		plan.Paths = append(plan.Paths, plan.Current.Path)
	}
	return plan, nil
}

// currentAction decides the action on current.yaml in dir, by what becomes of the history file. A release that was recorded before another
// one of its commit became current does not replace that.
func currentAction(ctx context.Context, fsys fs.FS, dir string, plan Plan, ancestry Ancestry) (Action, error) {
	l := plan.Lock
	current, err := read(fsys, CurrentFile(dir))
	switch {
	case errors.Is(err, fs.ErrNotExist) && ancestry == HistoryOnly:
		return "", absent("no release is current yet, and the first one is: record it without --history-only")
	case errors.Is(err, fs.ErrNotExist):
		return Created, nil
	case err != nil:
		return "", err
	case bytes.Equal(current.Data, plan.Data):
		return Unchanged, nil
	case ancestry == HistoryOnly:
		return Kept, nil
	case current.Packaging.Kind == Packaged || l.Packaging.Kind == Packaged:
		return chartAction(current.Chart, plan), nil
	case current.GitCommit == l.GitCommit && current.ReleaseID != l.ReleaseID && plan.History.Action == Unchanged:
		return Newer, nil
	case current.GitCommit == l.GitCommit:
		return Updated, nil
	}
	older, err := ancestry.IsAncestor(ctx, l.GitCommit, current.GitCommit)
	if err != nil {
		return "", fmt.Errorf("is commit %s older than %s, which current.yaml names: %w", l.GitCommit, current.GitCommit, err)
	}
	if older {
		return Newer, nil
	}
	return Updated, nil
}

// chartAction decides the action on current.yaml where that or the release is of a chart. Of a chart of one repository a lower version is older. Otherwise
// no history orders them: what is recorded already is older.
func chartAction(current Chart, plan Plan) Action {
	order := 0
	if c := plan.Lock.Chart; c != (Chart{}) && c.URL() == current.URL() {
		order = compareVersions(c.Version, current.Version)
	}
	if order < 0 || order == 0 && plan.History.Action == Unchanged {
		return Newer
	}
	return Updated
}

// writeTemp writes data beside name and returns the temporary name. It skips some names that killed processes left.
func writeTemp(d *os.Root, name string, data []byte) (string, error) {
	const attempts = 100
	var temp string
	var f *os.File
	var err error
	for i := range attempts {
		temp = "." + name + ".tmp" + strconv.Itoa(i)
		f, err = d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("make a temporary file: %w", err)
	}
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(0o644) // restores what the umask removed
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, d.Remove(temp))
	}
	return temp, nil
}

// syncDir makes the renames durable.
func syncDir(d *os.Root) error {
	f, err := d.Open(".")
	if err == nil {
		defer f.Close()
		err = f.Sync()
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("sync lock directory: %w", err)
	}
	return nil
}

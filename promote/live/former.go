package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

// ErrMoved is returned for a stage that has fewer promotions where its pipeline file says than where an earlier commit of the policy ref
// does, or under another name or in another repository. Nothing is decided until the history is carried over. It is an
// [ErrBroken] too.
var ErrMoved error = movedError("its history is still where it was")

// ErrUnread is returned if a place that the stage had before cannot be read, in a repository that may be gone.
var ErrUnread = errors.New("a former place cannot be read")

type movedError string

func (e movedError) Error() string { return string(e) }

// Is makes every reader of a broken record read this one alike.
func (movedError) Is(target error) bool { return target == ErrBroken }

// Former is where a stage was recorded before an edit of its pipeline file.
type Former struct {
	Stage
	State  State  // Live is not nil
	Commit string // of the policy ref, after which the place was another one
	Edits  []string

	// Unwitnessed is why its registry could not be asked whether the place was set back; nil if it could.
	Unwitnessed error
}

// Err returns [ErrMoved] with what was edited.
func (f Former) Err(now Stage) error {
	return fmt.Errorf("stage %s of pipeline %s: commit %.12s of the policy ref changed %s: %w, on branch %s; `lockage repair %s --apply` carries it over",
		now.Stage, now.Pipeline, f.Commit, strings.Join(f.Edits, " and "), ErrMoved, f.Place.Branch, now.today())
}

// Former returns where a stage of some state was recorded before an edit of its pipeline file, if its history goes on there; nil for
// a stage that is where it belongs. A stage that has records where it is now has its history there, unless a former place has them too,
// and later ones: it was moved back. What else is in former places, or is there no more, does not concern it. The error is ErrBroken if the
// former place was set back. With an error that is [Former.Unwitnessed] only, it returns the former place, too.
func (s Stage) Former(ctx context.Context, state State) (former *Former, err error) {
	newest := state.Newest()
	var lost []lostPlace // the newest first
	var failed error     // of the newest place on a merged branch that cannot be read
	err = s.earlier(ctx, func(declared pipeline.Expanded, change workspace.Change) (bool, error) {
		before := fmt.Sprintf("stage %s of pipeline %s before commit %.12s of the policy ref", declared.Stage, declared.Pipeline, change.Commit)
		then, err := s.then(ctx, declared)
		var found *Former
		if err == nil {
			var gone error
			if found, gone, err = then.look(ctx, newest); gone != nil {
				lost = append(lost, lostPlace{then, before, gone})
			}
		}
		switch {
		case err != nil && found == nil && newest != nil && ctx.Err() == nil: // what was there is not the stage's any more
			return true, nil
		case err != nil:
			err = fmt.Errorf("%s: %w", before, err)
			if !errors.Is(err, ErrBroken) && ctx.Err() == nil {
				err = fmt.Errorf("%w: %w; if it is gone for good, `lockage repair %s --apply --reason TEXT` begins the history anew", ErrUnread, err, s.today())
			}
			if change.Merged && ctx.Err() == nil { // it may never have been the stage's
				failed, err = cmp.Or(failed, err), nil
			} else if former != nil {
				err = nil
			}
			return change.Merged, err
		case found != nil && (former == nil || found.State.Live.Sequence > former.State.Live.Sequence):
			found.Commit, found.Edits = change.Commit, edits(declared, s.declared)
			former = found
		}
		return found == nil || change.Merged, nil
	})
	if err == nil && former == nil {
		err = failed
	}
	for _, l := range lost {
		if err == nil {
			err = l.explain(ctx, former)
		}
	}
	if err != nil || former == nil {
		return nil, err
	}
	// The registry may know later promotions, of a place that somebody removed.
	then, now := former.State, s
	now.declarations = nil // which were searched
	if err := now.Witness(ctx, &then); err != nil {
		return nil, err
	}
	if former.Unwitnessed != nil {
		err = fmt.Errorf("stage %s of pipeline %s: the registry before commit %.12s of the policy ref, which changed %s, does not say whether the history there is complete: %w; if it is gone for good, `lockage repair %s --apply --reason TEXT` carries the history over without it",
			s.Stage, s.Pipeline, former.Commit, strings.Join(former.Edits, " and "), former.Unwitnessed, s.today())
	}
	return former, err
}

// lostPlace is a former place that has nothing, though the registry knows a promotion there.
type lostPlace struct {
	Stage
	before string // the place, for messages
	err    error
}

// explain returns the error, unless the promotion is below what is live in the former place where the history goes on; nil for none.
func (l lostPlace) explain(ctx context.Context, former *Former) error {
	err := l.err
	if former != nil {
		state := former.State
		err = l.Witness(ctx, &state)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", l.before, err)
	}
	return err
}

// earlier visits the declarations that recorded the stage in another place or under another name than the next, with the change that ended
// each, the newest first, until visit returns false. It may visit some twice.
func (s Stage) earlier(ctx context.Context, visit func(pipeline.Expanded, workspace.Change) (more bool, err error)) error {
	if s.declarations == nil {
		return nil
	}
	tip, _, err := s.load(ctx, s.declarations.Tip(), s.declared.File)
	if err != nil {
		return err
	}
	for files, more := reads(tip, s.declared.Stage), []string(nil); ; files = append(files, more...) {
		if more, err = s.search(ctx, tip, files, visit); len(more) == 0 {
			return err
		}
	}
}

// reads returns the files that say where a stage is recorded: the pipeline file, the one that it extends, and the stage's vars.
func reads(declared *pipeline.Pipeline, stage string) []string {
	files := []string{declared.File}
	if declared.Extends != "" {
		files = append(files, path.Join(path.Dir(declared.File), declared.Extends))
	}
	if declared.Vars != "" {
		files = append(files, strings.NewReplacer("{pipeline}", declared.Name, "{stage}", stage).Replace(declared.Vars))
	}
	return files
}

// search searches the commits that changed files. More are files that an earlier declaration reads besides: then it was not finished.
func (s Stage) search(ctx context.Context, after *pipeline.Pipeline, files []string, visit func(pipeline.Expanded, workspace.Change) (bool, error)) (more []string, err error) {
	type declaration struct { // the newest one that was looked at
		of    *pipeline.Pipeline
		name  string            // of the stage
		newer pipeline.Expanded // the newest one of the same place
	}
	tip := declaration{after, s.declared.Stage, s.declared}
	branch := tip // that was merged: it ends with the merge
	for change, err := range s.declarations.Changes(ctx, files...) {
		if err != nil {
			return nil, err
		}
		last := &tip
		if change.Merged {
			last = &branch
		}
		before, declared, err := s.before(ctx, change, last.name, last.of)
		if errors.Is(err, errUnreadable) || err == nil && before == nil && change.Merged {
			continue
		}
		if err != nil || before == nil {
			return nil, err
		}
		moved := len(edits(declared, last.newer)) > 0
		// What only an inner commit of a branch declares, nobody may have reviewed: it names no remote to ask.
		moved = moved && (!change.Merged || declared.LiveRef().Remote == s.declared.LiveRef().Remote)
		if last.of, last.name = before, declared.Stage; moved {
			last.newer = declared
			if more, err := visit(declared, change); err != nil || !more {
				return nil, err
			}
		}
		if more = without(reads(before, last.name), files); len(more) > 0 {
			return more, nil
		}
		if !change.Merged {
			branch = tip
		}
	}
	return nil, nil
}

// errUnreadable says that nothing of a stage could be hydrated or promoted by the pipeline file of a commit.
var errUnreadable = errors.New("not a pipeline of this version, or a disabled stage")

// load reads a pipeline file at a commit.
func (s Stage) load(ctx context.Context, commit, name string) (*pipeline.Pipeline, fs.FS, error) {
	files, err := s.declarations.FilesAt(ctx, commit)
	if err != nil {
		return nil, nil, err
	}
	p, err := s.declarations.PipelineAt(ctx, commit, name)
	return p, files, err
}

// fileBefore returns the name that a pipeline file had before a commit in which it appears: the only file that declared a pipeline of that
// name before, and does not after. It is "" for none.
func (s Stage) fileBefore(ctx context.Context, files fs.FS, commit string, after *pipeline.Pipeline) (string, error) {
	changed, err := s.declarations.FilesAt(ctx, commit)
	before, ok := files.(*git.FS)
	now, known := changed.(*git.FS)
	if err != nil || !ok || !known {
		return "", err
	}
	names, err := before.Differing(now, func(name string) bool { return path.Ext(name) == ".yaml" || path.Ext(name) == ".yml" })
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range names {
		was, err := declares(before, name, after.Name)
		is := false
		if err == nil && was {
			is, err = declares(now, name, after.Name)
		}
		if err != nil {
			return "", err
		}
		if was && !is {
			found = append(found, name)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return "", nil
}

// declares reports whether a file declares a pipeline of some name.
func declares(files fs.FS, file, name string) (bool, error) {
	if data, err := strictyaml.ReadFile(files, file); err == nil {
		root, _ := strictyaml.Parse(file, data)
		if own := root.Get("name"); own != nil && own.Value != name {
			return false, nil // and what else it reads, does not matter
		}
	}
	loaded, err := pipeline.Load(files, policy.Kinds(), file)
	if errors.Is(err, fs.ErrNotExist) || unreadable(err) {
		return false, nil
	}
	return err == nil && loaded[0].Name == name, err
}

// unreadable reports whether a file was read, and is not a pipeline of this version.
func unreadable(err error) bool {
	var problems strictyaml.Problems
	return errors.As(err, &problems) || errors.Is(err, fs.ErrInvalid)
}

// before returns the declaration of a stage before a change, under the name that it had there ([pipeline.Pipeline.FormerName]). The
// pipeline is nil if the stage did not exist.
func (s Stage) before(ctx context.Context, change workspace.Change, name string, after *pipeline.Pipeline) (*pipeline.Pipeline, pipeline.Expanded, error) {
	var declared pipeline.Expanded
	before, files, err := s.load(ctx, change.Before, after.File)
	if errors.Is(err, fs.ErrNotExist) || unreadable(err) {
		file, merr := s.fileBefore(ctx, files, change.Commit, after)
		if merr != nil {
			return nil, declared, merr
		}
		if file != "" {
			before, files, err = s.load(ctx, change.Before, file)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, declared, nil
	case unreadable(err):
		return nil, declared, errUnreadable
	case err != nil:
		return nil, declared, err
	}
	if name = after.FormerName(name, before); name == "" {
		return nil, declared, nil
	}
	if declared, _, err = before.ExpandCurrent(name, files); err != nil {
		return nil, declared, errUnreadable
	}
	return before, declared, nil
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

// then returns where the stage kept its state by an earlier declaration.
func (s Stage) then(ctx context.Context, declared pipeline.Expanded) (Stage, error) {
	name := s.today()
	s.declarations = nil
	s, err := s.at(ctx, declared)
	s.name = name
	return s, err
}

// look reads the live ref of a former place, and asks its registry whether that was set back. It returns nil if the history, whose
// newest record is given, does not go on there. Gone says that nothing is there, and that the registry knows of a promotion.
func (s Stage) look(ctx context.Context, newest *Promotion) (found *Former, gone, err error) {
	goesOn := newest == nil
	state, err := s.walk(ctx, func(at Promotion) bool {
		goesOn = goesOn || at.Record == newest.Record
		return !goesOn
	})
	if err == nil && state.Newest() == nil && newest == nil {
		if gone = s.Witness(ctx, &state); !errors.Is(gone, ErrBroken) {
			gone = nil
		}
	}
	if err != nil || state.Live == nil || !goesOn || newest != nil && state.Live.Record == newest.Record {
		return nil, gone, err
	}
	found = &Former{Stage: s, State: state}
	err = s.Witness(ctx, &found.State)
	if err != nil && !errors.Is(err, ErrBroken) && ctx.Err() == nil {
		found.Unwitnessed, err = err, nil
	}
	return found, nil, err
}

// edits describes what differs between two declarations of a stage in where, and under which name, they record what is live.
func edits(before, after pipeline.Expanded) []string {
	was, is := before.LiveRef(), after.LiveRef()
	var changed []string
	for _, c := range []struct{ key, from, to string }{
		{"the pipeline's name", before.Pipeline, after.Pipeline},
		{"the stage's name", before.Stage, after.Stage},
		{"artifacts", before.Repository, after.Repository},
		{"the ledger's remote", was.Remote, is.Remote},
		{"the branch of the live ref", was.Branch, is.Branch},
		{"its path", was.Path, is.Path},
	} {
		if c.from != c.to {
			changed = append(changed, fmt.Sprintf("%s from %s to %s", c.key, c.from, c.to))
		}
	}
	return changed
}

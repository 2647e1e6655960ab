package stagediff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/plan"
)

// key identifies a stage, whatever its release.
type key struct{ pipeline, stage string }

// ComparePlans returns the stages of two plans that are affected, in the order of the later plan; stages that are gone
// come last. The error lists every stage that could not be rendered, and comes with the results of the others.
func ComparePlans(ctx context.Context, before, after []plan.Release, options diff.Options) ([]Change, error) {
	old, errs := index(before, true)
	current, more := index(after, false)

	var met []key
	var comparisons []Comparison
	for _, r := range slices.Concat(after, before) {
		for _, s := range r.Stages {
			k := key{s.Pipeline, s.Name}
			if slices.Contains(met, k) {
				continue
			}
			met = append(met, k)
			was, is := old[k], current[k]
			if was == nil || is == nil || was.InputDigest() != is.InputDigest() {
				comparisons = append(comparisons, Comparison{Before: rendered(was), After: rendered(is)})
			}
		}
	}
	changes, err := compareAll(ctx, comparisons, options)
	return changes, errors.Join(append(append(errs, more...), err)...)
}

// index finds the stages of a plan. A pipeline without a release before the change is new, which is not a failure.
func index(releases []plan.Release, before bool) (map[key]*plan.Stage, []error) {
	stages := map[key]*plan.Stage{}
	var errs []error
	for _, r := range releases {
		if r.Err != nil && (!before || !errors.Is(r.Err, fs.ErrNotExist)) {
			errs = append(errs, fmt.Errorf("%s: %w", r.Pipeline.Name, r.Err))
		}
		for i, s := range r.Stages {
			stages[key{s.Pipeline, s.Name}] = &r.Stages[i]
		}
	}
	return stages, errs
}

// rendered is the version of a stage that a plan renders.
func rendered(s *plan.Stage) *Version {
	if s == nil {
		return nil
	}
	return &Version{Pipeline: s.Pipeline, Stage: s.Name, Label: s.Lock.ReleaseID, Files: func(ctx context.Context) (fs.FS, error) {
		result, err := s.Render(ctx)
		if err != nil {
			return nil, err
		}
		return result.Tree, nil
	}}
}

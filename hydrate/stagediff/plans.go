package stagediff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/plan"
)

// key identifies a stage, whatever its release.
type key struct{ pipeline, stage string }

// ComparePlans returns the stages of two plans that are affected, in the order of the later plan; stages that are gone
// come last. The error lists every stage that could not be rendered, and comes with the results of the others.
func ComparePlans(ctx context.Context, before, after []plan.Release, options diff.Options) ([]Change, error) {
	const is, was = 0, 1
	stages := map[key]*[2]*plan.Stage{}
	var order []key
	var failures [2]error
	failed := [2]map[string]bool{{}, {}} // pipelines whose stages on that side are not known
	for side, releases := range [][]plan.Release{is: after, was: before} {
		for _, r := range releases {
			// A pipeline without a release before the change is new, which is not a failure.
			if r.Err != nil && (side == is || !errors.Is(r.Err, fs.ErrNotExist)) {
				failed[side][r.Pipeline.Name] = true
				failures[side] = errors.Join(failures[side], fmt.Errorf("%s: %w", r.Pipeline.Name, r.Err))
			}
			for i, s := range r.Stages {
				k := key{s.Pipeline, s.Name}
				if stages[k] == nil {
					stages[k] = new([2]*plan.Stage)
					order = append(order, k)
				}
				stages[k][side] = &r.Stages[i]
			}
		}
	}
	var comparisons []Comparison
	for _, k := range order {
		if failed[was][k.pipeline] || failed[is][k.pipeline] {
			continue // the error says why; its stages are neither new nor gone
		}
		if s := stages[k]; s[was] == nil || s[is] == nil || s[was].InputDigest() != s[is].InputDigest() {
			comparisons = append(comparisons, Comparison{Before: rendered(s[was]), After: rendered(s[is])})
		}
	}
	changes, err := compareAll(ctx, comparisons, options)
	return changes, errors.Join(failures[was], failures[is], err)
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

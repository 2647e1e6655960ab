package stagediff

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/plan"
)

// key identifies a stage, whatever its release.
type key struct{ pipeline, stage string }

// Plan is one side of a comparison that is rendered for it.
type Plan struct {
	Releases []plan.Release
	With     string            // what distinguishes it from the other side, if not the releases do, such as "with helm=4"
	Warnings *hydrate.Warnings // receives those of renders; nil for nobody
}

// ComparePlans returns the stages of two plans that are affected, in the order of the later plan; stages that are gone
// come last. It names those that are not affected, as pipeline/stage. The error lists every stage that could not be
// rendered, and comes with the results of the others.
func ComparePlans(ctx context.Context, before, after Plan, options diff.Options) (changes []Change, unaffected []string, err error) {
	const is, was = 0, 1
	stages := map[key]*[2]*plan.Stage{}
	var order []key
	var failures [2]error
	failed := [2]map[string]bool{{}, {}} // pipelines whose stages on that side are not known
	unknown := map[key]bool{}            // stages that one of the plans cannot render
	for side, releases := range [][]plan.Release{is: after.Releases, was: before.Releases} {
		for _, r := range releases {
			// A pipeline without a release before the change is new, which is not a failure.
			if r.Err != nil && (side == is || !errors.Is(r.Err, fs.ErrNotExist)) {
				failed[side][r.Pipeline.Name] = true
				failures[side] = errors.Join(failures[side], fmt.Errorf("%s: %w", r.Pipeline.Name, r.Err))
			}
			for i, s := range r.Stages {
				k := key{s.Pipeline, s.Name}
				if s.Err != nil {
					if !unknown[k] { // of two failures the later plan's is the one to mend
						failures[side] = errors.Join(failures[side], fmt.Errorf("%s/%s: %w", s.Pipeline, s.Name, s.Err))
					}
					unknown[k] = true
					continue
				}
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
		if failed[was][k.pipeline] || failed[is][k.pipeline] || unknown[k] {
			continue // the error says why; its stages are neither new nor gone
		}
		if s := stages[k]; s[was] == nil || s[is] == nil || s[was].InputDigest() != s[is].InputDigest() {
			comparisons = append(comparisons, Comparison{Before: before.version(s[was]), After: after.version(s[is])})
		} else {
			unaffected = append(unaffected, k.pipeline+"/"+k.stage)
		}
	}
	changes, err = compareAll(ctx, comparisons, options)
	return changes, unaffected, errors.Join(failures[was], failures[is], err)
}

// version is a stage of the plan, which renders it.
func (p Plan) version(s *plan.Stage) *Version {
	if s == nil {
		return nil
	}
	return &Version{Pipeline: s.Pipeline, Stage: s.Name, Label: strings.TrimSpace(s.Lock.ReleaseID + " " + p.With), Files: func(ctx context.Context) (fs.FS, error) {
		result, err := s.Render(ctx)
		if err != nil {
			return nil, err
		}
		if p.Warnings != nil {
			p.Warnings.Add(s.Pipeline+"/"+s.Name, result.Warnings...)
		}
		return result.Tree, nil
	}}
}

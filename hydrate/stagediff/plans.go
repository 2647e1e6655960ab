package stagediff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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

	// MayFail lets what the earlier side cannot render be named in the changes instead of being an error: a change that mends it must pass.
	MayFail bool
	Err     error // why nothing is known of that side
}

// ComparePlans returns the stages of two plans that are affected, in the order of the later plan; stages that are gone
// come last. It names those that are not affected, as pipeline/stage. The error lists every stage that could not be
// rendered, and comes with the results of the others.
func ComparePlans(ctx context.Context, before, after Plan, options diff.Options) (changes []Change, unaffected []string, err error) {
	was, is := before.side(true), after.side(false)
	var failures []error
	if !before.MayFail {
		failures = was.failures(is) // of two failures the later plan's is the one to mend
	}
	is.forgive(was)
	failures = append(failures, is.failures(side{})...)
	var comparisons []Comparison
	for _, k := range append(is.order, was.order...) {
		old, current := was.stages[k], is.stages[k]
		broken := was.broken(k)
		switch {
		case is.broken(k) != nil, old == nil && current == nil:
			// The error says why; its stages are neither new nor gone.
		case broken != nil && before.MayFail && current != nil:
			comparisons = append(comparisons, Comparison{After: after.version(current), Broken: broken})
		case broken != nil:
		case old != nil && current != nil && old.InputDigest() == current.InputDigest():
			unaffected = append(unaffected, k.pipeline+"/"+k.stage)
		default:
			comparisons = append(comparisons, Comparison{Before: before.version(old), After: after.version(current), MayFail: before.MayFail,
				Disabled: current == nil && is.disables[k.pipeline] != nil && is.disables[k.pipeline](k.stage)})
		}
		delete(was.stages, k)
		delete(is.stages, k)
	}
	changes, err = compareAll(ctx, comparisons, options)
	return changes, unaffected, errors.Join(append(failures, err)...)
}

// side is what is known of the stages of a plan.
type side struct {
	stages map[key]*plan.Stage // that can be rendered
	order  []key               // of all stages
	failed map[key]error       // why others cannot; without a stage, none of the pipeline
	all    error

	unreleased map[key]bool                       // pipelines that never had a release
	disables   map[string]func(stage string) bool // by pipeline
}

// side reads the releases of a plan. A pipeline that has no release in the earlier plan is new, which is not a failure.
func (p Plan) side(earlier bool) side {
	s := side{stages: map[key]*plan.Stage{}, failed: map[key]error{}, unreleased: map[key]bool{}, disables: map[string]func(string) bool{}, all: p.Err}
	for _, r := range p.Releases {
		s.disables[r.Pipeline.Name] = r.Pipeline.Disables
		if k := (key{pipeline: r.Pipeline.Name}); r.Err != nil && (!earlier || !r.Unreleased()) {
			s.order, s.failed[k], s.unreleased[k] = append(s.order, k), r.Err, r.Unreleased()
		}
		for i, stage := range r.Stages {
			k := key{stage.Pipeline, stage.Name}
			s.order = append(s.order, k)
			if stage.Err != nil {
				s.failed[k] = stage.Err
			} else {
				s.stages[k] = &r.Stages[i]
			}
		}
	}
	return s
}

// forgive lets pipelines of the later plan be that have no release yet, and had none in the earlier one.
func (s side) forgive(earlier side) {
	for k := range s.failed {
		had := slices.ContainsFunc(earlier.order, func(o key) bool { return o.pipeline == k.pipeline })
		if s.unreleased[k] && !had {
			delete(s.failed, k)
		}
	}
}

// broken returns why a stage cannot be rendered; nil if it can, or does not exist.
func (s side) broken(k key) error {
	return cmp.Or(s.all, s.failed[key{pipeline: k.pipeline}], s.failed[k])
}

// failures returns what cannot be rendered of a side, except what another cannot either.
func (s side) failures(other side) (failures []error) {
	for _, k := range s.order {
		switch err := s.failed[k]; {
		case err == nil || other.failed[k] != nil && k.stage != "":
		case k.stage == "":
			failures = append(failures, fmt.Errorf("%s: %w", k.pipeline, err))
		default:
			failures = append(failures, fmt.Errorf("%s/%s: %w", k.pipeline, k.stage, err))
		}
	}
	return failures
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

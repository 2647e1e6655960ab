// Package stagediff says what a change does to the stages. It needs no key, and writes nothing.
//
// [Plans] is about a change that is not published yet: it renders the stages of two plans and compares what comes out. A
// stage whose inputs are the same in both plans is not affected, whatever else changed, and is not rendered.
//
// [Pair] and [Couples] are about what exists: artifacts in registries, files on branches. Who signed them is not asked.
package stagediff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/plan"
)

// Stage is what happens to one stage.
type Stage struct {
	Pipeline string       `json:"pipeline"`
	Stage    string       `json:"stage"`
	Before   string       `json:"before,omitempty"` // the release, or what else was named, before; "" where the stage is new
	After    string       `json:"after,omitempty"`  // the same after; "" where the stage is gone
	Changes  diff.Changes `json:"changes"`
}

// key tells stages apart; the same stage of another release is the same stage.
type key struct{ pipeline, stage string }

// Plans compares the stages of two plans, and returns those that are affected, in the order of the later plan; stages
// that are gone come last. The error tells of every stage that could not be rendered, and comes with the others' results.
func Plans(ctx context.Context, before, after []plan.Release, options diff.Options) ([]Stage, error) {
	was, errs := index(before, true)
	is, more := index(after, false)
	errs = append(errs, more...)

	var order []key
	for _, r := range slices.Concat(after, before) {
		for _, s := range r.Stages {
			if k := (key{s.Pipeline, s.Name}); !slices.Contains(order, k) {
				order = append(order, k)
			}
		}
	}
	results := make([]*Stage, len(order))
	failures := make([]error, len(order))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, k := range order {
		old, current := was[k], is[k]
		if old != nil && current != nil && old.InputDigest() == current.InputDigest() {
			continue
		}
		group.Go(func() error {
			result, err := compare(ctx, old, current, options)
			if err != nil {
				failures[i] = fmt.Errorf("%s/%s: %w", k.pipeline, k.stage, err)
				return ctx.Err()
			}
			result.Pipeline, result.Stage = k.pipeline, k.stage
			results[i] = &result
			return nil
		})
	}
	errs = append(errs, group.Wait())
	affected := []Stage{}
	for _, r := range results {
		if r != nil {
			affected = append(affected, *r)
		}
	}
	return affected, errors.Join(append(errs, failures...)...)
}

// index finds the stages of a plan. A pipeline that had no release before is a new one, not a failure.
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

func compare(ctx context.Context, before, after *plan.Stage, options diff.Options) (Stage, error) {
	var result Stage
	var old, current []hydrate.Object
	var err error
	if before != nil {
		result.Before = before.Lock.ReleaseID
		if old, err = objects(ctx, before); err != nil {
			return result, fmt.Errorf("before the change: %w", err)
		}
	}
	if after != nil {
		result.After = after.Lock.ReleaseID
		if current, err = objects(ctx, after); err != nil {
			return result, err
		}
	}
	result.Changes, err = diff.Compare(old, current, options)
	return result, err
}

func objects(ctx context.Context, s *plan.Stage) ([]hydrate.Object, error) {
	rendered, err := s.Render(ctx)
	if err != nil {
		return nil, err
	}
	return diff.Read(rendered.Tree)
}

// Name is pipeline/stage; "" of artifacts that no pipeline is known of.
func (s Stage) Name() string {
	if s.Pipeline == "" {
		return s.Stage
	}
	return s.Pipeline + "/" + s.Stage
}

// Title names a stage and what happens to its release.
func (s Stage) Title() string {
	title := s.Name()
	if title == "" {
		return fmt.Sprintf("%s to %s", cmp.Or(s.Before, "nothing"), cmp.Or(s.After, "nothing"))
	}
	switch {
	case s.Before == s.After:
		return title + " (" + s.After + ")"
	case s.Before == "":
		return title + " (new, " + s.After + ")"
	case s.After == "":
		return title + " (gone)"
	}
	return fmt.Sprintf("%s (%s to %s)", title, cmp.Or(s.Before, "nothing"), s.After)
}

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
)

// Version is the files of one stage, in a registry, on a branch or rendered on demand.
type Version struct {
	Pipeline string // "" if unknown
	Stage    string // likewise
	Label    string // for people: a release, a reference

	// Files reads them; nil means that the stage has none, because nothing is live yet, say.
	Files func(context.Context) (fs.FS, error)
}

// Comparison is two versions to compare; nil if the stage exists on one side only.
type Comparison struct{ Before, After *Version }

// Compare returns the stages that differ, in the order of the comparisons. The error lists every comparison that failed,
// and comes with the results of the others.
func Compare(ctx context.Context, comparisons []Comparison, options diff.Options) ([]Change, error) {
	changes, err := compareAll(ctx, comparisons, options)
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Changes.Empty() }), err
}

// compareAll is Compare with the results of all comparisons that did not fail.
func compareAll(ctx context.Context, comparisons []Comparison, options diff.Options) ([]Change, error) {
	results := make([]*Change, len(comparisons))
	failures := make([]error, len(comparisons))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range comparisons {
		group.Go(func() error {
			result, err := c.compare(ctx, options)
			if err != nil {
				failures[i] = err
				return ctx.Err()
			}
			results[i] = &result
			return nil
		})
	}
	err := errors.Join(append(failures, group.Wait())...)
	changes := []Change{}
	for _, r := range results {
		if r != nil {
			changes = append(changes, *r)
		}
	}
	return changes, err
}

func (c Comparison) compare(ctx context.Context, options diff.Options) (Change, error) {
	which := cmp.Or(c.After, c.Before)
	change := Change{Pipeline: which.Pipeline, Stage: which.Stage, Before: c.Before.label(c.After), After: c.After.label(c.Before)}
	before, err := c.Before.objects(ctx)
	if err != nil {
		return change, err
	}
	after, err := c.After.objects(ctx)
	if err != nil {
		return change, err
	}
	change.Changes, err = diff.Compare(before, after, options)
	return change, which.named(err)
}

// label distinguishes the version from the other one, by the stage too if they are of two stages.
func (v *Version) label(other *Version) string {
	switch {
	case v == nil || v.Files == nil:
		return ""
	case other == nil || v.Stage == other.Stage || v.Stage == "":
		return v.Label
	}
	return v.Stage + " " + v.Label
}

// objects reads the objects of a version; nil has none.
func (v *Version) objects(ctx context.Context) ([]hydrate.Object, error) {
	if v == nil || v.Files == nil {
		return nil, nil
	}
	tree, err := v.Files(ctx)
	if err != nil {
		return nil, v.named(err)
	}
	objects, err := diff.Read(tree)
	return objects, v.named(err)
}

// named adds the name of the version to an error.
func (v *Version) named(err error) error {
	if err == nil || v.Pipeline == "" {
		return err
	}
	return fmt.Errorf("%s/%s, %s: %w", v.Pipeline, v.Stage, v.Label, err)
}

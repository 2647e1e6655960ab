package stagediff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"

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
type Comparison struct {
	Before, After *Version
	Broken        error // why the version before cannot be shown: the one after is rendered, and not compared
	MayFail       bool  // an error of the version before is such a reason
	Disabled      bool  // the stage is disabled after: what is live of it stays, and nothing is rendered
}

// Compare returns the stages that differ, in the order of the comparisons. The error lists every comparison that failed,
// and comes with the results of the others.
func Compare(ctx context.Context, comparisons []Comparison, options diff.Options) ([]Change, error) {
	changes, err := compareAll(ctx, comparisons, options)
	return slices.DeleteFunc(changes, func(c Change) bool { return c.Changes.Empty() && c.Uncompared == "" }), err
}

// compareAll is Compare with the results of all comparisons that did not fail.
func compareAll(ctx context.Context, comparisons []Comparison, options diff.Options) ([]Change, error) {
	results := make([]Change, len(comparisons))
	failures := make([]error, len(comparisons))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range comparisons {
		group.Go(func() error {
			results[i], failures[i] = c.compare(ctx, options)
			return ctx.Err()
		})
	}
	err := errors.Join(append(failures, group.Wait())...)
	changes := []Change{}
	for i, change := range results {
		if failures[i] == nil {
			changes = append(changes, change)
		}
	}
	return changes, err
}

func (c Comparison) compare(ctx context.Context, options diff.Options) (Change, error) {
	which := cmp.Or(c.After, c.Before)
	change := Change{Pipeline: which.Pipeline, Stage: which.Stage, Before: c.Before.label(c.After), After: c.After.label(c.Before)}
	if c.Disabled {
		change.After, change.Uncompared = "disabled", "what is live of it stays, and nothing more is hydrated or promoted"
		return change, nil
	}
	before, old, err := c.Before.read(ctx)
	switch {
	case err != nil && c.MayFail && ctx.Err() == nil:
		c.Broken = err
	case err != nil:
		return change, err
	}
	after, objects, err := c.After.read(ctx)
	if err != nil {
		return change, err
	}
	if c.Broken != nil {
		change.Uncompared = fmt.Sprintf("the version before cannot be shown: %v\nthe stage has %d objects now", c.Broken, len(objects))
		before, old, objects = nil, nil, nil
	}
	if c.Before != nil && c.After != nil {
		options.Stages = diff.Stages{Before: c.Before.Stage, After: c.After.Stage}
	}
	change.Changes, err = diff.Compare(old, objects, options)
	if err == nil && change.Changes.Empty() && before != nil && after != nil {
		var same bool
		same, err = diff.SameFiles(before, after)
		change.Changes.FilesDiffer = !same
	}
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

// read reads the files of a version and the objects in them; nil has none.
func (v *Version) read(ctx context.Context) (fs.FS, []hydrate.Object, error) {
	if v == nil || v.Files == nil {
		return nil, nil, nil
	}
	tree, err := v.Files(ctx)
	if err != nil {
		return nil, nil, v.named(err)
	}
	objects, err := diff.Read(tree)
	return tree, objects, v.named(err)
}

func (v *Version) named(err error) error {
	if err == nil || v.Pipeline == "" {
		return err
	}
	return fmt.Errorf("%s/%s, %s: %w", v.Pipeline, v.Stage, v.Label, err)
}

// ErrNoMatch is returned by Match if two sides have nothing to compare, or it is ambiguous.
var ErrNoMatch = errors.New("nothing to compare")

// Side is one side of a comparison, as a user named it.
type Side struct {
	Name     string // as the user wrote it
	Versions []Version

	// Complete is true if the name covers all stages, so that a stage on one of two complete sides only is new or gone. Else
	// the name selects a stage, and the other side's further stages are ignored.
	Complete bool
}

// Match returns the comparisons of two sides. One version on each side is compared with the other. If both sides have at
// most one stage of each pipeline, versions are matched by pipeline, so that two stages can be compared in all pipelines.
// Else they are matched by pipeline and stage.
func Match(before, after Side) ([]Comparison, error) {
	if len(before.Versions) == 1 && len(after.Versions) == 1 {
		return []Comparison{{Before: &before.Versions[0], After: &after.Versions[0]}}, nil
	}
	for _, sides := range [][2]Side{{before, after}, {after, before}} {
		for _, version := range sides[0].Versions {
			if version.Pipeline == "" {
				return nil, fmt.Errorf("%w: %s is one artifact, and %s is %d stages: %s; name one of them",
					ErrNoMatch, sides[0].Name, sides[1].Name, len(sides[1].Versions), sides[1].list())
			}
		}
	}
	identify := func(v *Version) key { return key{v.Pipeline, v.Stage} }
	if before.oneStageEach() && after.oneStageEach() {
		identify = func(v *Version) key { return key{pipeline: v.Pipeline} }
	}
	old := map[key]*Version{}
	for i := range before.Versions {
		old[identify(&before.Versions[i])] = &before.Versions[i]
	}
	complete := before.Complete && after.Complete
	var comparisons []Comparison
	for i := range after.Versions {
		v := &after.Versions[i]
		was := old[identify(v)]
		delete(old, identify(v))
		if was != nil || complete {
			comparisons = append(comparisons, Comparison{Before: was, After: v})
		}
	}
	for i := range before.Versions {
		if v := &before.Versions[i]; complete && old[identify(v)] != nil {
			comparisons = append(comparisons, Comparison{Before: v})
		}
	}
	if len(comparisons) == 0 {
		return nil, fmt.Errorf("%w: %s is %s, %s is %s, and no pipeline has both", ErrNoMatch, before.Name, before.list(), after.Name, after.list())
	}
	return comparisons, nil
}

func (s Side) oneStageEach() bool {
	met := map[string]bool{}
	for _, v := range s.Versions {
		met[v.Pipeline] = true
	}
	return len(met) == len(s.Versions)
}

func (s Side) list() string {
	var names []string
	for _, v := range s.Versions {
		names = append(names, v.Pipeline+"/"+v.Stage)
	}
	return cmp.Or(strings.Join(names, ", "), "nothing")
}

package stagediff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/diff"
)

// ErrNoPair says that two sides have nothing to compare, or do not say what with what.
var ErrNoPair = errors.New("nothing to compare")

// Subject is the files of one stage, wherever they are kept: in a registry, on a branch.
type Subject struct {
	Pipeline string // "" where that is not known
	Stage    string // likewise
	Label    string // which version of the stage it is, for people: a release, a reference

	// Files reads them; nil stands for a stage that has none, because nothing is live there yet, say.
	Files func(context.Context) (fs.FS, error)
}

// Side is what a user names as one side of a comparison.
type Side struct {
	Name     string // as the user wrote it
	Subjects []Subject

	// Whole says that the subjects are all there is to the name: one that only one of two whole sides has is new or gone.
	// Else the name selects a stage, and the other side's further stages are not asked for.
	Whole bool
}

// Couple is two subjects that are compared; nil where there is none.
type Couple struct{ Before, After *Subject }

// Pair says which subjects of two sides are compared. One and one are, whatever they are. Where both sides have at most one
// stage of each pipeline, those of one pipeline are: so that two stages can be compared in all pipelines. Else it is those of
// one pipeline and stage.
func Pair(before, after Side) ([]Couple, error) {
	if len(before.Subjects) == 1 && len(after.Subjects) == 1 {
		return []Couple{{&before.Subjects[0], &after.Subjects[0]}}, nil
	}
	for _, sides := range [][2]Side{{before, after}, {after, before}} {
		for _, subject := range sides[0].Subjects {
			if subject.Pipeline == "" {
				return nil, fmt.Errorf("%w: %s is one artifact, and %s is %d stages: %s; name one of them",
					ErrNoPair, sides[0].Name, sides[1].Name, len(sides[1].Subjects), sides[1].list())
			}
		}
	}
	identify := func(s *Subject) key { return key{s.Pipeline, s.Stage} }
	if before.oneEach() && after.oneEach() {
		identify = func(s *Subject) key { return key{pipeline: s.Pipeline} }
	}
	earlier := map[key]*Subject{}
	for i := range before.Subjects {
		earlier[identify(&before.Subjects[i])] = &before.Subjects[i]
	}
	whole := before.Whole && after.Whole
	var couples []Couple
	for i := range after.Subjects {
		s := &after.Subjects[i]
		old := earlier[identify(s)]
		delete(earlier, identify(s))
		if old != nil || whole {
			couples = append(couples, Couple{old, s})
		}
	}
	for i := range before.Subjects {
		if s := &before.Subjects[i]; whole && earlier[identify(s)] != nil {
			couples = append(couples, Couple{s, nil})
		}
	}
	if len(couples) == 0 {
		return nil, fmt.Errorf("%w: %s is %s, %s is %s, and no pipeline has both", ErrNoPair, before.Name, before.list(), after.Name, after.list())
	}
	return couples, nil
}

// oneEach reports whether no pipeline has two of the subjects.
func (s Side) oneEach() bool {
	met := map[string]bool{}
	for _, subject := range s.Subjects {
		if met[subject.Pipeline] {
			return false
		}
		met[subject.Pipeline] = true
	}
	return true
}

func (s Side) list() string {
	var names []string
	for _, subject := range s.Subjects {
		names = append(names, subject.Pipeline+"/"+subject.Stage)
	}
	return cmp.Or(strings.Join(names, ", "), "nothing")
}

// Couples compares couples, and returns those that differ, in their order. The error tells of every couple of which the
// files could not be read, and comes with the others' results.
func Couples(ctx context.Context, couples []Couple, options diff.Options) ([]Stage, error) {
	results := make([]*Stage, len(couples))
	failures := make([]error, len(couples))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, c := range couples {
		group.Go(func() error {
			result, err := c.compare(ctx, options)
			if err != nil {
				failures[i] = err
				return ctx.Err()
			}
			if !result.Changes.Empty() {
				results[i] = &result
			}
			return nil
		})
	}
	err := errors.Join(append(failures, group.Wait())...)
	differing := []Stage{}
	for _, r := range results {
		if r != nil {
			differing = append(differing, *r)
		}
	}
	return differing, err
}

func (c Couple) compare(ctx context.Context, options diff.Options) (Stage, error) {
	which := cmp.Or(c.After, c.Before)
	result := Stage{Pipeline: which.Pipeline, Stage: which.Stage}
	result.Before, result.After = c.labels()
	old, err := c.Before.objects(ctx)
	if err != nil {
		return result, err
	}
	current, err := c.After.objects(ctx)
	if err != nil {
		return result, err
	}
	result.Changes, err = diff.Compare(old, current, options)
	return result, err
}

// labels tells the sides apart: of two stages, by their names too.
func (c Couple) labels() (before, after string) {
	label := func(s *Subject, other *Subject) string {
		switch {
		case s == nil || s.Files == nil:
			return ""
		case other == nil || s.Stage == other.Stage || s.Stage == "":
			return s.Label
		}
		return s.Stage + " " + s.Label
	}
	return label(c.Before, c.After), label(c.After, c.Before)
}

// objects reads the objects of a subject; of none there are none.
func (s *Subject) objects(ctx context.Context) ([]hydrate.Object, error) {
	if s == nil || s.Files == nil {
		return nil, nil
	}
	tree, err := s.Files(ctx)
	var objects []hydrate.Object
	if err == nil {
		objects, err = diff.Read(tree)
	}
	if err != nil && s.Pipeline != "" {
		err = fmt.Errorf("%s/%s, %s: %w", s.Pipeline, s.Stage, s.Label, err)
	}
	return objects, err
}

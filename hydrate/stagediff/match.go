package stagediff

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

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
		return []Comparison{{&before.Versions[0], &after.Versions[0]}}, nil
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
			comparisons = append(comparisons, Comparison{was, v})
		}
	}
	for i := range before.Versions {
		if v := &before.Versions[i]; complete && old[identify(v)] != nil {
			comparisons = append(comparisons, Comparison{v, nil})
		}
	}
	if len(comparisons) == 0 {
		return nil, fmt.Errorf("%w: %s is %s, %s is %s, and no pipeline has both", ErrNoMatch, before.Name, before.list(), after.Name, after.list())
	}
	return comparisons, nil
}

// oneStageEach reports whether each pipeline has at most one of the versions.
func (s Side) oneStageEach() bool {
	met := map[string]bool{}
	for _, v := range s.Versions {
		if met[v.Pipeline] {
			return false
		}
		met[v.Pipeline] = true
	}
	return true
}

func (s Side) list() string {
	var names []string
	for _, v := range s.Versions {
		names = append(names, v.Pipeline+"/"+v.Stage)
	}
	return cmp.Or(strings.Join(names, ", "), "nothing")
}

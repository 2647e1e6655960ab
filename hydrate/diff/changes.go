package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// Change is what happened to an object or a field.
type Change string

// The kinds of change. Renamed is of objects only, Reordered of fields only.
const (
	Added     Change = "added"
	Removed   Change = "removed"
	Changed   Change = "changed"
	Renamed   Change = "renamed"
	Reordered Change = "reordered"
)

func (c Change) mark() string {
	return cmp.Or(map[Change]string{Added: "+", Removed: "-", Renamed: ">"}[c], "~")
}

// Changes is the difference between two trees. Its JSON form is stable: fields are added to it, none removed or renamed.
type Changes struct {
	Counts  Counts         `json:"counts"`
	Noise   Noise          `json:"noise"`
	Images  []ImageChange  `json:"images"`
	Objects []ObjectChange `json:"objects"`       // by kind, group, namespace and name; definitions of custom resources last
	All     bool           `json:"all,omitempty"` // Options.All: text and Markdown show every field by itself too
	// FilesDiffer reports that the objects are equal, and their files are not, as SameFiles finds them: by another layout, say.
	FilesDiffer bool `json:"filesDiffer,omitempty"`
}

// Empty reports whether the trees are equal, noise included.
func (c Changes) Empty() bool { return len(c.Objects) == 0 && c.Noise.Objects == 0 && !c.FilesDiffer }

// Counts counts objects, except those in Noise.Objects.
type Counts struct {
	Added     int `json:"added"`
	Removed   int `json:"removed"`
	Changed   int `json:"changed"`
	Renamed   int `json:"renamed"`
	Unchanged int `json:"unchanged"`
}

// Noise counts what was folded. It is zero with [Options.All].
type Noise struct {
	Objects int         `json:"objects"` // that changed in noise only
	Fields  int         `json:"fields"`  // in these and in all other objects
	Rules   []NoiseRule `json:"rules"`   // those that matched, in the order of the patterns
}

// NoiseRule counts what one pattern matched.
type NoiseRule struct {
	Pattern string `json:"pattern"`
	Objects int    `json:"objects"`
	Fields  int    `json:"fields"`
}

// ObjectChange is what happened to one object.
type ObjectChange struct {
	Change     Change        `json:"change"`
	Group      string        `json:"group"` // "" for the core group; of the new object if it moved
	Kind       string        `json:"kind"`
	Namespace  string        `json:"namespace"` // as written, mostly "" if the release decides it
	Name       string        `json:"name"`      // generateName and "*" for objects without a name
	BeforeName string        `json:"beforeName,omitempty"`
	File       string        `json:"file"` // hydrate.Object.Source of the new object, or of the old one if it is removed
	Risks      []Risk        `json:"risks"`
	Fields     []FieldChange `json:"fields"`
}

// String names the object for people: "Deployment.apps staging/web".
func (o ObjectChange) String() string {
	return hydrate.Object{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}.String()
}

// title is the printable name of the object, and its old one.
func (o ObjectChange) title() string {
	s := o.String()
	if o.Change == Renamed {
		s += " (was " + o.BeforeName + ")"
	}
	return clean(clip(s, maxShown))
}

// FieldChange is what happened to one field.
type FieldChange struct {
	// Path of a list item without a key has its index in the new list, or in the old one if it was removed. It is empty for
	// the whole object.
	Path Path `json:"path"`
	// Inside is the path within a field that is a JSON text before and after. Such texts are compared by their values, so
	// that one Path may have several changes.
	Inside Path   `json:"inside,omitempty"`
	Change Change `json:"change"`
	// Before and After are JSON values. Before is nil for an added field, After for a removed one; null is nil too. For
	// reordered lists with keys they are the keys. Values of Secrets are hidden.
	Before any `json:"before,omitempty"`
	After  any `json:"after,omitempty"`
	// Lines replaces Before and After if two texts were compared line by line.
	Lines []Line `json:"lines,omitempty"`
	Noise bool   `json:"noise,omitempty"` // true only with Options.All
}

func (f FieldChange) texts() (before, after string, ok bool) {
	before, was := f.Before.(string)
	after, is := f.After.(string)
	return before, after, was && is
}

func (f FieldChange) heading() string {
	if len(f.Inside) == 0 {
		return f.Path.String()
	}
	return f.Path.String() + " » " + f.Inside.String()
}

// Options decides what is noise.
type Options struct {
	// Noise holds patterns of paths whose changes are folded; nil means [DefaultNoise]. A pattern is written like a [Path]
	// and covers the field and all below it. `*` matches any characters within a key or the brackets of a list item, `**`
	// any number of steps: `**.metadata.annotations["checksum/*"]`, `spec.ports[*].nodePort`. A pattern reaches into a JSON
	// text: `data["*.json"].panels[*].pluginVersion`.
	Noise []string
	// All folds nothing: noise is among the changes, marked, and nothing is joined.
	All bool
	// Stages are those that the objects are of, if they are of two: objects whose names differ by the stage only are one.
	Stages Stages
}

// Stages names a stage on each side.
type Stages struct{ Before, After string }

// Summary counts the objects, in words of this package only: "1 added, 3 changed, 120 unchanged".
func (c Changes) Summary() string {
	if len(c.Objects) == 0 && c.Noise.Objects == 0 {
		if c.FilesDiffer {
			return "the same " + plural(c.Counts.Unchanged, "object") + ", in other files or written otherwise"
		}
		return "no changes in " + plural(c.Counts.Unchanged, "object")
	}
	if len(c.Objects) == 0 {
		return "noise only, in " + plural(c.Noise.Objects, "object")
	}
	var parts []string
	for i, n := range []int{c.Counts.Added, c.Counts.Removed, c.Counts.Changed, c.Counts.Renamed, c.Counts.Unchanged} {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, []string{"added", "removed", "changed", "renamed", "unchanged"}[i]))
		}
	}
	return strings.Join(parts, ", ")
}

// loudRisk is a risk above Info, with all objects that have it.
type loudRisk struct {
	Risk
	objects []string   // titles
	details [][]string // of each object
}

// loudRisks returns the risks above Info, each message once, the most severe first.
func (c Changes) loudRisks() []loudRisk {
	var list []loudRisk
	for _, o := range c.Objects {
		for _, r := range o.Risks {
			if r.Level == Info {
				continue
			}
			i := slices.IndexFunc(list, func(l loudRisk) bool { return l.Level == r.Level && l.Message == r.Message })
			if i < 0 {
				i = len(list)
				list = append(list, loudRisk{Risk: r})
			}
			list[i].objects = append(list[i].objects, o.title())
			list[i].details = append(list[i].details, r.Details)
		}
	}
	slices.SortStableFunc(list, func(a, b loudRisk) int { return bySeverity(a.Risk, b.Risk) })
	return list
}

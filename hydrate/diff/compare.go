package diff

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/lockage/lockage/hydrate"
)

// Compare returns what changed from before to after. It fails if one side has two objects of one identity or more than
// 20,000 objects, or if a noise pattern is invalid.
func Compare(before, after []hydrate.Object, options Options) (Changes, error) {
	noise, err := newNoiseFilter(options, before, after)
	if err != nil {
		return Changes{}, err
	}
	comparisons, unchanged, err := match(before, after, options.Stages)
	if err != nil {
		return Changes{}, err
	}
	changes := Changes{Objects: []ObjectChange{}, All: options.All, Counts: Counts{Unchanged: unchanged}}
	n := &changes.Counts
	counts := map[Change]*int{Added: &n.Added, Removed: &n.Removed, Changed: &n.Changed, Renamed: &n.Renamed}
	for _, c := range comparisons {
		c.compare()
		risks := c.risks()
		if noise.fold(c, quiet(risks)) {
			continue
		}
		*counts[c.change]++
		changes.Objects = append(changes.Objects, c.report(risks))
	}
	changes.Noise = noise.noise
	changes.Noise.Rules = slices.DeleteFunc(changes.Noise.Rules, func(rule NoiseRule) bool { return rule.Fields == 0 })
	changes.Images = countImages(comparisons)
	return changes, nil
}

// comparison is one object before and after, or on one side only.
type comparison struct {
	change        Change
	old, current  *hydrate.Object
	before, after map[string]any // their contents with Secrets concealed, nil if the object does not exist; set by compare
	fields        []FieldChange  // what differs, with whole values
}

func (c *comparison) object() *hydrate.Object { return cmp.Or(c.current, c.old) }

// compare conceals Secrets and finds the fields that differ.
func (c *comparison) compare() {
	if c.old != nil {
		c.before, _ = conceal(c.old.Content()).(map[string]any)
	}
	if c.current != nil {
		c.after, _ = conceal(c.current.Content()).(map[string]any)
	}
	switch c.change {
	case Added:
		c.fields = []FieldChange{{Change: Added, After: c.after}}
	case Removed:
		c.fields = []FieldChange{{Change: Removed, Before: c.before}}
	default:
		var found comparer
		found.maps(nil, c.before, c.after)
		c.fields = found.fields
	}
}

func (c *comparison) report(risks []Risk) ObjectChange {
	o := c.object()
	report := ObjectChange{
		Change: c.change, Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: name(*o), File: o.Source,
		Risks: append([]Risk{}, risks...), Fields: make([]FieldChange, len(c.fields)),
	}
	if c.change == Renamed {
		if report.BeforeName = name(*c.old); c.old.Namespace != c.current.Namespace {
			report.BeforeName = c.old.Namespace + "/" + report.BeforeName
		}
	}
	for i, f := range c.fields {
		report.Fields[i] = f.shown()
	}
	return report
}

// comparer collects the differences between two values.
type comparer struct {
	fields []FieldChange
	inside bool // the values are those of a JSON text
}

func (c *comparer) add(at Path, change Change, before, after any) {
	c.fields = append(c.fields, FieldChange{Path: at, Change: change, Before: before, After: after})
}

func (c *comparer) values(at Path, before, after any) {
	switch old := before.(type) {
	case map[string]any:
		if current, ok := after.(map[string]any); ok {
			c.maps(at, old, current)
			return
		}
	case []any:
		if current, ok := after.([]any); ok {
			c.lists(at, old, current)
			return
		}
	case string:
		if current, ok := after.(string); ok && old != current && !c.inside && c.documents(at, old, current) {
			return
		}
	}
	if !reflect.DeepEqual(before, after) {
		c.add(at, Changed, before, after)
	}
}

// documents compares two JSON texts by their values, and reports whether they are JSON and differ below the root.
func (c *comparer) documents(at Path, before, after string) bool {
	old, wasJSON := decodeJSON(before)
	current, isJSON := decodeJSON(after)
	if !wasJSON || !isJSON {
		return false
	}
	inner := comparer{inside: true}
	inner.values(nil, old, current)
	if len(inner.fields) == 0 || slices.ContainsFunc(inner.fields, func(f FieldChange) bool { return len(f.Path) == 0 }) {
		return false // nothing differs, or a map became a list, say
	}
	for _, f := range inner.fields {
		f.Path, f.Inside = at, f.Path
		c.fields = append(c.fields, f)
	}
	return true
}

func (c *comparer) maps(at Path, before, after map[string]any) {
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		old, had := before[key]
		current, has := after[key]
		here := at.key(key)
		switch {
		case had && has:
			c.values(here, old, current)
		case had && splits(key, old):
			c.values(here, old, map[string]any{})
		case has && splits(key, current):
			c.values(here, map[string]any{}, current)
		case had:
			c.add(here, Removed, old, nil)
		default:
			c.add(here, Added, nil, current)
		}
	}
}

// splits reports whether a value on one side only is compared key by key: some labels and annotations are noise, others
// are not.
func splits(key string, value any) bool {
	entries, ok := value.(map[string]any)
	return ok && len(entries) > 0 && (key == "labels" || key == "annotations")
}

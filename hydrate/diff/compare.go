package diff

import "github.com/lockage/lockage/hydrate"

// maxFields bounds the fields reported of one object; all of them are judged.
const maxFields = 500

// Compare returns what changed from before to after. It fails if one side has two objects of one identity or more than
// 20,000 objects, or if a noise pattern is invalid.
func Compare(before, after []hydrate.Object, options Options) (Changes, error) {
	noise, err := newNoiseFilter(options)
	if err != nil {
		return Changes{}, err
	}
	comparisons, unchanged, err := match(before, after)
	if err != nil {
		return Changes{}, err
	}
	changes := Changes{Objects: []ObjectChange{}, All: options.All}
	changes.Counts.Unchanged = unchanged
	for _, c := range comparisons {
		c.compare()
		risks := c.risks()
		if noise.fold(c, quiet(risks)) {
			continue
		}
		changes.Counts.add(c.change)
		changes.Objects = append(changes.Objects, c.report(risks))
	}
	changes.Noise = noise.counts()
	changes.Images = countImages(comparisons)
	return changes, nil
}

func (c *Counts) add(change Change) {
	switch change {
	case Added:
		c.Added++
	case Removed:
		c.Removed++
	case Renamed:
		c.Renamed++
	default:
		c.Changed++
	}
}

// comparison is one object before and after, or on one side only.
type comparison struct {
	change        Change
	old, current  *hydrate.Object
	before, after map[string]any // their contents with Secrets concealed, nil if the object does not exist; set by compare
	fields        []FieldChange  // what differs, with whole values
}

// object returns the current object, or the old one if it is removed.
func (c *comparison) object() *hydrate.Object {
	if c.current != nil {
		return c.current
	}
	return c.old
}

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

// report returns the comparison as it is shown.
func (c *comparison) report(risks []Risk) ObjectChange {
	o := c.object()
	fields := c.fields[:min(len(c.fields), maxFields)]
	report := ObjectChange{
		Change: c.change, Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: name(*o), File: o.Source,
		Risks: append([]Risk{}, risks...), Fields: make([]FieldChange, len(fields)), Omitted: len(c.fields) - len(fields),
	}
	if c.change == Renamed {
		report.BeforeName = name(*c.old)
	}
	for i, f := range fields {
		report.Fields[i] = f.shown()
	}
	return report
}

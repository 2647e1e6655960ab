package diff

import (
	"maps"
	"reflect"
	"slices"
)

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
	for i, f := range inner.fields {
		if len(f.Path) == 0 {
			return false // a map became a list, say
		}
		inner.fields[i].Path, inner.fields[i].Inside = at, f.Path
	}
	c.fields = append(c.fields, inner.fields...)
	return len(inner.fields) > 0
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

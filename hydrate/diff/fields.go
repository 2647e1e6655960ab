package diff

import (
	"maps"
	"slices"
)

// comparer collects the differences between two values.
type comparer struct {
	fields []field
	inside bool // the values are those of a JSON text
}

func compareFields(was, now map[string]any) []field {
	var c comparer
	c.maps(nil, was, now)
	return c.fields
}

func (c *comparer) add(at path, change Change, was, now any) {
	c.fields = append(c.fields, field{path: at, change: change, was: was, now: now})
}

func (c *comparer) values(at path, was, now any) {
	switch o := was.(type) {
	case map[string]any:
		if n, ok := now.(map[string]any); ok {
			c.maps(at, o, n)
			return
		}
	case []any:
		if n, ok := now.([]any); ok {
			c.lists(at, o, n)
			return
		}
	case string:
		if n, ok := now.(string); ok && o != n && !c.inside && c.documents(at, o, n) {
			return
		}
	}
	if !equal(was, now) {
		c.add(at, Changed, was, now)
	}
}

// documents compares two JSON texts by what they say, and reports whether they are JSON and do not say the same.
func (c *comparer) documents(at path, was, now string) bool {
	o, ok := decodeJSON(was)
	if !ok {
		return false
	}
	n, ok := decodeJSON(now)
	if !ok {
		return false
	}
	inner := comparer{inside: true}
	inner.values(nil, o, n)
	for _, f := range inner.fields {
		if len(f.path) == 0 {
			return false // a map became a list, say
		}
	}
	for _, f := range inner.fields {
		f.path, f.inside = at, f.path
		c.fields = append(c.fields, f)
	}
	return len(inner.fields) > 0
}

func (c *comparer) maps(at path, was, now map[string]any) {
	keys := slices.AppendSeq(make([]string, 0, len(was)), maps.Keys(was))
	for key := range now {
		if _, both := was[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		o, had := was[key]
		n, has := now[key]
		here := at.to(key)
		switch {
		case had && has:
			c.values(here, o, n)
		case had && splits(key, o):
			c.values(here, o, map[string]any{})
		case has && splits(key, n):
			c.values(here, map[string]any{}, n)
		case had:
			c.add(here, Removed, o, nil)
		default:
			c.add(here, Added, nil, n)
		}
	}
}

// splits reports whether a value that is there on one side only is compared key by key: among labels and annotations,
// some may be noise and some not.
func splits(key string, value any) bool {
	entries, ok := value.(map[string]any)
	return ok && len(entries) > 0 && (key == "labels" || key == "annotations")
}

// equal reports whether two values are the same.
func equal(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for key, v := range a {
			if w, ok := b[key]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, equal)
	}
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	return a == b
}

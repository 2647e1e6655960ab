package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/lockage/lockage/hydrate"
)

// Bounds on the keys of set, which are Helm's.
const (
	maxSetDepth = 30
	maxSetIndex = 65536
)

// setValues sets values over merged ones, as a last values file would, and where a key has an index as --set-json would.
// It changes nothing that values share.
func setValues(values map[string]any, set []hydrate.SetValue) (map[string]any, error) {
	for _, s := range set {
		path, err := parseKey(s.Key)
		if err != nil {
			return nil, fmt.Errorf("set %q: %w; a key is a path into the values, such as image.tag or hosts[0].name", s.Key, err)
		}
		value, err := decodeValue(s.Value)
		if err != nil {
			return nil, fmt.Errorf("set %q: %w", s.Key, err)
		}
		changed, err := setAt(values, path, value)
		if err != nil {
			return nil, fmt.Errorf("set %q: %w", s.Key, err)
		}
		values, _ = changed.(map[string]any) // the first step is a name
	}
	return values, nil
}

// step is one step of a key: a name, or the index of an item.
type step struct {
	name  string
	index int // -1 for a name
}

// parseKey reads a key as --set-literal does: dots end names, and nothing escapes one.
func parseKey(key string) (path []step, err error) {
	for rest := key; ; {
		end := strings.IndexAny(rest, ".[")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 || strings.Contains(rest[:end], "=") {
			return nil, errors.New("a name is empty, or holds =")
		}
		path = append(path, step{rest[:end], -1})
		for rest = rest[end:]; strings.HasPrefix(rest, "["); {
			index, after, _ := strings.Cut(rest[1:], "]")
			i, err := strconv.Atoi(index)
			if err != nil || i < 0 || i > maxSetIndex {
				return nil, fmt.Errorf("%q is not an index from 0 to %d", index, maxSetIndex)
			}
			path, rest = append(path, step{"", i}), after
		}
		switch {
		case len(path) > maxSetDepth:
			return nil, fmt.Errorf("it has more than %d steps", maxSetDepth)
		case rest == "":
			return path, nil
		case rest[0] != '.':
			return nil, fmt.Errorf("%q comes after an index", rest)
		}
		rest = rest[1:]
	}
}

// setAt returns a copy of a value with another one at the end of path.
func setAt(at any, path []step, value any) (any, error) {
	if len(path) == 0 {
		over, isMap := value.(map[string]any)
		under, wasMap := at.(map[string]any)
		if isMap && wasMap {
			return mergeMaps(under, over), nil
		}
		return value, nil
	}
	here := path[0]
	if here.index >= 0 {
		list, isList := at.([]any)
		if at != nil && !isList {
			return nil, errors.New("the path asks for an item of what is not a list")
		}
		list = slices.Concat(list, make([]any, max(0, here.index+1-len(list))))
		below := list[here.index]
		if _, isMap := below.(map[string]any); !isMap && len(path) > 1 && path[1].index < 0 {
			below = nil // as Helm
		}
		item, err := setAt(below, path[1:], value)
		list[here.index] = item
		return list, err
	}
	m, isMap := at.(map[string]any)
	if at != nil && !isMap {
		return nil, fmt.Errorf("the path asks for %q of what is not a map", here.name)
	}
	below, err := setAt(m[here.name], path[1:], value)
	if m = maps.Clone(m); m == nil {
		m = map[string]any{}
	}
	m[here.name] = below
	return m, err
}

// decodeValue returns a value as Helm has one of a values file: numbers are float64, but for integers that a float64 cannot
// hold.
func decodeValue(data json.RawMessage) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("its value is not JSON: %w", err)
	}
	return plainNumbers(value), nil
}

func plainNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, item := range v {
			v[key] = plainNumbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = plainNumbers(item)
		}
	case json.Number:
		const exact = 1 << 53 // up to here a float64 holds every integer
		if i, err := v.Int64(); err == nil && (i > exact || i < -exact) {
			return i
		}
		if u, err := strconv.ParseUint(v.String(), 10, 64); err == nil && u > exact {
			return u
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
	}
	return value
}

// explain adds to an error of a render that set puts strings where the chart has maps, the usual reason.
func (p *Package) explain(err error, set []hydrate.SetValue) error {
	if err == nil {
		return nil
	}
	for _, s := range set {
		path, perr := parseKey(s.Key)
		if perr != nil || len(s.Value) == 0 || s.Value[0] != '"' {
			continue
		}
		var at any = p.chart.Values
		for _, step := range path {
			below, _ := at.(map[string]any)
			at = below[step.name]
		}
		if keys, isMap := at.(map[string]any); isMap && len(keys) > 0 {
			err = fmt.Errorf("%w\nset %q is a string, where the chart has a map of %s: %s", err, s.Key,
				strings.Join(slices.Sorted(maps.Keys(keys)), ", "), instead(s.Key, keys))
		}
	}
	return err
}

// instead returns what to set in place of a string where a chart has a map.
func instead(key string, keys map[string]any) string {
	if _, isImage := keys["repository"]; !isImage {
		return "set its keys, such as " + key + "." + slices.Sorted(maps.Keys(keys))[0]
	}
	if _, ok := keys["digest"]; ok {
		return fmt.Sprintf(`write set: {%[1]s.repository: "{image.repository}", %[1]s.digest: "{image.digest}"}`, key)
	}
	return fmt.Sprintf(`write set: {%[1]s.repository: "{image.repository}", %[1]s.tag: "{image.tag}@{image.digest}"}`, key)
}

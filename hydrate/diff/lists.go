package diff

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// maxPairings bounds the pairs of items that are compared for likeness within one gap of two lists.
const maxPairings = 4096

// minLikeness is the likeness of two items that count as one item that changed.
const minLikeness = 0.5

// lists compares two lists, item by item if a key identifies the items.
func (c *comparer) lists(at Path, before, after []any) {
	if olds, news, ok := sharedKeys(at.lastKey(), before, after); ok {
		c.keyedLists(at, olds, news, before, after)
		return
	}
	a, b := canonicals(before), canonicals(after)
	if len(a) == len(b) && slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))) {
		if !slices.Equal(a, b) {
			c.add(at, Reordered, before, after)
		}
		return
	}
	for _, g := range gaps(a, b) {
		c.gap(at, g, before, after)
	}
}

func (c *comparer) keyedLists(at Path, olds, news []string, before, after []any) {
	where := make(map[string]int, len(news))
	for j, key := range news {
		where[key] = j
	}
	var oldOrder, order []any // keys of the items on both sides
	for i, key := range olds {
		j, both := where[key]
		if !both {
			c.add(at.item(key), Removed, before[i], nil)
			continue
		}
		c.values(at.item(key), before[i], after[j])
		oldOrder = append(oldOrder, key)
		delete(where, key)
	}
	for j, key := range news {
		if _, only := where[key]; only {
			c.add(at.item(key), Added, nil, after[j])
		} else {
			order = append(order, key)
		}
	}
	if !slices.Equal(oldOrder, order) {
		c.add(at, Reordered, oldOrder, order)
	}
}

// gap compares the items of a gap between two lists.
func (c *comparer) gap(at Path, g gap, before, after []any) {
	matched := make([]bool, g.b1-g.b0)
	for i, j := range likeliest(before[g.a0:g.a1], after[g.b0:g.b1]) {
		if j < 0 {
			c.add(at.index(g.a0+i), Removed, before[g.a0+i], nil)
			continue
		}
		matched[j] = true
		c.values(at.index(g.b0+j), before[g.a0+i], after[g.b0+j])
	}
	for j, is := range matched {
		if !is {
			c.add(at.index(g.b0+j), Added, nil, after[g.b0+j])
		}
	}
}

// likeliest returns, for each old item, the index of the new item that replaces it, or -1. Indexes ascend.
func likeliest(before, after []any) []int {
	partners := slices.Repeat([]int{-1}, len(before))
	inOrder := len(before) == len(after) && (len(before) == 1 || !slices.ContainsFunc(slices.Concat(before, after), nested))
	if inOrder || len(before)*len(after) > maxPairings {
		for i := range min(len(before), len(after)) {
			partners[i] = i
		}
		return partners
	}
	next := 0
	for i, old := range before {
		best, found := minLikeness, -1
		for j := next; j < len(after); j++ {
			if l := likeness(old, after[j]); l >= best && (found < 0 || l > best) {
				best, found = l, j
			}
		}
		if found >= 0 {
			partners[i], next = found, found+1
		}
	}
	return partners
}

// likeness returns how much of two items is the same, from 0 to 1.
func likeness(a, b any) float64 {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		same := 0
		for key, v := range a {
			if w, ok := b[key]; ok && reflect.DeepEqual(v, w) {
				same++
			}
		}
		return float64(same) / float64(max(len(a), len(b), 1))
	case string:
		b, _ := b.(string)
		if flag, _, ok := strings.Cut(a, "="); ok && strings.HasPrefix(flag, "-") && strings.HasPrefix(b, flag+"=") {
			return 1
		}
		prefix, suffix := shared(a, b)
		return float64(prefix+suffix) / float64(max(len(a), len(b), 1))
	}
	return 0
}

// shared returns how many bytes two texts begin and end with in common, none counted twice.
func shared(a, b string) (prefix, suffix int) {
	n := min(len(a), len(b))
	for prefix < n && a[prefix] == b[prefix] {
		prefix++
	}
	for suffix < n-prefix && a[len(a)-1-suffix] == b[len(b)-1-suffix] {
		suffix++
	}
	return prefix, suffix
}

func nested(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// canonicals returns a text for each item such that only equal items have equal texts.
func canonicals(list []any) []string {
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = fmt.Sprintf("%#v", mapScalars(item, func(scalar any) any {
			if _, ok := scalar.(hidden); ok { // whose String is shorter than it
				return scalar
			}
			return fmt.Sprintf("%T %v", scalar, scalar)
		}))
	}
	return out
}

// mergeKeys are the keys that may identify the items of a list, best first, as Kubernetes' API declares them for its lists
// (`x-kubernetes-list-map-keys`, `patchMergeKey`).
var mergeKeys = map[string][][]string{
	"ports":                     {{"name"}, {"containerPort", "protocol"}, {"port", "protocol"}},
	"volumeMounts":              {{"mountPath"}},
	"volumeDevices":             {{"devicePath"}},
	"hostAliases":               {{"ip"}},
	"subjects":                  {{"kind", "namespace", "name"}},
	"topologySpreadConstraints": {{"topologyKey", "whenUnsatisfiable"}},
	"tolerations":               {{"key", "operator", "value", "effect"}},
	"volumeClaimTemplates":      {{"metadata.name"}},
	"ownerReferences":           {{"uid"}},
}

// otherKeys are the same for all other lists: those that items of Kubernetes or of custom resources commonly have.
var otherKeys = [][]string{{"name"}, {"key"}, {"id"}, {"alert"}, {"record"}, {"host"}, {"path"}, {"port"}, {"refId"}, {"title"}, {"type"}}

// sharedKeys returns the keys of all items of two lists, if one of the list's merge keys identifies them on both sides.
func sharedKeys(list string, before, after []any) (olds, news []string, ok bool) {
	if len(before) == 0 || len(after) == 0 {
		return nil, nil, false
	}
	candidates := mergeKeys[list]
	if candidates == nil {
		candidates = otherKeys
	}
	for _, keys := range candidates {
		olds, was := keysOf(before, keys)
		if news, is := keysOf(after, keys); was && is {
			return olds, news, true
		}
	}
	return nil, nil, false
}

// keysOf returns the step of a path to each item, "name=app", and reports whether all are different. Of several keys all
// but one may be missing, as a protocol may.
func keysOf(list []any, keys []string) ([]string, bool) {
	met := make(map[string]bool, len(list))
	out := make([]string, len(list))
	for i, item := range list {
		m, _ := item.(map[string]any)
		var parts []string
		for _, key := range keys {
			value := get(m, strings.Split(key, ".")...)
			if value == nil {
				continue
			}
			part, ok := keyText(value)
			if !ok {
				return nil, false
			}
			parts = append(parts, key+"="+part)
		}
		out[i] = strings.Join(parts, ",")
		if out[i] == "" || met[out[i]] {
			return nil, false
		}
		met[out[i]] = true
	}
	return out, true
}

func keyText(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		// What could be taken for a number, or ends the brackets, is quoted.
		if _, err := strconv.ParseFloat(value, 64); err != nil && isSimple(value, "_-$./:") {
			return value, true
		}
		return strconv.Quote(value), true
	case int64, uint64, bool, float64, json.Number:
		return fmt.Sprint(value), true
	}
	return "", false
}

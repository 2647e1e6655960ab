package diff

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxPairings bounds the items that are held against each other for likeness, within one gap of two lists.
const maxPairings = 4096

// A likeness from alike on says that two items are one item that changed.
const alike = 0.5

// lists compares two lists, item by item where a key tells the items apart.
func (c *comparer) lists(at path, was, now []any) {
	if olds, news, ok := keyed(at.key(), was, now); ok {
		c.keyedLists(at, olds, news, was, now)
		return
	}
	numbers := numbering{}
	a, b := numbers.of(was), numbers.of(now)
	if len(a) == len(b) && slices.Equal(sorted(a), sorted(b)) {
		if !slices.Equal(a, b) {
			c.add(at, Reordered, was, now)
		}
		return
	}
	for _, g := range gaps(a, b) {
		c.gap(at, g, was, now)
	}
}

func (c *comparer) keyedLists(at path, olds, news []string, was, now []any) {
	where := make(map[string]int, len(news))
	for i, key := range news {
		where[key] = i
	}
	var common []int // positions in new of the items of both, in the order of old
	for i, key := range olds {
		j, both := where[key]
		if !both {
			c.add(at.toItem(key), Removed, was[i], nil)
			continue
		}
		c.values(at.toItem(key), was[i], now[j])
		common = append(common, j)
		delete(where, key)
	}
	for j, key := range news {
		if _, only := where[key]; only {
			c.add(at.toItem(key), Added, nil, now[j])
		}
	}
	if !slices.IsSorted(common) {
		names := func(at []int) []any {
			out := make([]any, len(at))
			for i, j := range at {
				out[i] = news[j]
			}
			return out
		}
		c.add(at, Reordered, names(common), names(sorted(common)))
	}
}

// gap reports items that stand for one another in two lists.
func (c *comparer) gap(at path, g gap, was, now []any) {
	partner := likeliest(was[g.a0:g.a1], now[g.b0:g.b1])
	taken := make([]bool, g.b1-g.b0)
	for i, j := range partner {
		if j < 0 {
			c.add(at.toItem(strconv.Itoa(g.a0+i)), Removed, was[g.a0+i], nil)
			continue
		}
		taken[j] = true
		c.values(at.toItem(strconv.Itoa(g.b0+j)), was[g.a0+i], now[g.b0+j])
	}
	for j, is := range taken {
		if !is {
			c.add(at.toItem(strconv.Itoa(g.b0+j)), Added, nil, now[g.b0+j])
		}
	}
}

// likeliest returns, for each old item, the index of the new item it became, or -1. Pairs keep their order.
func likeliest(was, now []any) []int {
	partner := slices.Repeat([]int{-1}, len(was))
	if len(was) == len(now) && (len(was) == 1 || scalars(was) && scalars(now)) || len(was)*len(now) > maxPairings {
		for i := range min(len(was), len(now)) {
			partner[i] = i
		}
		return partner
	}
	next := 0
	for i, o := range was {
		best, found := alike, -1
		for j := next; j < len(now); j++ {
			if l := likeness(o, now[j]); l >= best && (found < 0 || l > best) {
				best, found = l, j
			}
		}
		if found >= 0 {
			partner[i], next = found, found+1
		}
	}
	return partner
}

// likeness says how much of two items is the same, from 0 to 1.
func likeness(a, b any) float64 {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		same := 0
		for key, v := range a {
			if w, ok := b[key]; ok && equal(v, w) {
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

func scalars(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return true
		}
		return false
	})
}

func sorted(list []int) []int {
	out := slices.Clone(list)
	slices.Sort(out)
	return out
}

// mergeKeys returns the keys that may tell the items of a list apart, best first: those that Kubernetes' API declares
// for its lists (`x-kubernetes-list-map-keys`, `patchMergeKey`), then those that items of custom resources commonly have.
func mergeKeys(list string) [][]string {
	switch list {
	case "ports":
		return [][]string{{"name"}, {"containerPort", "protocol"}, {"port", "protocol"}}
	case "volumeMounts":
		return [][]string{{"mountPath"}}
	case "volumeDevices":
		return [][]string{{"devicePath"}}
	case "hostAliases":
		return [][]string{{"ip"}}
	case "subjects":
		return [][]string{{"kind", "namespace", "name"}}
	case "topologySpreadConstraints":
		return [][]string{{"topologyKey", "whenUnsatisfiable"}}
	case "tolerations":
		return [][]string{{"key", "operator", "value", "effect"}}
	case "volumeClaimTemplates":
		return [][]string{{"metadata.name"}}
	case "ownerReferences":
		return [][]string{{"uid"}}
	}
	return [][]string{{"name"}, {"key"}, {"id"}, {"alert"}, {"record"}, {"host"}, {"path"}, {"port"}, {"refId"}, {"title"}, {"type"}}
}

// keyed returns the keys of all items of two lists, if one of the list's merge keys tells them apart on both sides.
func keyed(list string, was, now []any) (olds, news []string, ok bool) {
	if len(was) == 0 || len(now) == 0 {
		return nil, nil, false
	}
	for _, keys := range mergeKeys(list) {
		if olds, ok = keysOf(was, keys); !ok {
			continue
		}
		if news, ok = keysOf(now, keys); ok {
			return olds, news, true
		}
	}
	return nil, nil, false
}

// keysOf returns what stands in the brackets of a path for each item: "name=app". Of several keys all but one may be
// missing, as a protocol may.
func keysOf(list []any, keys []string) ([]string, bool) {
	met := make(map[string]bool, len(list))
	out := make([]string, len(list))
	for i, item := range list {
		m, _ := item.(map[string]any)
		var parts []string
		for _, key := range keys {
			value, ok := m[key]
			if outer, inner, nested := strings.Cut(key, "."); nested {
				below, _ := m[outer].(map[string]any)
				value, ok = below[inner]
			}
			if !ok {
				continue
			}
			part, ok := keyText(value)
			if !ok {
				return nil, false
			}
			parts = append(parts, key+"="+part)
		}
		text := strings.Join(parts, ",")
		if text == "" || met[text] {
			return nil, false
		}
		met[text] = true
		out[i] = text
	}
	return out, true
}

func keyText(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		// What could be taken for a number, or ends the brackets, is quoted.
		if _, err := strconv.ParseFloat(value, 64); err != nil && isSimple(strings.NewReplacer(".", "", "/", "", ":", "").Replace(value)) {
			return value, true
		}
		return strconv.Quote(value), true
	case int64, uint64, bool, float64, json.Number:
		return fmt.Sprint(value), true
	}
	return "", false
}

// numbering gives equal items equal numbers.
type numbering map[string]int

func (n numbering) of(list []any) []int {
	out := make([]int, len(list))
	for i, item := range list {
		key := string(appendCanonical(nil, item))
		number, met := n[key]
		if !met {
			number = len(n)
			n[key] = number
		}
		out[i] = number
	}
	return out
}

// appendCanonical writes a value such that two are written the same only if they are equal.
func appendCanonical(out []byte, value any) []byte {
	switch value := value.(type) {
	case map[string]any:
		keys := make([]string, 0, len(value))
		for key := range value {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		out = append(out, '{')
		for _, key := range keys {
			out = append(appendCanonical(append(strconv.AppendQuote(out, key), ':'), value[key]), ',')
		}
		return append(out, '}')
	case []any:
		out = append(out, '[')
		for _, item := range value {
			out = append(appendCanonical(out, item), ',')
		}
		return append(out, ']')
	case string:
		return strconv.AppendQuote(out, value)
	case hidden:
		return append(append(out, "hidden "...), value.sum[:]...)
	default:
		return fmt.Appendf(out, "%T %v", value, value)
	}
}

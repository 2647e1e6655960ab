package strictyaml

import "slices"

// Merge returns base with the values of over: maps are merged deeply, key by key, and any other value of over (a list, a
// scalar, null) replaces that of base. Either may be nil. Neither is changed.
func Merge(base, over *Node) *Node {
	if over == nil {
		return base
	}
	if base == nil || base.Kind != Map || over.Kind != Map {
		return over
	}
	merged := *over
	merged.Entries = slices.Clone(base.Entries)
	for _, e := range over.Entries {
		if i := merged.index(e.Key); i >= 0 {
			e.Value = Merge(merged.Entries[i].Value, e.Value)
			merged.Entries[i] = e
		} else {
			merged.Entries = append(merged.Entries, e)
		}
	}
	return &merged
}

// MergeByName merges two lists of maps: items with an equal `name` are merged by Merge and keep their place in base, the
// others are appended. Values other than lists are merged by Merge.
func MergeByName(base, over *Node) *Node {
	if base == nil || over == nil || base.Kind != List || over.Kind != List {
		return Merge(base, over)
	}
	merged := *over
	merged.Items = slices.Clone(base.Items)
	for _, item := range over.Items {
		name := item.Get("name")
		i := slices.IndexFunc(base.Items, func(b *Node) bool {
			n := b.Get("name")
			return n != nil && name != nil && n.Kind == Scalar && name.Kind == Scalar && n.Value == name.Value
		})
		if i >= 0 {
			merged.Items[i] = Merge(merged.Items[i], item)
		} else {
			merged.Items = append(merged.Items, item)
		}
	}
	return &merged
}

// Pick returns a map of n's entries for which keep is true; it is empty if n is not a map.
func (n *Node) Pick(keep func(key string) bool) *Node {
	picked := &Node{Kind: Map}
	if n == nil {
		return picked
	}
	picked.Pos = n.Pos
	for _, e := range n.Entries {
		if keep(e.Key) {
			picked.Entries = append(picked.Entries, e)
		}
	}
	return picked
}

// With returns n, a map, with one value replaced, or added if the key is new. A nil value changes nothing.
func (n *Node) With(key string, value *Node) *Node {
	if value == nil {
		return n
	}
	with := *n
	with.Entries = slices.Clone(n.Entries)
	if i := n.index(key); i >= 0 {
		with.Entries[i].Value = value
	} else {
		with.Entries = append(with.Entries, Entry{key, value.Pos, value})
	}
	return &with
}

// MapStrings returns a copy of n in which f has rewritten every string. f gets the map keys on the way to the string; keys
// are not rewritten.
func (n *Node) MapStrings(f func(path []string, s *Node) string) *Node {
	return n.mapStrings(nil, f)
}

func (n *Node) mapStrings(path []string, f func([]string, *Node) string) *Node {
	if n == nil {
		return nil
	}
	mapped := *n
	switch n.Kind {
	case Scalar:
		if n.Tag == "!!str" {
			mapped.Value = f(path, n)
		}
	case Map:
		mapped.Entries = slices.Clone(n.Entries)
		for i, e := range n.Entries {
			mapped.Entries[i].Value = e.Value.mapStrings(append(slices.Clip(path), e.Key), f)
		}
	case List:
		mapped.Items = make([]*Node, len(n.Items))
		for i, item := range n.Items {
			mapped.Items[i] = item.mapStrings(path, f)
		}
	}
	return &mapped
}

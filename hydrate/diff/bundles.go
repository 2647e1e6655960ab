package diff

import (
	"encoding/json"
	"fmt"
)

// shownOthers bounds the objects named that changed alike.
const shownOthers = 100

// bundle is objects that changed alike, represented by the first of them.
type bundle struct {
	ObjectChange
	entries []entry
	remarks []remark
	others  []ObjectChange
}

// objectsIn counts the objects of bundles.
func objectsIn(bundles []*bundle) int {
	n := len(bundles)
	for _, b := range bundles {
		n += len(b.others)
	}
	return n
}

// bundles joins objects that changed alike, in the order of the first of each.
func (c Changes) bundles() []*bundle {
	d := brief
	if c.All {
		d = every
	}
	var list []*bundle
	alike := map[string]*bundle{}
	for _, o := range c.Objects {
		b := &bundle{ObjectChange: o}
		b.entries, b.remarks = o.entries(d)
		key := b.signature()
		if first := alike[key]; first != nil && key != "" && d != every {
			first.others = append(first.others, o)
			continue
		}
		alike[key] = b
		list = append(list, b)
	}
	for _, b := range list {
		if len(b.others) == 0 {
			continue
		}
		for i, e := range b.entries {
			b.entries[i].heading, b.entries[i].short = e.everywhere(), e.version
		}
	}
	return list
}

// signature is equal for objects that are shown alike, and "" for an object that is always shown by itself.
func (b bundle) signature() string {
	if b.Change != Changed || len(b.remarks) > 0 {
		return ""
	}
	parts := []any{}
	for _, r := range b.Risks {
		if !r.inFields() {
			parts = append(parts, r)
		}
	}
	for _, e := range b.entries {
		if e.kind == "" || e.schema {
			return ""
		}
		parts = append(parts, e.everywhere(), e.values(), len(e.places) > 0)
	}
	data, err := json.Marshal(parts)
	if err != nil {
		return ""
	}
	return string(data)
}

// inFields reports whether the fields show the risk as well.
func (r Risk) inFields() bool { return r.Kind == RiskImage && r.Level == Info }

// everywhere is the kind of the entry, with a star for the file of a ConfigMap that contains the field.
func (e entry) everywhere() string {
	if len(e.Inside) == 0 || len(e.Path) != 2 || !e.Path.below("data") {
		return e.kind
	}
	return "data[*] » " + e.Inside.general().String()
}

// otherNames lists the other objects of a bundle: kind and namespace only if they differ from those before.
func (b bundle) otherNames() []string {
	names := make([]string, len(b.others))
	last := b.ObjectChange
	for i, o := range b.others {
		name := o.Name
		switch {
		case o.Kind != last.Kind || o.Group != last.Group:
			name = o.String()
		case o.Namespace != last.Namespace:
			name = o.Namespace + "/" + o.Name
		}
		names[i] = clean(clip(name, maxShown))
		last = o
	}
	return atMost(names, shownOthers)
}

// more counts the other objects of a bundle.
func (b bundle) more() string {
	if len(b.others) == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more alike", len(b.others))
}

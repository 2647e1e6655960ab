package diff

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what is shown of changes that are alike.
const (
	minAlike    = 3   // fields that are shown as one
	maxAlike    = 8   // fields that are alike but for their values
	shownPlaces = 6   // named of them
	shownOthers = 100 // named of objects that changed alike
)

// entry is what people are shown of an object: one changed field, or several that changed alike.
type entry struct {
	FieldChange
	heading string   // names the field, or what the fields have in common
	places  []string // tell the fields apart; none for one field
	kind    string   // equal for fields, of other objects too, that are one field but for the items of lists
	version string   // how the version of an image changes, in brief: the list of images says of which
	schema  bool     // the field is one of a schema
	short   string   // stands for the values; may be ""
}

// remark says what is left out of an object.
type remark struct {
	message string // words of this package only
	words   string // words of the manifests; may be ""
}

// detail says how much of an object is shown.
type detail int

const (
	brief detail = iota // changes that are alike as one, schemas in outline
	full                // changes that are alike as one
	every               // every field by itself, as it is
)

// entries returns what is shown of the object, and remarks on what is not.
func (o ObjectChange) entries(d detail) (list []entry, remarks []remark) {
	definition := o.Group == "apiextensions.k8s.io" && o.Kind == "CustomResourceDefinition"
	var all []entry
	descriptions := 0
	for _, f := range o.Fields {
		e := entry{FieldChange: f, heading: f.heading()}
		switch {
		case d == every:
		case f.Path == "":
			e.FieldChange = o.withoutTitle(f)
		case definition && e.outline(d):
			if d == brief && e.kind == "description" {
				descriptions++
				continue
			}
		default:
			e.generalise()
			if _, change, ok := f.image(); ok && d == brief {
				e.version = change
			}
		}
		all = append(all, e)
	}
	if descriptions > 0 {
		remarks = append(remarks, remark{message: "… " + plural(descriptions, "changed description") + " in the schema"})
	}
	if o.Omitted > 0 {
		remarks = append(remarks, remark{message: "… " + plural(o.Omitted, "more field")})
	}
	if d == every {
		return all, remarks
	}
	list = together(all)
	if d == brief {
		var more []remark
		list, more = fewOfAKind(list)
		remarks = append(remarks, more...)
	}
	return list, remarks
}

// together makes one of the entries that say the same of fields that differ in items of lists only.
func together(all []entry) []entry {
	alike := map[string][]int{}
	for i, e := range all {
		if e.kind != "" {
			key := e.kind + "\x00" + e.said()
			alike[key] = append(alike[key], i)
		}
	}
	var list []entry
	for i, e := range all {
		same := alike[e.kind+"\x00"+e.said()]
		if e.kind == "" || len(same) < minAlike {
			list = append(list, e)
			continue
		}
		if same[0] != i {
			continue
		}
		for _, j := range same {
			e.places = append(e.places, all[j].place())
		}
		e.heading, e.short = e.kind, e.version
		e.shareVersion()
		list = append(list, e)
	}
	return list
}

// shareVersion names the version of a schema once, where all places are in one.
func (e *entry) shareVersion() {
	version, _, ok := strings.Cut(e.places[0], ": ")
	version += ": "
	if !e.schema || !ok || slices.ContainsFunc(e.places, func(at string) bool { return !strings.HasPrefix(at, version) }) {
		return
	}
	e.heading = version + e.heading
	for i := range e.places {
		e.places[i] = strings.TrimPrefix(e.places[i], version)
	}
}

// fewOfAKind leaves out fields that are alike but for their values where there are many, and says how many.
func fewOfAKind(all []entry) (list []entry, remarks []remark) {
	count := map[string]int{}
	var kinds []string
	for _, e := range all {
		key := e.kind
		if key == "" || e.schema {
			list = append(list, e)
			continue
		}
		if count[key]++; count[key] <= maxAlike {
			list = append(list, e)
		} else if count[key] == maxAlike+1 {
			kinds = append(kinds, key)
		}
	}
	for _, kind := range kinds {
		remarks = append(remarks, remark{fmt.Sprintf("… %d more of ", count[kind]-maxAlike), kind})
	}
	return list, remarks
}

// said is what happened to the field: what it is and was, without where.
func (e entry) said() string {
	if e.version != "" {
		return e.version
	}
	data, err := json.Marshal([]any{e.Change, e.Before, e.After, e.Lines, e.Noise})
	if err != nil { // of no value that came out of JSON or YAML
		return e.heading
	}
	return string(data)
}

// heading names the field.
func (f FieldChange) heading() string {
	if f.Inside == "" {
		return f.Path
	}
	return f.Path + " » " + f.Inside
}

// generalise sets what the field is but for the items of lists.
func (e *entry) generalise() {
	outer, ok := parsePath(e.Path)
	inner, inside := path{}, true
	if e.Inside != "" {
		inner, inside = parsePath(e.Inside)
	}
	if !ok || !inside {
		return
	}
	e.kind = FieldChange{Path: outer.general().String(), Inside: inner.general().String()}.heading()
}

// general returns the path with a star for each item of a list.
func (p path) general() path {
	out := slices.Clone(p)
	for i := range out {
		if out[i].item {
			out[i].name = "*"
		}
	}
	return out
}

// place tells the field from others of its kind.
func (e entry) place() string {
	if e.schema {
		return strings.TrimSuffix(e.heading, " "+e.kind)
	}
	var items []string
	for _, text := range []string{e.Path, e.Inside} {
		at, _ := parsePath(text)
		for _, s := range at {
			if s.item {
				items = append(items, s.name)
			}
		}
	}
	return strings.Join(items, "/")
}

// where names the places of an entry, "" if it is of one field.
func (e entry) where() string {
	if len(e.places) == 0 {
		return ""
	}
	shown := e.places[:min(len(e.places), shownPlaces)]
	s := fmt.Sprintf("in %d places: %s", len(e.places), strings.Join(shown, ", "))
	if more := len(e.places) - len(shown); more > 0 {
		s += fmt.Sprintf(", … %d more", more)
	}
	return s
}

// withoutTitle returns the change of a whole object without what its title says.
func (o ObjectChange) withoutTitle(f FieldChange) FieldChange {
	trim := func(value any) any {
		whole, ok := value.(map[string]any)
		meta, named := whole["metadata"].(map[string]any)
		if !ok || !named || meta["name"] != o.Name {
			return value
		}
		out := map[string]any{}
		for key, v := range whole {
			if key != "kind" && key != "metadata" {
				out[key] = v
			}
		}
		rest := map[string]any{}
		for key, v := range meta {
			if key != "name" && key != "namespace" {
				rest[key] = v
			}
		}
		if len(rest) > 0 {
			out["metadata"] = rest
		}
		return out
	}
	f.Before, f.After = trim(f.Before), trim(f.After)
	return f
}

// bundle is objects that changed alike, as the first of them shows.
type bundle struct {
	ObjectChange
	entries []entry
	remarks []remark
	others  []ObjectChange
}

// objects is the number of objects.
func (b bundle) objects() int { return 1 + len(b.others) }

// bundles puts objects together that changed alike, in the order of the first of each.
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

// signature is equal for objects of which the same is to be said, and "" for what is shown by itself always.
func (b bundle) signature() string {
	if b.Change != Changed || len(b.remarks) > 0 {
		return ""
	}
	said := []any{}
	for _, r := range b.Risks {
		if r.Kind != RiskImage || r.Level != Info { // the fields say it
			said = append(said, r)
		}
	}
	for _, e := range b.entries {
		if e.kind == "" || e.schema {
			return ""
		}
		said = append(said, e.everywhere(), e.said(), len(e.places) > 0)
	}
	data, err := json.Marshal(said)
	if err != nil {
		return ""
	}
	return string(data)
}

// everywhere is the kind of the entry, with a star for the file of a ConfigMap that holds the field.
func (e entry) everywhere() string {
	outer, ok := parsePath(e.Path)
	if e.Inside == "" || !ok || len(outer) != 2 || !outer.below("data") {
		return e.kind
	}
	_, inner, _ := strings.Cut(e.kind, " » ")
	return "data[*] » " + inner
}

// otherNames lists the other objects of a bundle: kind and namespace only where they differ from those before.
func (b bundle) otherNames() []string {
	var names []string
	last := b.ObjectChange
	for i, o := range b.others {
		if i == shownOthers {
			return append(names, fmt.Sprintf("… %d more", len(b.others)-i))
		}
		name := o.Name
		switch {
		case o.Kind != last.Kind || o.Group != last.Group:
			name = o.String()
		case o.Namespace != last.Namespace:
			name = o.Namespace + "/" + o.Name
		}
		names = append(names, clean(clip(name, maxShown)))
		last = o
	}
	return names
}

package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds on what is shown of changes that are alike.
const (
	minAlike    = 3 // fields that are shown as one
	shownPlaces = 6 // named of those in one text, such as a dashboard
)

// entry is what people are shown of an object: one changed field, or several that changed alike.
type entry struct {
	FieldChange
	heading string   // names the field, or what the fields have in common
	places  []string // distinguish the fields; none for one field
	kind    string   // equal for fields, also of other objects, that differ in list items only
	version string   // the change of an image's version, in brief: the list of images has the rest
	schema  bool     // the field is in a schema
	short   string   // replaces the values; may be ""
}

// detail is how much of an object is shown.
type detail int

const (
	brief detail = iota // changes that are alike as one, schemas without descriptions
	full                // changes that are alike as one
	every               // every field by itself, as it is
)

// entries returns what is shown of the object, and the number of descriptions in schemas that are not.
func (o ObjectChange) entries(d detail) (list []entry, descriptions int) {
	definition := o.Group == "apiextensions.k8s.io" && o.Kind == "CustomResourceDefinition"
	for _, f := range o.Fields {
		e := entry{FieldChange: f, heading: f.heading()}
		switch {
		case d == every:
		case len(f.Path) == 0:
			e.FieldChange = o.withoutTitle(f)
		case definition && e.outline():
			if d == brief && e.kind == "description" {
				descriptions++
				continue
			}
		default:
			e.kind = FieldChange{Path: f.Path.general(), Inside: f.Inside.general()}.heading()
			if _, change, ok := f.image(); ok && d == brief {
				e.version = change
			}
		}
		if definition && d == brief {
			descriptions += e.withoutDescriptions()
		}
		list = append(list, e)
	}
	if d == every {
		return list, 0
	}
	return join(list), descriptions
}

// join makes one entry of those whose fields differ in list items only and changed alike.
func join(all []entry) []entry {
	alike := map[string][]entry{}
	key := func(e entry) string { return e.kind + "\x00" + e.values() }
	for _, e := range all {
		if e.kind != "" {
			alike[key(e)] = append(alike[key(e)], e)
		}
	}
	var list []entry
	for _, e := range all {
		same := alike[key(e)]
		switch {
		case e.kind == "" || len(same) > 0 && len(same) < minAlike:
			list = append(list, e)
		case len(same) > 0: // the first of them
			for _, s := range same {
				e.places = append(e.places, s.place())
			}
			e.heading, e.short = e.kind, e.version
			e.shareVersion()
			list = append(list, e)
			alike[key(e)] = nil
		}
	}
	return list
}

// shareVersion names the version of a schema once, if all places are in one.
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

// values is a text for what happened to the field, without its path.
func (e entry) values() string {
	if before, after, ok := e.texts(); ok && e.version != "" {
		repository, _ := splitImage(after)
		return strings.TrimPrefix(before, repository) + " " + strings.TrimPrefix(after, repository)
	}
	data, err := json.Marshal([]any{e.Change, e.Before, e.After, e.Lines, e.Noise})
	if err != nil { // not possible for values from JSON or YAML
		return e.heading
	}
	return string(data)
}

// place distinguishes the field from others of its kind.
func (e entry) place() string {
	if e.schema {
		return strings.TrimSuffix(e.heading, " "+e.kind)
	}
	return strings.Join(append(e.Path.items(), e.Inside.items()...), "/")
}

// where names the places of an entry, or returns "" for one field: LD_PRELOAD is another place than LOG_LEVEL.
func (e entry) where() string {
	places := e.places
	if len(places) == 0 {
		return ""
	}
	if len(e.Inside) > 0 {
		places = atMost(places, shownPlaces)
	}
	return fmt.Sprintf("in %d places: %s", len(e.places), strings.Join(places, ", "))
}

// withoutTitle returns the change of a whole object without what its title contains.
func (o ObjectChange) withoutTitle(f FieldChange) FieldChange {
	trim := func(value any) any {
		whole, _ := value.(map[string]any)
		meta, _ := whole["metadata"].(map[string]any)
		if meta["name"] != o.Name {
			return value
		}
		whole, meta = maps.Clone(whole), maps.Clone(meta)
		delete(whole, "kind")
		delete(meta, "name")
		delete(meta, "namespace")
		whole["metadata"] = meta
		if len(meta) == 0 {
			delete(whole, "metadata")
		}
		return whole
	}
	f.Before, f.After = trim(f.Before), trim(f.After)
	return f
}

// shownOthers bounds the objects named that changed alike.
const shownOthers = 100

// bundle is objects that changed alike, represented by the first of them.
type bundle struct {
	ObjectChange
	entries []entry
	remark  string // what is left out; "" for nothing
	others  []ObjectChange
}

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
		var descriptions int
		if b.entries, descriptions = o.entries(d); descriptions > 0 {
			b.remark = "… " + plural(descriptions, "description") + " in the schema"
		}
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
			if len(e.Inside) > 0 || e.version != "" {
				b.entries[i].heading, b.entries[i].short = e.everywhere(), e.version
			}
		}
	}
	return list
}

// signature is equal for objects that are shown alike, and "" for an object that is always shown by itself.
func (b bundle) signature() string {
	if b.Change != Changed || b.remark != "" {
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
		if len(e.Inside) == 0 && e.version == "" { // the images have a list of their own
			parts = append(parts, e.place(), e.places)
		}
	}
	data, _ := json.Marshal(parts) // nil if that fails
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

func (b bundle) more() string {
	if len(b.others) == 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more alike", len(b.others))
}

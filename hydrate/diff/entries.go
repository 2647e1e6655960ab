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
	maxAlike    = 8 // fields that are alike but for their values
	shownPlaces = 6 // named of them
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

// remark is what is left out of an object.
type remark struct {
	message string // words of this package only
	words   string // words of the manifests; may be ""
}

// detail is how much of an object is shown.
type detail int

const (
	brief detail = iota // changes that are alike as one, schemas in outline
	full                // changes that are alike as one
	every               // every field by itself, as it is
)

// entries returns what is shown of the object, and remarks on what is not.
func (o ObjectChange) entries(d detail) (list []entry, remarks []remark) {
	definition := o.Group == "apiextensions.k8s.io" && o.Kind == "CustomResourceDefinition"
	descriptions := 0
	for _, f := range o.Fields {
		e := entry{FieldChange: f, heading: f.heading()}
		switch {
		case d == every:
		case len(f.Path) == 0:
			e.FieldChange = o.withoutTitle(f)
		case definition && e.outline(d == brief):
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
		list = append(list, e)
	}
	if descriptions > 0 {
		remarks = append(remarks, remark{message: "… " + plural(descriptions, "changed description") + " in the schema"})
	}
	if o.Omitted > 0 {
		remarks = append(remarks, remark{message: "… " + plural(o.Omitted, "more field")})
	}
	if d == every {
		return list, remarks
	}
	list = join(list)
	if d == brief {
		var more []remark
		list, more = fewOfAKind(list)
		remarks = append(remarks, more...)
	}
	return list, remarks
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

// fewOfAKind leaves out fields that are alike but for their values if there are many, and counts them in remarks.
func fewOfAKind(all []entry) (list []entry, remarks []remark) {
	count := map[string]int{}
	var kinds []string
	for _, e := range all {
		if e.kind == "" || e.schema {
			list = append(list, e)
			continue
		}
		if count[e.kind]++; count[e.kind] <= maxAlike {
			list = append(list, e)
		} else if count[e.kind] == maxAlike+1 {
			kinds = append(kinds, e.kind)
		}
	}
	for _, kind := range kinds {
		remarks = append(remarks, remark{fmt.Sprintf("… %d more of ", count[kind]-maxAlike), kind})
	}
	return list, remarks
}

// values is a text for what happened to the field, without its path.
func (e entry) values() string {
	if e.version != "" {
		return e.version
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

// where names the places of an entry, or returns "" for one field.
func (e entry) where() string {
	if len(e.places) == 0 {
		return ""
	}
	return fmt.Sprintf("in %d places: %s", len(e.places), strings.Join(atMost(e.places, shownPlaces), ", "))
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

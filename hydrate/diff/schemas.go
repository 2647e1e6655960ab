package diff

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Bounds on the outline of a field of a schema.
const (
	outlineNames = 8
	outlineBytes = 100
)

// schemaPlace splits a path in the schema of a definition: the version, the field of custom resources, and the changed
// part of that field's schema, empty for the whole. It reports whether a schema is on the path.
func schemaPlace(at Path) (version string, field, part Path, ok bool) {
	i := slices.Index(at, step{name: "openAPIV3Schema"})
	if i < 0 {
		return "", nil, nil, false
	}
	for j := 1; j < i; j++ {
		if at[j].item && at[j-1] == (step{name: "versions"}) {
			version = strings.TrimPrefix(at[j].name, "name=")
		}
	}
	for i++; i < len(at) && !at[i].item; i++ {
		switch name := at[i].name; {
		case name == "properties" && i+1 < len(at):
			i++
			field = field.key(at[i].name)
		case name == "items" && i+1 < len(at):
			field = field.item("")
		case name == "additionalProperties" && i+1 < len(at):
			field = field.item("*")
		default:
			return version, field, at[i:], true
		}
	}
	return version, field, at[i:], true
}

// schemaField names the field of custom resources that a path in their schema is about: "v1: spec.paused".
func schemaField(at Path) string {
	version, field, _, _ := schemaPlace(at)
	return version + ": " + field.String()
}

// outline names an entry in a schema by the field of custom resources that it is about, and describes a new or removed
// field in a few words if brief. It reports whether the entry is in a schema.
func (e *entry) outline(brief bool) bool {
	version, field, part, ok := schemaPlace(e.Path)
	if !ok || len(e.Inside) > 0 {
		return false
	}
	e.schema, e.heading = true, version+": "+field.String()
	switch {
	case len(part) > 0:
		e.kind = part.String()
		e.heading += " " + e.kind
	case brief && e.Change == Added:
		e.short = outlineOf(e.After)
	case brief && e.Change == Removed:
		e.short = outlineOf(e.Before)
	}
	return true
}

// outlineOf describes a field by its schema: "string: Always, Never", "list of object: host, port".
func outlineOf(value any) string {
	schema, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	s := cmp.Or(text(schema["type"]), "anything")
	if schema["x-kubernetes-int-or-string"] == true {
		s = "integer or string"
	}
	var names []string
	items, list := schema["items"].(map[string]any)
	properties, object := schema["properties"].(map[string]any)
	choices, enum := schema["enum"].([]any)
	switch {
	case list:
		return clip("list of "+outlineOf(items), outlineBytes)
	case object:
		names = slices.Sorted(maps.Keys(properties))
	case enum:
		for _, choice := range choices {
			names = append(names, fmt.Sprint(choice))
		}
	}
	if len(names) > 0 {
		s += ": " + strings.Join(atMost(names, outlineNames), ", ")
	}
	return clip(s, outlineBytes)
}

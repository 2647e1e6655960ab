package diff

import (
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

// schemaPlace splits the path of a change in the schema of a definition: the version, the field of custom resources
// that it speaks of, and what of that field's schema changes, nothing for the whole. It reports whether there is a schema
// on the path.
func schemaPlace(at path) (version string, field, rest path, ok bool) {
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
			field = field.to(at[i].name)
		case name == "items" && i+1 < len(at):
			field = field.toItem("")
		case name == "additionalProperties" && i+1 < len(at):
			field = field.toItem("*")
		default:
			return version, field, at[i:], true
		}
	}
	return version, field, at[i:], true
}

// schemaField names the field of custom resources that a path in their schema speaks of: "v1: spec.paused".
func schemaField(at path) string {
	version, field, _, _ := schemaPlace(at)
	return version + ": " + field.String()
}

// outline names an entry by the field of custom resources that it is about, where it is in a schema, and says in a few
// words what a new or removed field is.
func (e *entry) outline(d detail) bool {
	at, ok := parsePath(e.Path)
	if !ok || e.Inside != "" {
		return false
	}
	version, field, rest, ok := schemaPlace(at)
	if !ok {
		return false
	}
	e.schema, e.heading = true, version+": "+field.String()
	if len(rest) > 0 {
		e.kind = rest.String()
		e.heading += " " + e.kind
		return true
	}
	if d == brief {
		switch e.Change {
		case Added:
			e.short = outlineOf(e.After)
		case Removed:
			e.short = outlineOf(e.Before)
		}
	}
	return true
}

// outlineOf says what a field is by its schema: "string: Always, Never", "list of object: host, port".
func outlineOf(value any) string {
	schema, ok := value.(map[string]any)
	if !ok {
		return ""
	}
	s := text(schema["type"])
	if schema["x-kubernetes-int-or-string"] == true {
		s = "integer or string"
	}
	if s == "" {
		s = "anything"
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
	if more := len(names) - outlineNames; more > 0 {
		names = append(names[:outlineNames], fmt.Sprintf("… %d more", more))
	}
	if len(names) > 0 {
		s += ": " + strings.Join(names, ", ")
	}
	return clip(s, outlineBytes)
}

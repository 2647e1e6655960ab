package diff

import (
	"cmp"
	"slices"
	"strings"
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

// outline names an entry in a schema by the field of custom resources that it is about. It reports whether the entry is in a schema.
func (e *entry) outline() bool {
	version, field, part, ok := schemaPlace(e.Path)
	if !ok || len(e.Inside) > 0 {
		return false
	}
	e.schema, e.heading = true, version+": "+field.String()
	if len(part) > 0 {
		e.kind = part.String()
		e.heading += " " + e.kind
	}
	return true
}

// withoutDescriptions takes the descriptions off schemas in the values of an entry, which are read by people only, and returns how
// many there were. A schema that says its type only is shown in a word.
func (e *entry) withoutDescriptions() (count int) {
	_, _, part, ok := schemaPlace(e.Path)
	strip := func(value any) any {
		if ok && len(part) == 0 {
			return bare(value, &count)
		}
		return bareSchemas(value, &count)
	}
	e.Before, e.After = strip(e.Before), strip(e.After)
	if only, _ := cmp.Or(e.Before, e.After).(map[string]any); e.schema && len(part) == 0 && len(only) == 1 && e.Change != Changed {
		e.short = text(only["type"])
	}
	return count
}

// bareSchemas returns a part of a definition with the descriptions taken off its schemas.
func bareSchemas(value any, count *int) any {
	return mapChildren(value, func(key string, v any) any {
		if key == "openAPIV3Schema" {
			return bare(v, count)
		}
		return bareSchemas(v, count)
	})
}

// bare returns a schema without descriptions. Values of `default`, `enum` and `example` are kept as they are.
func bare(schema any, count *int) any {
	fields, ok := schema.(map[string]any)
	if !ok {
		return schema
	}
	out := make(map[string]any, len(fields))
	for key, value := range fields {
		switch key {
		case "description":
			if _, prose := value.(string); prose {
				*count++
				continue
			}
		case "properties", "patternProperties", "definitions", "allOf", "anyOf", "oneOf":
			value = mapChildren(value, func(_ string, v any) any { return bare(v, count) })
		case "items", "additionalProperties", "not":
			value = bare(value, count)
		}
		out[key] = value
	}
	return out
}

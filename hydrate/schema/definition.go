package schema

import (
	"fmt"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lockage/lockage/hydrate"
)

const maxDepth = 256 // of schemas in schemas; what is deeper cannot be in an object

// definitions are the custom resource definitions of one render by the kind they define, compiled when asked for.
type definitions map[groupKind]hydrate.Object

type groupKind struct{ group, kind string }

func definitionsOf(objects []hydrate.Object) definitions {
	found := definitions{}
	for _, o := range objects {
		if o.Group != "apiextensions.k8s.io" || o.Kind != "CustomResourceDefinition" {
			continue
		}
		spec := asMap(o.Content()["spec"])
		group, _ := spec["group"].(string)
		kind, _ := asMap(spec["names"])["kind"].(string)
		found[groupKind{group, kind}] = o
	}
	return found
}

// schema returns the schema that a definition has for an object; nil where none defines its kind.
func (d definitions) schema(o hydrate.Object) (*jsonschema.Schema, error) {
	definition, found := d[groupKind{o.Group, o.Kind}]
	if !found {
		return nil, nil
	}
	versions, _ := asMap(definition.Content()["spec"])["versions"].([]any)
	for _, v := range versions {
		version := asMap(v)
		if version["name"] != o.Version || version["served"] != true {
			continue
		}
		structural := asMap(asMap(version["schema"])["openAPIV3Schema"])
		name := fmt.Sprintf("of %v, version %s", definition, o.Version)
		if structural == nil {
			return nil, fmt.Errorf("no schema %s", name)
		}
		return compile(name, convert(structural, true, 0))
	}
	return nil, fmt.Errorf("%v serves no version %s", definition, o.Version)
}

// convert makes a JSON schema of a structural one of Kubernetes: null where `nullable` allows it, no fields beyond those that are
// named. A resource, the root or an embedded one, also has the fields that every resource has.
func convert(structural map[string]any, resource bool, depth int) map[string]any {
	out := maps.Clone(structural)
	if depth > maxDepth {
		return out
	}
	properties, named := structural["properties"].(map[string]any)
	if named || resource {
		fields := map[string]any{}
		for name, field := range properties {
			fields[name] = convert(asMap(field), false, depth+1)
		}
		if resource || structural["x-kubernetes-embedded-resource"] == true {
			for _, name := range []string{"apiVersion", "kind", "metadata"} {
				fields[name] = map[string]any{}
			}
		}
		out["properties"] = fields
		_, more := structural["additionalProperties"]
		if !more && structural["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
	}
	if more, ok := structural["additionalProperties"].(map[string]any); ok {
		out["additionalProperties"] = convert(more, false, depth+1)
	}
	if items, ok := structural["items"].(map[string]any); ok {
		out["items"] = convert(items, false, depth+1)
	}
	if kind, ok := structural["type"].(string); ok && structural["nullable"] == true {
		out["type"] = []any{kind, "null"}
		if values, ok := structural["enum"].([]any); ok {
			out["enum"] = append(slices.Clone(values), nil)
		}
	}
	return out
}

func asMap(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

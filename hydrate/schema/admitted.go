package schema

import (
	"errors"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
)

// maxAdmitted bounds the values of one custom resource, defaults included: a default of many values may be that of many items.
const maxAdmitted = 1 << 20

// admission makes of a custom resource what the API server validates: null is dropped where its schema allows none, and fields that are
// not given have their defaults.
type admission struct{ room int }

func (a *admission) value(value any, schema *jsonschema.Schema, depth int) any {
	a.room--
	for schema != nil && schema.Ref != nil && depth < maxDepth {
		schema, depth = schema.Ref, depth+1
	}
	if schema == nil || depth >= maxDepth || a.room <= 0 {
		return value
	}
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, v := range value {
			field := schema.Properties[key]
			if field == nil {
				field, _ = schema.AdditionalProperties.(*jsonschema.Schema)
			}
			if v != nil || field == nil || field.Validate(nil) == nil {
				out[key] = a.value(v, field, depth+1)
			}
		}
		for key, field := range schema.Properties {
			if _, given := out[key]; !given && field.Default != nil && *field.Default != nil {
				out[key] = a.value(*field.Default, field, depth+1)
			}
		}
		return out
	case []any:
		items, _ := schema.Items.(*jsonschema.Schema)
		if items == nil {
			items = schema.Items2020
		}
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = a.value(v, items, depth+1)
		}
		return out
	}
	return value
}

// kubernetesFormats returns the formats of strings as the API server knows them, in place of JSON Schema's: a duration is 5m or 3d, a
// URI may be a path. It ignores all others.
func kubernetesFormats() map[string]*jsonschema.Format {
	all := map[string]*jsonschema.Format{}
	for _, name := range []string{"json-pointer", "relative-json-pointer", "regex", "period", "time", "iri", "uri-reference", "iri-reference", "uri-template", "semver"} {
		all[name] = &jsonschema.Format{Name: name, Validate: func(any) error { return nil }}
	}
	for _, name := range []string{"bsonobjectid", "uri", "email", "hostname", "ipv4", "ipv6", "cidr", "mac", "uuid", "uuid3", "uuid4", "uuid5", "isbn", "isbn10", "isbn13",
		"creditcard", "ssn", "hexcolor", "rgbcolor", "byte", "password", "date", "duration", "datetime", "date-time"} {
		all[name] = &jsonschema.Format{Name: name, Validate: func(value any) error {
			if s, ok := value.(string); ok && !strfmt.Default.Validates(name, s) {
				return errors.New("not what Kubernetes takes for one")
			}
			return nil
		}}
	}
	return all
}

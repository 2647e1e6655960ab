package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/invopop/jsonschema"
)

// SchemaID is the JSON Schema's $id.
const SchemaID = "https://lockage.dev/schemas/v1alpha1/pipeline.json"

// Schema returns the JSON Schema (2020-12) of pipeline files with gates of the given kinds, for editors. Load may refuse a
// file that it accepts. It requires no key that an extended file may have.
func Schema(kinds []GateKind) ([]byte, error) {
	r := jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
	}
	s := r.Reflect(&Pipeline{})
	gate := s.Definitions["Gate"]
	r.ExpandedStruct = false
	for _, k := range kinds {
		condition := r.ReflectFromType(k.declared)
		maps.Copy(s.Definitions, condition.Definitions)
		gate.Properties.Set(k.Name, &jsonschema.Schema{Ref: condition.Ref, Type: condition.Type, Description: k.Description})
		gate.OneOf = append(gate.OneOf, &jsonschema.Schema{Required: []string{k.Name}})
	}
	s.ID = SchemaID
	s.Title = "lockage pipeline"
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("make the schema of pipeline files: %w", err)
	}
	return append(data, '\n'), nil
}

// JSONSchema describes the two shapes of after.
func (After) JSONSchema() *jsonschema.Schema {
	names := &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}}
	all := jsonschema.NewProperties()
	all.Set("all", names)
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		names,
		{Type: "object", Properties: all, Required: []string{"all"}, AdditionalProperties: jsonschema.FalseSchema},
	}}
}

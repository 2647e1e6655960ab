package pipeline

import (
	"encoding/json"

	"github.com/invopop/jsonschema"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/strictyaml"
)

// ValuesFile names a Helm values file. A string in the pipeline file names one of the GitOps repository, which must exist.
type ValuesFile struct {
	Pos      strictyaml.Pos `yaml:"-"` // in the pipeline file
	File     string         `yaml:"file,required"`
	From     Origin         `yaml:"from"`     // "" for FromGitOps
	Optional bool           `yaml:"optional"` // a file that does not exist is left out
}

// Origin is the repository of a values file.
type Origin string

// The origins: the GitOps repository, or the source below the lock's sourcePath at the locked commit.
const (
	FromGitOps Origin = "gitops"
	FromSource Origin = "source"
)

// DecodeNode reads a path, or {file: …, from: …, optional: …}.
func (v *ValuesFile) DecodeNode(n *strictyaml.Node, _ bool) (problems strictyaml.Problems) {
	if n.Kind == strictyaml.Map && !isBarePlaceholder(n) {
		type fields ValuesFile // without this method
		problems = strictyaml.Decode(n, (*fields)(v))
	} else {
		one := (&strictyaml.Node{Pos: n.Pos, Kind: strictyaml.Map}).With("values", n)
		problems = strictyaml.DecodeFields(one, "", true, []strictyaml.Field{{Key: "values", Into: &v.File}})
	}
	v.Pos = n.Pos
	return problems
}

// Value is a value of any type.
type Value struct{ JSON json.RawMessage }

// DecodeNode reads any value.
func (v *Value) DecodeNode(n *strictyaml.Node, _ bool) (problems strictyaml.Problems) {
	v.JSON, problems = n.JSON()
	return problems
}

// Assertion is [hydrate.Assertion] as declared: true, false or anywhere.
type Assertion hydrate.Assertion

// DecodeNode reads a boolean, or anywhere.
func (a *Assertion) DecodeNode(n *strictyaml.Node, _ bool) strictyaml.Problems {
	switch {
	case n.Kind == strictyaml.Scalar && n.Tag == "!!bool" && n.Value == "true":
		*a = Assertion(hydrate.AssertOutsideMetadata)
	case n.Kind == strictyaml.Scalar && n.Tag == "!!bool" && n.Value == "false":
		*a = Assertion(hydrate.AssertNothing)
	case n.Kind == strictyaml.Scalar && n.Value == string(hydrate.AssertAnywhere):
		*a = Assertion(hydrate.AssertAnywhere)
	default:
		return strictyaml.Problems{{Pos: n.Pos, Msg: "assertImage is true, false or anywhere"}}
	}
	return nil
}

// JSONSchema describes the choices.
func (Assertion) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Enum: []any{true, false, string(hydrate.AssertAnywhere)}, Default: true}
}

// JSONSchema describes any value.
func (Value) JSONSchema() *jsonschema.Schema { return jsonschema.TrueSchema }

// checkQuotes reports placeholders without quotes, which YAML reads as maps.
func (s scope) checkQuotes(n *strictyaml.Node, c *checker) {
	if n == nil {
		return
	}
	if isBarePlaceholder(n) {
		name := n.Entries[0].Key
		if _, known, absent := s.value(name); known || absent != "" {
			c.add(n.Pos, `{%s} without quotes is a YAML map: write "{%s}", or {%s: null} if the map is meant`, name, name, name)
		}
	}
	for _, e := range n.Entries {
		s.checkQuotes(e.Value, c)
	}
	for _, item := range n.Items {
		s.checkQuotes(item, c)
	}
}

// isBarePlaceholder reports whether a map is a {name} whose quotes were forgotten.
func isBarePlaceholder(n *strictyaml.Node) bool {
	return len(n.Entries) == 1 && n.Entries[0].Value.IsNull() && n.Entries[0].Value.Value == ""
}

// checkValues checks where values files are.
func (e *effective) checkValues(c *checker) {
	c.rule(e.doc, RepositoryPath, "render", "values")
	for i, v := range e.Render.Values {
		c.rule(e.doc, oneOf(string(FromGitOps), string(FromSource)), "render", "values", i, "from")
		path := RepositoryPath
		if v.From == FromSource {
			path = sourcePath
		}
		c.rule(e.doc, path, "render", "values", i, "file")
	}
}

// JSONSchema describes the two shapes of an entry of values.
func (ValuesFile) JSONSchema() *jsonschema.Schema {
	properties := jsonschema.NewProperties()
	properties.Set("file", &jsonschema.Schema{Type: "string", Description: "The file's path."})
	properties.Set("from", &jsonschema.Schema{Type: "string", Enum: []any{FromGitOps, FromSource}, Default: FromGitOps,
		Description: "gitops: a path in the GitOps repository. source: below the lock's sourcePath, at the locked commit."})
	properties.Set("optional", &jsonschema.Schema{Type: "boolean", Default: false, Description: "Whether a file that does not exist is left out."})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string"},
		{Type: "object", Properties: properties, Required: []string{"file"}, AdditionalProperties: jsonschema.FalseSchema},
	}}
}

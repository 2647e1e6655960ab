package helm

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/memo"
)

// schemaURL is the URL of a chart's schema, as in Helm: a reference by a relative path is resolved beside it, and fails.
const schemaURL = "file:///values.schema.json"

// schemas replaces Helm's validation, which fetches what a schema refers to over the network and from the host's files.
type schemas struct {
	compiled memo.Map[string, compiledSchema] // by their text
}

type compiledSchema struct {
	schema   *jsonschema.Schema
	warnings []string
}

// validate checks values against the schemas of c and the charts below it, and lists all problems at once.
func (s *schemas) validate(ctx context.Context, c *instance, values map[string]any) (warnings []string, err error) {
	var problems []string
	s.visit(ctx, c, values, &problems, &warnings)
	if len(problems) > 0 {
		return warnings, fmt.Errorf("values do not match the chart's values.schema.json:\n%s", strings.Join(problems, "\n"))
	}
	return warnings, nil
}

func (s *schemas) visit(ctx context.Context, c *instance, values map[string]any, problems, warnings *[]string) {
	if c.schema != nil {
		hydrate.Progress(ctx, c.path+"/values.schema.json") // references that branch take time without end
		schema, err := s.compiled.Get(string(c.schema), func() (compiledSchema, error) { return compileSchema(c.schema) })
		for _, w := range schema.warnings {
			*warnings = append(*warnings, fmt.Sprintf("%s: %s", c.path, w))
		}
		if err == nil {
			err = schema.schema.Validate(values)
		}
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "jsonschema validation failed with '"+schemaURL+"#'\n")
			*problems = append(*problems, fmt.Sprintf("%s:\n%s", c.path, text))
		}
	}
	for _, d := range c.subcharts {
		switch below := values[d.name].(type) {
		case nil:
		case map[string]any:
			s.visit(ctx, d, below, problems, warnings)
		default:
			*problems = append(*problems, fmt.Sprintf("%s:\n- at '/%s': want the subchart's values, a map, got %T", c.path, d.name, below))
		}
	}
}

func compileSchema(schema []byte) (out compiledSchema, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("values.schema.json: %v", r)
		}
	}()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		return out, fmt.Errorf("values.schema.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(hermeticLoader{&out.warnings})
	if err := compiler.AddResource(schemaURL, document); err != nil {
		return out, fmt.Errorf("values.schema.json: %w", err)
	}
	out.schema, err = compiler.Compile(schemaURL)
	return out, err
}

// hermeticLoader resolves references to schemas outside the chart. Those on the network accept everything; those in files
// fail, since Helm resolves them against the host's root folder.
type hermeticLoader struct{ warnings *[]string }

// Load implements [jsonschema.URLLoader].
func (l hermeticLoader) Load(url string) (any, error) {
	if strings.HasPrefix(url, "file:") {
		return nil, fmt.Errorf("the schema refers to the file %s; write it into values.schema.json", strings.TrimPrefix(url, "file://"))
	}
	*l.warnings = append(*l.warnings, fmt.Sprintf("values.schema.json refers to %s, which is not fetched: what it would check is not checked", url))
	return true, nil
}

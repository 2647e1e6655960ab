// Package schema checks objects against JSON schemas of their kinds, offline.
//
// # Where schemas come from
//
// The definitions of custom resources among the objects come first: they serve their own resources, in the versions that
// they serve. All others are files of one folder, named as kubeconform's users have them:
//
//	v1.34.0-standalone-strict/deployment-apps-v1.json   Kubernetes' own, as in github.com/yannh/kubernetes-json-schema
//	v1.34.0-standalone/deployment-apps-v1.json          likewise, letting unknown fields pass
//	monitoring.coreos.com/servicemonitor_v1.json        custom resources, as in github.com/datreeio/CRDs-catalog
//
// Nothing is fetched. Schemas without a `$schema` are of draft 4, which Kubernetes' own are.
//
// # What it refuses
//
// What the API server of Kubernetes refuses for these reasons, and no more: a custom resource is checked as the API server stores it, without
// nulls where its schema allows none and with its defaults, and formats are those that Kubernetes knows.
//
// Objects without a schema: a check that skips them would approve what it did not check. Schemas that refer to other files.
// Fields that a custom resource's definition does not have, as Kubernetes' own clients do.
package schema

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/memo"
)

const (
	maxSchemaBytes = 16 << 20
	maxProblems    = 20 // listed in one error
)

// Schemas are those of one folder for one version of Kubernetes. They are safe for concurrent use.
type Schemas struct {
	files   fs.FS
	version string                               // "v1.34.0"
	read    memo.Map[string, *jsonschema.Schema] // by file name
}

// New returns the schemas below files for a version such as "1.34" or "v1.34.2".
func New(files fs.FS, kubeVersion string) *Schemas {
	version := "v" + strings.TrimPrefix(kubeVersion, "v")
	if strings.Count(version, ".") == 1 {
		version += ".0"
	}
	return &Schemas{files: files, version: version}
}

// Check implements [hydrate.Checker].
func (s *Schemas) Check(objects []hydrate.Object) error {
	definitions := definitionsOf(objects)
	var problems []string
	for _, o := range objects {
		custom := true
		schema, err := definitions.schema(o)
		if schema == nil && err == nil {
			schema, custom, err = s.lookUp(o)
		}
		if err == nil {
			var content any = o.Content()
			if custom {
				content = (&admission{maxAdmitted}).value(content, schema, 0)
			}
			err = schema.Validate(content)
		}
		if err == nil {
			continue
		}
		for _, problem := range describe(o, err) {
			problems = append(problems, fmt.Sprintf("%s: %v: %s", o.Source, o, problem))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	problems = slices.Compact(problems)
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems:maxProblems], fmt.Sprintf("and %d more", len(problems)-maxProblems))
	}
	return fmt.Errorf("objects do not match the schemas of Kubernetes %s (render.validate):\n  %s", s.version, strings.Join(problems, "\n  "))
}

// lookUp returns the schema of an object's kind from the folder, and reports whether it is that of a custom resource.
func (s *Schemas) lookUp(o hydrate.Object) (_ *jsonschema.Schema, custom bool, err error) {
	kind, version := strings.ToLower(o.Kind), strings.ToLower(o.Version)
	suffix := "-" + version
	if o.Group != "" {
		label, _, _ := strings.Cut(o.Group, ".")
		suffix = "-" + strings.ToLower(label) + suffix
	}
	names := []string{s.version + "-standalone-strict/" + kind + suffix + ".json", s.version + "-standalone/" + kind + suffix + ".json"}
	if o.Group != "" {
		names = append(names, o.Group+"/"+kind+"_"+version+".json")
	}
	for i, name := range names {
		if strings.Count(name, "/") != 1 || !fs.ValidPath(name) {
			continue // a malformed kind or group
		}
		schema, err := s.file(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return schema, i == 2, err
		}
	}
	return nil, false, fmt.Errorf("no schema; the folder render.schemas has no %s", strings.Join(names, ", nor "))
}

func (s *Schemas) file(name string) (*jsonschema.Schema, error) {
	return s.read.Get(name, func() (*jsonschema.Schema, error) {
		data, err := bounded.ReadFile(s.files, name, maxSchemaBytes)
		if err != nil {
			return nil, fmt.Errorf("schema %w", err)
		}
		content, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		return compile(name, content)
	})
}

// compile compiles one schema that stands alone.
func compile(name string, content any) (schema *jsonschema.Schema, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
		if err != nil {
			err = fmt.Errorf("schema %s: %w", name, err)
		}
	}()
	if root, ok := content.(map[string]any); ok && root["$schema"] == "http://json-schema.org/schema#" {
		delete(root, "$schema") // Kubernetes' own say so, and are of draft 4
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	compiler.UseLoader(alone{})
	for _, format := range kubernetesFormats() {
		compiler.RegisterFormat(format)
	}
	const url = "file:///schema.json"
	if err := compiler.AddResource(url, content); err != nil {
		return nil, err
	}
	return compiler.Compile(url)
}

// alone refuses all that a schema refers to.
type alone struct{}

// Load implements [jsonschema.URLLoader].
func (alone) Load(url string) (any, error) {
	return nil, fmt.Errorf("it refers to %s; only schemas that stand alone are read", url)
}

// describe lists the problems of an object. Those of a Secret name places only.
func describe(o hydrate.Object, err error) (problems []string) {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return []string{err.Error()}
	}
	for _, cause := range invalid.Causes {
		problems = append(problems, describe(o, cause)...)
	}
	if len(invalid.Causes) > 0 {
		return problems
	}
	message := "does not match its schema's " + strings.Join(invalid.ErrorKind.KeywordPath(), ".")
	if o.Kind != "Secret" {
		if _, reason, found := strings.Cut(invalid.Error(), "': "); found { // at '/spec/replicas': got string, want integer
			message = reason
		}
	}
	return []string{cmp.Or(strings.Join(invalid.InstanceLocation, "."), "the object") + ": " + message}
}

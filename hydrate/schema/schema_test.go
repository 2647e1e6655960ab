package schema

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate"
)

// The schemas have the shape of those in github.com/yannh/kubernetes-json-schema.
var folder = map[string]string{
	"v1.34.0-standalone-strict/deployment-apps-v1.json": `{"$schema": "http://json-schema.org/schema#", "type": "object", "additionalProperties": false, "properties": {
		"apiVersion": {"type": ["string", "null"], "enum": ["apps/v1"]}, "kind": {"type": ["string", "null"], "enum": ["Deployment"]}, "metadata": {"type": ["object", "null"]},
		"spec": {"type": "object", "required": ["template"], "additionalProperties": false, "properties": {
			"replicas": {"type": ["integer", "null"], "format": "int32"}, "template": {"type": "object"}, "ratio": {"type": "number", "minimum": 0, "exclusiveMinimum": true},
			"port": {"oneOf": [{"type": ["string", "null"]}, {"type": ["integer", "null"]}]}}}}}`,
	"v1.34.0-standalone-strict/secret-v1.json":                          `{"properties": {"data": {"additionalProperties": {"type": "string", "pattern": "^[A-Z]+$"}}, "type": {"enum": ["Opaque"]}}}`,
	"v1.34.0-standalone/configmap-v1.json":                              `{"properties": {"data": {"type": "object"}}}`,
	"v1.34.0-standalone/customresourcedefinition-apiextensions-v1.json": `{}`,
	"example.com/thing_v1.json":                                         `{"type": "object", "required": ["spec"]}`,
	"v1.34.0-standalone/ingress-networking-v1.json":                     `{"$ref": "../../etc/passwd"}`,
	"v1.34.0-standalone/pod-v1.json":                                    `{"type": 1}`,
	"v1.34.0-standalone/job-batch-v1.json":                              `{`,
}

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: toys.example.com}
spec:
  group: example.com
  names: {kind: Toy}
  versions:
    - name: v1
      served: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [size]
              properties:
                size: {type: integer, minimum: 0, exclusiveMinimum: true}
                color: {type: string, nullable: true, enum: [red]}
                port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
                free: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {a: {type: string}}}
                labels: {type: object, additionalProperties: {type: object, properties: {a: {type: string}}}}
                list: {type: array, items: {type: object, properties: {a: {type: string}}}}
                every: {type: string, format: duration}
                path: {type: string, format: uri}
                at: {type: string, format: date-time}
                net: {type: string, format: cidr}
                odd: {type: string, format: json-pointer}
                mode: {type: string, default: slow}
                deep: {type: object, required: [yep], properties: {yep: {type: boolean, default: true}, list: {type: array, items: {type: string}}}}
                inner: {type: object, x-kubernetes-embedded-resource: true, properties: {spec: {type: object}}}
    - {name: v0, served: false, schema: {openAPIV3Schema: {type: object}}}
    - {name: v2, served: true}
`

func TestCheck(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for name, data := range folder {
		files[name] = &fstest.MapFile{Data: []byte(data)}
	}
	schemas := New(files, "1.34")
	toy := func(spec string) string {
		return "apiVersion: example.com/v1\nkind: Toy\nmetadata: {name: a, labels: {b: c}}\nspec: " + spec
	}
	deployment := func(spec string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: " + spec
	}
	for name, c := range map[string]struct {
		text string
		want []string // lines of the error, without source; none for a pass
	}{
		"valid":            {deployment("{replicas: 2, template: {}, ratio: 0.5, port: http}"), nil},
		"wrong type":       {deployment("{replicas: two, template: {}}"), []string{"Deployment.apps a: spec.replicas: got string, want null or integer"}},
		"several":          {deployment("{replica: 2, ratio: 0}"), []string{"Deployment.apps a: spec: missing property 'template'", "Deployment.apps a: spec: additional properties 'replica' not allowed", "Deployment.apps a: spec.ratio: exclusiveMinimum: got 0, want 0"}},
		"root":             {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspecs: {}", []string{"Deployment.apps a: the object: additional properties 'specs' not allowed"}},
		"not strict":       {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatas: {}", nil},
		"catalogue":        {"apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\nspec: {}", nil},
		"catalogue, wrong": {"apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}", []string{"Thing.example.com a: the object: missing property 'spec'"}},
		"Secret":           {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {p: hunter2}\ntype: hunter3", []string{"Secret a: data.p: does not match its schema's pattern", "Secret a: type: does not match its schema's enum"}},
		"no schema":        {"apiVersion: x.example.com/v1\nkind: Other\nmetadata: {name: a}", []string{"Other.x.example.com a: no schema; the folder render.schemas has no v1.34.0-standalone-strict/other-x-v1.json, nor v1.34.0-standalone/other-x-v1.json, nor x.example.com/other_v1.json"}},
		"a path for kind":  {"apiVersion: v1\nkind: ../../pod\nmetadata: {name: a}", []string{"no schema"}},
		"a path for group": {"apiVersion: ../v1\nkind: Pod\nmetadata: {name: a}", []string{"no schema"}},
		"reference":        {"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}", []string{"schema v1.34.0-standalone/ingress-networking-v1.json: ", "only schemas that stand alone are read"}},
		"bad schema":       {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}", []string{"Pod a: schema v1.34.0-standalone/pod-v1.json: "}},
		"no JSON":          {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}", []string{"Job.batch a: schema v1.34.0-standalone/job-batch-v1.json: "}},

		"definition":                {toy("{size: 1, color: null, port: http, free: {a: b, c: d}, labels: {x: {a: b}}, list: [{a: b}], inner: {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {}}}"), nil},
		"definition, wrong":         {toy("{size: 0, color: blue}"), []string{"Toy.example.com a: spec.color: value must be one of 'red'", "Toy.example.com a: spec.size: exclusiveMinimum"}},
		"definition, unknown":       {toy("{size: 1, x: 1, free: {a: 1}, labels: {x: {b: b}}, list: [{b: b}], inner: {x: 1}}"), []string{"spec: additional properties 'x'", "spec.free.a: got number, want string", "spec.labels.x: additional", "spec.list.0: additional", "spec.inner: additional"}},
		"formats":                   {toy("{size: 1, every: 5m, path: /healthz, at: 2026-01-01T00:00:00Z, net: 10.0.0.0/8, odd: x}"), nil},
		"formats of longer times":   {toy("{size: 1, every: 3d}"), nil},
		"ISO 8601 durations":        {toy("{size: 1, every: PT5M}"), nil},
		"formats, wrong":            {toy("{size: 1, every: soon, path: '', at: today, net: 10.0.0.0}"), []string{"spec.every: 'soon' is not valid duration", "spec.at: 'today' is not valid date-time", "spec.net: '10.0.0.0' is not valid cidr"}},
		"nulls":                     {toy("{size: 1, every: null, mode: null, port: null, deep: {yep: null}, labels: {x: null, y: {a: null}}, list: [{a: null}]}"), nil},
		"null that is required":     {toy("{size: null}"), []string{"Toy.example.com a: spec: missing property 'size'"}},
		"null in a list":            {toy("{size: 1, deep: {list: [null]}}"), []string{"spec.deep.list.0: got null, want string"}},
		"null of Kubernetes' own":   {deployment("{template: null}"), []string{"spec.template: got null, want object"}},
		"definition, not served":    {strings.Replace(toy("{}"), "/v1", "/v0", 1), []string{"Toy.example.com a: CustomResourceDefinition.apiextensions.k8s.io toys.example.com serves no version v0"}},
		"definition without schema": {strings.Replace(toy("{}"), "/v1", "/v2", 1), []string{"no schema of CustomResourceDefinition.apiextensions.k8s.io toys.example.com, version v2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := hydrate.Objects([]hydrate.Manifest{{Source: "a.yaml", Data: []byte(c.text)}, {Source: "crd.yaml", Data: []byte(definition)}})
			if err != nil {
				t.Fatal(err)
			}
			err = schemas.Check(objects)
			if (err != nil) != (len(c.want) > 0) {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
					t.Errorf("got error:\n%v\nwant in it:\n%s", err, want)
				}
			}
		})
	}
}

// TestDefaultsAreBounded is of a default of many values that many items would have.
func TestDefaultsAreBounded(t *testing.T) {
	t.Parallel()
	text := `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: x}, spec: {group: example.com, names: {kind: Toy}, versions: [{name: v1, served: true, schema: {openAPIV3Schema: {
		type: object, properties: {spec: {type: array, items: {type: object, properties: {a: {type: array, items: {type: integer}, default: [` + strings.Repeat("1, ", 10_000) + `1]}}}}}}}}]}}`
	toy := "apiVersion: example.com/v1\nkind: Toy\nmetadata: {name: a}\nspec: [" + strings.Repeat("{}, ", 10_000) + "{}]"
	objects, err := hydrate.Objects([]hydrate.Manifest{{Data: []byte(text)}, {Data: []byte(toy)}})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := definitionsOf(objects).schema(objects[1])
	if err != nil {
		t.Fatal(err)
	}
	a := admission{maxAdmitted}
	a.value(objects[1].Content(), schema, 0)
	if a.room > 0 || a.room < -100_000 {
		t.Errorf("%d of %d values were left", a.room, maxAdmitted)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"1.34": "v1.34.0", "v1.34": "v1.34.0", "1.34.2": "v1.34.2", "v1.34.2": "v1.34.2"} {
		if got := New(fstest.MapFS{}, version).version; got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}

func FuzzDefinition(f *testing.F) {
	f.Add(definition, "apiVersion: example.com/v1\nkind: Toy\nmetadata: {name: a}\nspec: {size: 1}")
	f.Fuzz(func(t *testing.T, definition, object string) {
		objects, err := hydrate.Objects([]hydrate.Manifest{{Data: []byte(object)}, {Data: []byte(definition)}})
		if err != nil {
			return
		}
		_ = New(fstest.MapFS{}, "1.34").Check(objects) // must not panic
	})
}

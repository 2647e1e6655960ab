package policy_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy"
)

// BenchmarkExpressions judges a CEL and a Rego gate over 100 objects, compilation included: what a stage pays.
func BenchmarkExpressions(b *testing.B) {
	f := policy.Facts{Now: now}
	files := fstest.MapFS{"p/main.rego": {Data: []byte("package main\ndeny contains msg if { input.kind == \"Deployment\"; input.spec.replicas < 2; msg := input.metadata.name }")}}
	for i := range 100 {
		f.Objects = append(f.Objects, map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": fmt.Sprint(i)}, "spec": map[string]any{"replicas": int64(2)}})
	}
	for name, text := range map[string]string{"cel": "[cel: 'objects.all(o, o.spec.replicas >= 2)']", "rego": "[rego: p]"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				gates, err := parse(b, text, files)
				if err != nil {
					b.Fatal(err)
				}
				if r := policy.Gates(gates, pipeline.Waivers{}, f); r[0].Result != policy.Pass {
					b.Fatal(r)
				}
			}
		})
	}
}

package kustomize

import (
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate"
)

func BenchmarkBuild(b *testing.B) {
	for name, overlay := range map[string]hydrate.Source{
		"small": app("resources: [github.com/acme/app//k8s/base]\nnamespace: shop\nimages: [{name: web, newName: ghcr.io/acme/app}]\n"),
		"every feature": func() hydrate.Source {
			w := readWorld(b, "kitchen-sink", strings.NewReplacer("$SOURCE", "https://github.com/acme/app", "$COMMIT", commit))
			return hydrate.Source{Files: w.source, Repository: sourceRepo, Commit: commit, Overlay: &hydrate.Overlay{GitOps: w.gitops, Options: hydrate.Options{Overlay: "stages/prod"}}}
		}(),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := (Renderer{}).Open(b.Context(), overlay); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package kustomize

import (
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate"
)

func BenchmarkBuild(b *testing.B) {
	for name, overlay := range map[string]hydrate.Overlay{
		"small": app("resources: [github.com/acme/app//k8s/base]\nnamespace: shop\nimages: [{name: web, newName: ghcr.io/acme/app}]\n"),
		"every feature": func() hydrate.Overlay {
			w := readWorld(b, "kitchen-sink", strings.NewReplacer("$SOURCE", "https://github.com/acme/app", "$COMMIT", commit))
			return hydrate.Overlay{Source: w.source, SourceRepo: sourceRepo, Commit: commit, GitOps: w.gitops, Path: "stages/prod"}
		}(),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := (Renderer{}).OpenOverlay(b.Context(), overlay); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package evidence

import (
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// subjectArtifact, subjectImage and stagePrefix are what an attestation gate may be about, beside the artifact.
const (
	subjectArtifact = "artifact"
	subjectImage    = "image"
	stagePrefix     = "stage:"
)

// Stages names the other stages that gates ask about, sorted: those of soaks, and those whose artifact is attested.
func Stages(gates []pipeline.Gate) []string {
	n := needOf(gates)
	return slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(n.soaks), n.artifacts...))))
}

// need is what a stage's gates ask for.
type need struct {
	statements  bool // about the candidate
	image       bool
	signatures  bool     // of the image, in the older form
	soaks       []string // stages with spans
	health      []string // those of them whose health is asked for
	artifacts   []string // stages whose artifact is attested
	files       []string
	bundles     []string // arguments of rego gates
	objects     bool
	liveObjects bool
	diff        bool
}

func needOf(gates []pipeline.Gate) need {
	n := need{statements: len(gates) > 0}
	for _, g := range gates {
		switch {
		case g.Soak != nil:
			n.soaks = add(n.soaks, g.Soak.Stage)
			if g.Soak.Healthy {
				n.health = add(n.health, g.Soak.Stage)
			}
		case g.Attestation != nil:
			if stage, ok := strings.CutPrefix(g.Attestation.Subject, stagePrefix); ok {
				n.artifacts = add(n.artifacts, stage)
			}
			n.image = n.image || g.Attestation.Subject == subjectImage
		case g.Image != nil:
			n.image, n.signatures = true, true
		case g.File != "":
			n.files = add(n.files, g.File)
		case g.CEL != "":
			// A variable that an expression uses is spelled out in it.
			n.objects = true
			n.diff = n.diff || strings.Contains(g.CEL, "diff")
			n.liveObjects = n.liveObjects || strings.Contains(g.CEL, "live")
		case g.Rego != "":
			n.bundles = add(n.bundles, g.Rego)
			n.objects, n.diff, n.liveObjects = true, true, true
		}
	}
	return n
}

func add(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

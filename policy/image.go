package policy

import (
	"encoding/json"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictjson"
	"github.com/lockage/lockage/sign"
)

// predicateProvenanceV02 is the SLSA provenance that many builders still write.
const predicateProvenanceV02 = "https://slsa.dev/provenance/v0.2"

// ImageGate is the declaration of a gate that asks that the locked images are signed.
type ImageGate struct {
	By         []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Provenance bool     `yaml:"provenance" json:"provenance,omitempty" jsonschema_description:"Whether SLSA provenance is asked for too."`
	Of         string   `yaml:"of" json:"of,omitempty" jsonschema_description:"The locked image of this name alone; image for the application's. Default: all locked images."`
}

// imageGate asks that locked images are signed and, if asked, that their provenance names the locked commit. A statement of
// another type by the same key does not count as a signature: it may say anything.
type imageGate struct {
	by         []string
	provenance bool
	of         string
}

func parseImage(declared ImageGate, d *pipeline.Declaration) pipeline.Condition {
	d.Signers(declared.By, nil)
	return imageGate{declared.By, declared.Provenance, declared.Of}
}

func (g imageGate) Signers() pipeline.Signers {
	return pipeline.Signers{About: pipeline.SubjectImage, Names: g.by}
}

func (g imageGate) Need(n *Needs) { n.Images, n.Signatures = append(n.Images, g.of), true }

func (g imageGate) Judge(f Facts) GateResult {
	return f.eachImage(g.of, func(image Subject) GateResult { return g.judge(f, image) })
}

func (g imageGate) judge(f Facts, about Subject) GateResult {
	trusted := f.signers(g.by, "")
	var signed, proven tally
	var notes remarks
	for _, v := range about.Statements {
		name, ok := trusted.trusts(v.Author())
		provenance := v.PredicateType() == sign.PredicateProvenance || v.PredicateType() == predicateProvenanceV02
		switch {
		case v.Digest() != about.Digest || v.PredicateType() != sign.PredicateSignature && (!provenance || !g.provenance):
		case !ok:
			notes.add("%s by %s does not count here", map[bool]string{true: "provenance", false: "a signature"}[provenance], signer(v))
		case !provenance:
			signed.add(v.KeyFingerprint(), by(name, v.Author()), v.Bundle().Digest())
		case names(v, f.Commit):
			proven.add(v.KeyFingerprint(), by(name, v.Author()), v.Bundle().Digest())
		default:
			notes.add("the provenance by %s does not name commit %s", by(name, v.Author()), f.Commit)
		}
	}
	for _, s := range about.Signatures {
		switch name, ok := trusted.trusts(s.Author()); {
		case s.Digest() != about.Digest:
		case ok:
			signed.add(s.KeyFingerprint(), by(name, s.Author()), "")
		default:
			notes.add("a signature by %s does not count here", by(s.Identity(), s.Author()))
		}
	}
	image := plain(about.Repository) + "@" + about.Digest.String()
	var missing []string
	if signed.count() == 0 {
		missing = append(missing, "a signature of "+image)
	}
	if g.provenance && proven.count() == 0 {
		missing = append(missing, "SLSA provenance on "+image+" that names commit "+f.Commit)
	}
	if len(missing) > 0 {
		notes.unproven(trusted, about)
		return fail("it takes %s by %s%s", strings.Join(missing, ", and "), trusted, notes)
	}
	result := signed.pass("%s is signed by %s", image, signed.String())
	if g.provenance {
		result.Reason += ", and provenance by " + proven.String() + " names commit " + f.Commit
		result.Evidence = append(result.Evidence, proven.evidence...)
	}
	return result
}

// names reports whether SLSA provenance says that an image was built from a commit: in version 1 as a resolved dependency
// or a source among the external parameters, in version 0.2 as a material or the configuration's source.
func names(v sign.Verified, commit string) bool {
	type source struct {
		Digest map[string]string `json:"digest"`
	}
	var p struct {
		BuildDefinition struct {
			ResolvedDependencies []source                   `json:"resolvedDependencies"`
			ExternalParameters   map[string]json.RawMessage `json:"externalParameters"`
		} `json:"buildDefinition"`
		Materials  []source `json:"materials"`
		Invocation struct {
			ConfigSource source `json:"configSource"`
		} `json:"invocation"`
	}
	if strictjson.Decode(v.Predicate(), &p) != nil || commit == "" {
		return false
	}
	var sources []source
	switch v.PredicateType() {
	case sign.PredicateProvenance:
		sources = p.BuildDefinition.ResolvedDependencies
		for _, key := range []string{"source", "configSource"} {
			var s source
			if strictjson.Decode(p.BuildDefinition.ExternalParameters[key], &s) == nil {
				sources = append(sources, s)
			}
		}
	case predicateProvenanceV02:
		sources = append(p.Materials, p.Invocation.ConfigSource)
	}
	for _, s := range sources {
		if s.Digest["gitCommit"] == commit || s.Digest["sha1"] == commit {
			return true
		}
	}
	return false
}

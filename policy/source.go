package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
)

// SourceGate is the declaration of a gate that asks who signed the locked commit, or the locked chart.
type SourceGate struct {
	By []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities, any of whose keys counts."`
}

// source asks that the locked commit carries an ssh signature by one of these identities, or the locked chart one of cosign's. It is about
// the release and not about the stage's content, so that nothing carries over.
type source []string

func parseSource(declared SourceGate, d *pipeline.Declaration) pipeline.Condition {
	d.Signers(declared.By, nil)
	return source(declared.By)
}

func (g source) Signers() pipeline.Signers { return pipeline.Signers{Names: g} }

func (source) Need(n *Needs) { n.Source = true }

func (g source) Judge(f Facts) GateResult {
	want, what, form := strings.Join(g, " or "), "commit "+f.Commit, "an ssh signature"
	if f.Chart != "" {
		what, form = "chart "+plain(f.Chart), "a cosign signature"
	}
	if f.Source.Unsigned != "" {
		return fail("it takes %s by %s on %s: %s", form, want, what, plain(f.Source.Unsigned))
	}
	for _, name := range g {
		if who, ok := f.Source.Signers[name]; ok {
			return pass("%s is signed by %s", what, by(name, who))
		}
	}
	whose := "no identity has that key"
	if len(f.Source.Signers) > 0 {
		whose = "it is that of " + strings.Join(slices.Sorted(maps.Keys(f.Source.Signers)), ", ")
	}
	return fail("%s is signed by the %s, and not by %s: %s", what, f.Source.By, want, whose)
}

// SignedSource says who signed the commit of the source repository, or the packaged chart.
type SignedSource struct {
	By       sign.Author            // one who signed
	Signers  map[string]sign.Author // declared identities that did, also by a former key
	Unsigned string                 // why nobody signed; "" if somebody did
}

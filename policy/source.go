package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
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
		if key, ok := f.Source.Signers[name]; ok {
			return pass("%s is signed by %s", what, by(name, key))
		}
	}
	whose := "no identity has that key"
	if len(f.Source.Signers) > 0 {
		whose = "it is that of " + strings.Join(slices.Sorted(maps.Keys(f.Source.Signers)), ", ")
	}
	return fail("%s is signed by the key %s, and not by %s: %s", what, prefix(f.Source.Key), want, whose)
}

// SignedSource says who signed the commit of the source repository, or the packaged chart.
type SignedSource struct {
	Key      string            // fingerprint of a key that signed
	Signers  map[string]string // declared identities to the fingerprint of the key of theirs that signed: of a commit also a former one
	Unsigned string            // why nobody signed; "" if somebody did
}

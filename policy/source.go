package policy

import (
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// SourceGate is the declaration of a gate that asks who signed the locked commit.
type SourceGate struct {
	By []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities, any of whose keys counts."`
}

// source asks that the locked commit carries a signature by one of these identities. It is about the release and not about the
// stage's content, so that nothing carries over.
type source []string

func parseSource(declared SourceGate, d *pipeline.Declaration) pipeline.Condition {
	d.Signers(declared.By, nil)
	return source(declared.By)
}

func (g source) Signers() pipeline.Signers { return pipeline.Signers{Names: g} }

func (source) Need(n *Needs) { n.Source = true }

func (g source) Judge(f Facts) GateResult {
	want := strings.Join(g, " or ")
	if f.Source.Unsigned != "" {
		return fail("it takes an ssh signature by %s on commit %s: %s", want, f.Commit, plain(f.Source.Unsigned))
	}
	for _, name := range g {
		if slices.Contains(f.Source.Signers, name) {
			return pass("commit %s is signed by %s", f.Commit, by(name, f.Source.Key))
		}
	}
	whose := "no identity has that key"
	if len(f.Source.Signers) > 0 {
		whose = "it is that of " + strings.Join(f.Source.Signers, ", ")
	}
	return fail("commit %s is signed by the key %s, and not by %s: %s", f.Commit, prefix(f.Source.Key), want, whose)
}

// SignedCommit is a commit of the source repository, whose signature was verified.
type SignedCommit struct {
	Key      string   // fingerprint of the key that signed
	Signers  []string // declared identities that have this key, current or former
	Unsigned string   // why nobody signed; "" if somebody did
}

package policy

import (
	"errors"
	"strings"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// Reproduced is the declaration of a gate that asks for renders by others than the hydrator, which came out equal.
type Reproduced struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities, neither the hydrator's nor the promoter's."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// reproduced asks for statements that this artifact was rendered again and came out equal. They are about bytes, not about the time at
// which somebody looked: a rollback takes none of them back.
type reproduced struct {
	by    []string
	count int
}

func parseReproduced(declared Reproduced, d *pipeline.Declaration) pipeline.Condition {
	d.Signers(declared.By, declared.Count)
	return reproduced{declared.By, atLeast(declared.Count)}
}

func (g reproduced) Signers() pipeline.Signers {
	return pipeline.Signers{About: pipeline.SubjectArtifact, Names: g.by}
}

func (reproduced) Need(*Needs) {}

func (g reproduced) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	trusted, property := f.signers(g.by, ""), ""
	counted, notes := trusted.count(f.Artifact, predicate.TypeRebuilt, func(v sign.Verified) (string, error) {
		r, err := predicate.Parse[predicate.Rebuilt](v)
		if err == nil {
			err = f.meant(v, r.Claim)
		}
		for _, role := range []string{pipeline.RoleHydrator, pipeline.RolePromoter} {
			if f.Identities[role].Made(v.Author()) {
				err = errors.New("its key is the " + role + "'s, who cannot confirm a render")
			}
		}
		shown := " from GitOps commit " + plain(r.GitOps)
		if len(r.Except) > 0 {
			shown += ", but for what every render generates anew: " + plain(strings.Join(r.Except, ", "))
		} else if err == nil {
			property = Reproducible
		}
		return shown, err
	})
	if counted.count() >= g.count {
		result := counted.pass("rendered again, and equal, by %s", counted.String())
		result.Property = property
		return result
	}
	notes.unproven(trusted, f.Artifact)
	stage := f.Pipeline + "/" + f.Stage
	return fail("%s: it takes %s of %s by %s, each with «lockage attest --rebuilt %s»; «lockage verify %s --release %s --rebuild» names the files where renders differ%s",
		counted.progress(g.count), count(g.count, "render", "renders by distinct signers"), f.Artifact.Digest, trusted, stage, stage, f.Release, notes)
}

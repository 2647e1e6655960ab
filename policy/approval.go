package policy

import (
	"cmp"
	"fmt"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// Approval is the declaration of a gate that asks for people's approvals.
type Approval struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// KindApproval is the kind of gate that approvals are for.
const KindApproval = "approval"

// approval asks for approvals of this artifact for this pipeline, stage and release.
type approval struct {
	by    []string
	count int
}

func parseApproval(declared Approval, d *pipeline.Declaration) pipeline.Condition {
	d.Signers(declared.By, declared.Count)
	return approval{declared.By, atLeast(declared.Count)}
}

func (g approval) Signers() pipeline.Signers {
	return pipeline.Signers{About: pipeline.SubjectArtifact, Names: g.by}
}

func (approval) Need(*Needs) {}

func (g approval) Judge(f Facts) GateResult {
	if f.Unchanged {
		return carriedOver()
	}
	trusted := f.signers(g.by, "")
	counted, notes := f.approvals(trusted)
	if counted.count() >= g.count {
		return counted.pass("approved by %s", counted.String())
	}
	notes.unproven(trusted, f.Artifact)
	return fail("%s: it takes %s of %s for %s by %s%s", counted.progress(g.count), count(g.count, "approval", "approvals by distinct signers"),
		f.Artifact.Digest, f.Stage, trusted, notes)
}

// approvals tallies the approvals of the artifact.
func (f Facts) approvals(trusted signers) (tally, remarks) {
	return trusted.count(f.Artifact, predicate.TypeApproval, func(v sign.Verified) (string, error) {
		a, err := predicate.Parse[predicate.Approval](v)
		if err != nil {
			return "", err
		}
		made, whose := signedAt(v, a.Time)
		shown := " at " + at(made) + whose
		if a.Comment != "" {
			shown += ": «" + plain(a.Comment) + "»"
		}
		given := earliest(v, a.Time)
		return shown, cmp.Or(f.meant(v, a.Claim), f.again(v, given), f.begun(given))
	})
}

// meant returns an error unless a statement of ours is about this artifact, for this pipeline, stage, release and repository, in
// its predicate and on its subject alike.
func (f Facts) meant(v sign.Verified, got sign.Claim) error {
	if v.Digest() != f.Artifact.Digest {
		return fmt.Errorf("it is about %s", v.Digest())
	}
	want := sign.Claim{Pipeline: f.Pipeline, Stage: f.Stage, Release: f.Release, Repository: f.Artifact.Repository}
	if diff := differences(want, got); diff != "" {
		return fmt.Errorf("it is for %s", diff)
	}
	if diff := differences(want, v.Claim()); diff != "" {
		return fmt.Errorf("its subject is %s", diff)
	}
	return nil
}

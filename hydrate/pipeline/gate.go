package pipeline

import (
	"slices"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/strictyaml"
)

// Gate is one condition of promotion: exactly one field beside Name is set. Its JSON form is what waivers are bound to:
// fields are added to it, none renamed.
type Gate struct {
	Name        string       `yaml:"name" json:"name,omitempty" jsonschema:"pattern=^[a-z0-9][a-z0-9-]*$,maxLength=63" jsonschema_description:"The gate's name in verdicts, unique in its stage. Default: its kind; from the second of a kind on attestation#2."`
	Soak        *Soak        `yaml:"soak" json:"soak,omitempty" jsonschema_description:"The content was live elsewhere, without a break, for a time."`
	Attestation *Attestation `yaml:"attestation" json:"attestation,omitempty" jsonschema_description:"Somebody trusted attested something."`
	Approval    *Approval    `yaml:"approval" json:"approval,omitempty" jsonschema_description:"People approved."`
	Image       *ImageGate   `yaml:"image" json:"image,omitempty" jsonschema_description:"The image is signed."`
	File        string       `yaml:"file" json:"file,omitempty" jsonschema_description:"A file that must exist in the GitOps repository."`
	Window      *Window      `yaml:"window" json:"window,omitempty" jsonschema_description:"Times at which promotion is allowed."`
	CEL         string       `yaml:"cel" json:"cel,omitempty" jsonschema_description:"A CEL expression over the rendered objects."`
	Rego        string       `yaml:"rego" json:"rego,omitempty" jsonschema_description:"A folder of Rego policies in the GitOps repository, or oci://REPOSITORY@DIGEST."`
}

// Soak asks that the content was live in another stage.
type Soak struct {
	Stage   string `yaml:"stage,required" json:"stage,omitempty" jsonschema:"required" jsonschema_description:"The other stage."`
	For     string `yaml:"for,required" json:"for,omitempty" jsonschema:"required" jsonschema_description:"A duration such as 2h or 90m."`
	Healthy bool   `yaml:"healthy" json:"healthy,omitempty" jsonschema_description:"Whether it must have been attested healthy: the time then counts from the first health attestation."`
	// By is empty for the promoter of the other stage.
	By []string `yaml:"by" json:"by,omitempty" jsonschema:"minItems=1" jsonschema_description:"Whose health attestations count. Default: the other stage's promoter."`
}

// Attestation asks for an in-toto attestation.
type Attestation struct {
	Type    string   `yaml:"type,required" json:"type,omitempty" jsonschema:"required" jsonschema_description:"The predicate type, a URI."`
	Subject string   `yaml:"subject" json:"subject,omitempty" jsonschema:"default=artifact" jsonschema_description:"artifact, image, or stage:NAME for that stage's artifact."`
	By      []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Where   string   `yaml:"where" json:"where,omitempty" jsonschema_description:"A CEL expression over predicate and subject. Without one the predicate's content is not judged."`
	MaxAge  string   `yaml:"maxAge" json:"maxAge,omitempty" jsonschema_description:"A duration such as 72h."`
	Count   *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// Approval asks for people's approvals.
type Approval struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// ImageGate asks that the locked image is signed.
type ImageGate struct {
	By         []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Provenance bool     `yaml:"provenance" json:"provenance,omitempty" jsonschema_description:"Whether SLSA provenance is asked for too."`
}

// Window allows and denies times. Deny wins.
type Window struct {
	Allow    []string `yaml:"allow" json:"allow,omitempty" jsonschema_description:"Weekly times such as Mon-Thu 09:00-16:00, as the zone's clocks on the wall show them."`
	Deny     []string `yaml:"deny" json:"deny,omitempty" jsonschema_description:"Weekly times, or days such as 2026-12-20/2027-01-03."`
	Timezone string   `yaml:"timezone" json:"timezone,omitempty" jsonschema:"default=UTC" jsonschema_description:"An IANA time zone."`
}

// Waivers says who may waive the gates of a stage. Its zero value: nobody.
type Waivers struct {
	By    []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Count *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// gateKinds are the keys of a gate of which it has exactly one, and their names in verdicts.
func gateKinds() []string {
	return []string{"soak", "attestation", "approval", "image", "file", "window", "cel", "rego"}
}

// Kind is the key of the condition that is set; empty where none is.
func (g Gate) Kind() string {
	set := []bool{g.Soak != nil, g.Attestation != nil, g.Approval != nil, g.Image != nil, g.File != "", g.Window != nil, g.CEL != "", g.Rego != ""}
	if i := slices.Index(set, true); i >= 0 {
		return gateKinds()[i]
	}
	return ""
}

// ParseGates reads gates and waivers that stand outside of any pipeline, under the keys gates and waivers of doc, as
// those of a stage are read and judged. Placeholders get the values of l. There being no declarations, every
// identity and every stage that they name counts as declared. The error is strictyaml.Problems.
func ParseGates(doc *strictyaml.Node, stage string, l lock.Lock) ([]Gate, Waivers, error) {
	c := newChecker()
	p := &Pipeline{Name: "pipeline"}
	values := p.stageScope(stage).with(l, nil)
	e := effective{doc: expandStrings(doc.Pick(func(key string) bool { return key == "gates" || key == "waivers" }), values, c)}
	c.addProblems(strictyaml.Decode(e.doc, &e))
	e.Identities = make(map[string]Identity)
	for _, names := range append(gateSigners(e.Gates), e.Waivers.By) {
		for _, name := range names {
			e.Identities[name] = Identity{}
		}
	}
	for _, name := range gateStages(e.Gates) {
		p.Stages = append(p.Stages, Stage{Name: name})
	}
	e.checkGates(p, c)
	return e.Gates, e.Waivers, c.problems.Err()
}

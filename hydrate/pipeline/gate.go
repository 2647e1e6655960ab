package pipeline

// Gate is one condition of promotion: exactly one field is set.
type Gate struct {
	Soak        *Soak        `yaml:"soak" jsonschema_description:"The content was live elsewhere, without a break, for a time."`
	Attestation *Attestation `yaml:"attestation" jsonschema_description:"Somebody trusted attested something."`
	Approval    *Approval    `yaml:"approval" jsonschema_description:"People approved."`
	Image       *ImageGate   `yaml:"image" jsonschema_description:"The image is signed."`
	File        string       `yaml:"file" jsonschema_description:"A file that must exist in the GitOps repository."`
	Window      *Window      `yaml:"window" jsonschema_description:"Times at which promotion is allowed."`
	CEL         string       `yaml:"cel" jsonschema_description:"A CEL expression over the rendered objects."`
	Rego        string       `yaml:"rego" jsonschema_description:"A directory of Rego policies in the GitOps repository."`
}

// Soak asks that the content was live in another stage.
type Soak struct {
	Stage   string `yaml:"stage,required" jsonschema:"required" jsonschema_description:"The other stage."`
	For     string `yaml:"for,required" jsonschema:"required" jsonschema_description:"A duration such as 2h or 90m."`
	Healthy bool   `yaml:"healthy" jsonschema_description:"Whether it must have been attested healthy."`
}

// Attestation asks for an in-toto attestation.
type Attestation struct {
	Type    string   `yaml:"type,required" jsonschema:"required" jsonschema_description:"The predicate type, a URI."`
	Subject string   `yaml:"subject" jsonschema:"default=artifact" jsonschema_description:"artifact, image, or stage:NAME for that stage's artifact."`
	By      []string `yaml:"by,required" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Where   string   `yaml:"where" jsonschema_description:"A CEL expression over the predicate."`
	MaxAge  string   `yaml:"maxAge" jsonschema_description:"A duration such as 72h."`
	Count   *int     `yaml:"count" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// Approval asks for people's approvals.
type Approval struct {
	By    []string `yaml:"by,required" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Count *int     `yaml:"count" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// ImageGate asks that the locked image is signed.
type ImageGate struct {
	By         []string `yaml:"by,required" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Provenance bool     `yaml:"provenance" jsonschema_description:"Whether SLSA provenance is asked for too."`
}

// Window allows and denies times. Deny wins.
type Window struct {
	Allow    []string `yaml:"allow" jsonschema_description:"Weekly times such as Mon-Thu 09:00-16:00."`
	Deny     []string `yaml:"deny" jsonschema_description:"Weekly times, or days such as 2026-12-20/2027-01-03."`
	Timezone string   `yaml:"timezone" jsonschema:"default=UTC" jsonschema_description:"An IANA time zone."`
}

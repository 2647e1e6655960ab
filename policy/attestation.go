package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/policy/cel"
	"github.com/lockage/lockage/sign"
)

// Attestation is the declaration of a gate that asks for an in-toto attestation.
type Attestation struct {
	Type    string   `yaml:"type,required" json:"type,omitempty" jsonschema:"required" jsonschema_description:"The predicate type, a URI."`
	Subject string   `yaml:"subject" json:"subject,omitempty" jsonschema:"default=artifact" jsonschema_description:"artifact, image, or stage:NAME for that stage's artifact."`
	By      []string `yaml:"by,required" json:"by,omitempty" jsonschema:"required,minItems=1" jsonschema_description:"Names of identities."`
	Where   string   `yaml:"where" json:"where,omitempty" jsonschema_description:"A CEL expression over predicate and subject. Without one the predicate's content is not judged."`
	MaxAge  string   `yaml:"maxAge" json:"maxAge,omitempty" jsonschema_description:"A duration such as 72h."`
	Of      string   `yaml:"of" json:"of,omitempty" jsonschema_description:"With subject: image, the locked image of this name alone; image for the application's. Default: all locked images."`
	Count   *int     `yaml:"count" json:"count,omitempty" jsonschema:"default=1,minimum=1" jsonschema_description:"How many distinct identities."`
}

// attestation asks for statements of a type about a digest. Only where judges their content: without it, a statement that says
// FAILED counts as one that says PASSED. No statement takes back another that counts.
type attestation struct {
	Attestation
	about  pipeline.Subject
	where  *cel.Program // nil for none
	maxAge time.Duration
	count  int
}

var predicateURI = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s]+$`)

func parseAttestation(declared Attestation, d *pipeline.Declaration) pipeline.Condition {
	g := attestation{Attestation: declared, about: pipeline.SubjectArtifact, maxAge: d.Duration("maxAge"), count: atLeast(declared.Count)}
	d.Rule("type", func(text string) string {
		if !predicateURI.MatchString(text) {
			return "is not a predicate type: write a URI"
		}
		return ""
	})
	d.Rule("subject", func(text string) string {
		var known bool
		if g.about, known = pipeline.ParseSubject(text); !known {
			return "is not known: write artifact, image or stage:NAME"
		}
		return ""
	})
	if stage, ok := g.about.Stage(); ok {
		d.Stage(stage, "subject")
	}
	d.Rule("of", func(string) string {
		if g.about != pipeline.SubjectImage {
			return "selects an image: write subject: image too"
		}
		return ""
	})
	d.Signers(declared.By, declared.Count)
	if d.Rule("where", pipeline.NotEmpty) {
		g.where = compile(d, "where", declared.Where, "predicate", "subject")
	}
	return g
}

func (g attestation) Signers() pipeline.Signers { return pipeline.Signers{About: g.about, Names: g.By} }

func (g attestation) Need(n *Needs) {
	if stage, ok := g.about.Stage(); ok {
		n.Artifacts = append(n.Artifacts, stage)
	}
	if g.about == pipeline.SubjectImage {
		n.Images = append(n.Images, g.Of)
	}
}

func (g attestation) Judge(f Facts) GateResult {
	stage, ofStage := g.about.Stage()
	switch {
	case g.about == pipeline.SubjectImage: // the content may be equal though the image is another
		return f.eachImage(g.Of, func(image Subject) GateResult {
			if f.Unchanged && slices.Contains(f.LiveImages, image.Digest) {
				return carriedOver()
			}
			return g.judge(f, image, "")
		})
	case f.Unchanged:
		return carriedOver()
	case ofStage:
		return g.judge(f, f.Stages[stage], stage)
	}
	return g.judge(f, f.Artifact, "")
}

// judge judges the statements about one subject. Identities are those of a stage; "" for this one.
func (g attestation) judge(f Facts, subject Subject, stage string) GateResult {
	if subject.Digest == "" {
		return fail("this release has no %s that a statement could be about", g.about)
	}
	trusted := f.signers(g.By, stage)
	counted, notes := trusted.count(subject, g.Type, func(v sign.Verified) (string, error) { return g.counts(f, v, subject.Digest) })
	if counted.count() >= g.count {
		return counted.pass("%s on the %s by %s", plain(g.Type), g.about, counted.String())
	}
	notes.unproven(trusted, subject)
	return fail("%s: it takes %s of type %s on the %s %s by %s%s%s", counted.progress(g.count), count(g.count, "statement", "statements by distinct signers"),
		plain(g.Type), g.about, subject.Digest, trusted, g.conditions(), notes)
}

// conditions are those that a statement has to meet, for people.
func (g attestation) conditions() string {
	s := ""
	if g.Where != "" {
		s += " where " + plain(g.Where)
	}
	if g.MaxAge != "" {
		s += " not older than " + g.MaxAge
	}
	return s
}

// counts returns the time that a trusted statement names, where the gate asks for that, or why it does not count.
func (g attestation) counts(f Facts, v sign.Verified, about digest.Digest) (string, error) {
	if v.Digest() != about {
		return "", fmt.Errorf("it is about %s", v.Digest())
	}
	var predicate map[string]any
	decoder := json.NewDecoder(bytes.NewReader(v.Predicate()))
	decoder.UseNumber()
	if err := decoder.Decode(&predicate); err != nil {
		return "", fmt.Errorf("its predicate cannot be read: %w", err)
	}
	if g.where != nil {
		annotations := make(map[string]any)
		for key, value := range v.Annotations() {
			annotations[key] = value
		}
		ok, err := g.where.Eval(map[string]any{
			"predicate": predicate,
			"subject":   map[string]any{"name": v.SubjectName(), "digest": v.Digest().String(), "annotations": annotations},
		})
		switch {
		case err != nil:
			return "", fmt.Errorf("where fails on it: %w", err)
		case !ok:
			return "", errors.New("where is false of it")
		}
	}
	if g.maxAge == 0 {
		return "", nil
	}
	made, err := claimedTime(predicate)
	signed, whose := signedAt(v, made)
	switch proven := v.Time(); {
	case err != nil && proven.Since.IsZero():
		return "", err
	case err != nil:
		made = proven.Since
	case !proven.IsZero() && made.After(signed.Add(maxSkew)):
		return "", fmt.Errorf("it says that it was made at %s, and it was signed before that, at %s%s", at(made), at(signed), whose)
	case !proven.IsZero() && made.After(signed):
		made = signed // the older time counts: what was found out earlier may be signed late
	}
	switch age := f.Now.Sub(made); {
	case age < -maxSkew:
		return "", fmt.Errorf("it says that it was made at %s, which is yet to come", at(made))
	case age > g.maxAge:
		return "", fmt.Errorf("it says that it was made at %s, %s ago", at(made), span(age))
	}
	if !v.Time().IsZero() {
		return ", made at " + at(made) + ", signed at " + at(signed) + whose, nil
	}
	return ", made at " + at(made) + whose, nil
}

// claimedTime reads from a predicate when it was made. The places are those of SLSA provenance v1 and v0.2, of
// verification summaries, of vulnerability scans and of `cosign attest --type custom`, and the names that predicates of
// one's own mostly have.
func claimedTime(predicate map[string]any) (time.Time, error) {
	for _, path := range [][]string{
		{"time"},
		{"timestamp"},
		{"Timestamp"},
		{"metadata", "timestamp"},
		{"runDetails", "metadata", "finishedOn"},
		{"metadata", "buildFinishedOn"},
		{"timeVerified"},
		{"metadata", "scanFinishedOn"},
	} {
		text, ok := lookUp(predicate, path...).(string)
		if !ok {
			continue
		}
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return time.Time{}, fmt.Errorf("its %s is not a time of RFC 3339: %s", strings.Join(path, "."), text)
		}
		return t, nil
	}
	return time.Time{}, errors.New("it does not say when it was made, and maxAge is asked for")
}

// lookUp follows keys into maps; nil where there is nothing.
func lookUp(value any, path ...string) any {
	for _, key := range path {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[key]
	}
	return value
}

package sign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/sigstore/cosign/v2/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/lockage/lockage/internal/strictjson"
)

// Predicate types of the statements that this package makes.
const (
	// PredicateSignature is the statement of `cosign sign`: this key signed that digest.
	PredicateSignature = types.CosignSignPredicateType
	// PredicateProvenance is SLSA provenance v1: how an artifact was made, and from what.
	PredicateProvenance = "https://slsa.dev/provenance/v1"
)

// Statement types of the in-toto attestation framework. The older one has the same fields, and `cosign attest` still
// writes it; it is read and never written.
const (
	statementType    = "https://in-toto.io/Statement/v1"
	statementTypeV01 = "https://in-toto.io/Statement/v0.1"
)

// maxSubjects bounds the subjects of a statement that is read; sigstore-go reads no more either.
const maxSubjects = 1024

// Statement is an in-toto statement about one artifact.
type Statement struct {
	Subject       Subject
	PredicateType string          // a URI
	Predicate     json.RawMessage // an object; nil is written as {}
}

// Subject is the artifact that a statement is about.
type Subject struct {
	Name        string        // the repository, without tag or digest
	Digest      digest.Digest // of the artifact's manifest, sha256
	Annotations map[string]string
}

// Claim is what a lockage signature states of an artifact, besides that its signer made it. Readers compare all of it with
// what they asked for: a digest that was signed for one stage or repository proves nothing in another.
type Claim struct {
	Pipeline   string `json:"pipeline"`
	Stage      string `json:"stage"`
	Release    string `json:"release,omitempty"`    // git-<40 hex>
	Repository string `json:"repository,omitempty"` // as in Subject.Name
}

// annotations returns the claim as a subject carries it.
func (c Claim) annotations() map[string]string {
	return map[string]string{"pipeline": c.Pipeline, "stage": c.Stage, "release": c.Release, "repository": c.Repository}
}

func claimOf(annotations map[string]string) Claim {
	return Claim{annotations["pipeline"], annotations["stage"], annotations["release"], annotations["repository"]}
}

// NewSignature returns the statement «this is the artifact of that claim», as `cosign sign` writes it: its predicate is
// empty, and the annotations of its subject hold the claim.
func NewSignature(artifact digest.Digest, claim Claim) Statement {
	return Statement{
		Subject:       Subject{Name: claim.Repository, Digest: artifact, Annotations: claim.annotations()},
		PredicateType: PredicateSignature,
	}
}

// The statement on the wire. Annotations are any JSON in the specification; ours are strings. The types of in-toto are not
// used: they round numbers of a predicate, and their JSON is not stable.
type (
	wireStatement struct {
		Type          string          `json:"_type"`
		Subject       []wireSubject   `json:"subject"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate,omitempty"`
	}
	wireSubject struct {
		Name        string            `json:"name,omitempty"`
		Digest      map[string]string `json:"digest"`
		Annotations map[string]any    `json:"annotations,omitempty"`
	}
)

// payload returns the in-toto Statement v1 that is signed. Equal statements have equal bytes.
func (s Statement) payload() ([]byte, error) {
	if err := checkDigest(s.Subject.Digest); err != nil {
		return nil, fmt.Errorf("statement's subject: %w", err)
	}
	if s.PredicateType == "" {
		return nil, errors.New("statement has no predicate type")
	}
	w := wireStatement{
		Type:          statementType,
		Subject:       []wireSubject{{Name: s.Subject.Name, Digest: DigestSet(s.Subject.Digest)}},
		PredicateType: s.PredicateType,
		Predicate:     s.Predicate,
	}
	if w.Predicate == nil {
		w.Predicate = json.RawMessage("{}")
	}
	if !isObject(w.Predicate) {
		return nil, fmt.Errorf("predicate of %s is not a JSON object", s.PredicateType)
	}
	if err := strictjson.Once(w.Predicate, new(any)); err != nil {
		return nil, fmt.Errorf("predicate of %s would not count: %w", s.PredicateType, err)
	}
	if len(s.Subject.Annotations) > 0 {
		w.Subject[0].Annotations = make(map[string]any, len(s.Subject.Annotations))
		for k, v := range s.Subject.Annotations {
			w.Subject[0].Annotations[k] = v
		}
	}
	return json.Marshal(w)
}

// parseStatement reads an in-toto statement as far as it is about the artifact: of several subjects it takes the first
// that has this digest. Annotations that are not strings are left out.
func parseStatement(payload []byte, artifact digest.Digest) (Statement, error) {
	var w wireStatement
	if err := w.envelope(payload); err != nil {
		return Statement{}, fmt.Errorf("not an in-toto statement: %w", err)
	}
	switch {
	case w.Type != statementType && w.Type != statementTypeV01:
		return Statement{}, fmt.Errorf("not an in-toto statement: its type is %.80q", w.Type)
	case w.PredicateType == "":
		return Statement{}, errors.New("statement has no predicate type")
	case len(w.Predicate) > 0 && !isObject(w.Predicate):
		return Statement{}, errors.New("predicate is not a JSON object")
	case len(w.Subject) > maxSubjects:
		return Statement{}, fmt.Errorf("statement has %d subjects, at most %d are read", len(w.Subject), maxSubjects)
	}
	if len(w.Predicate) == 0 {
		w.Predicate = json.RawMessage("{}")
	}
	for _, subject := range w.Subject {
		if subject.Digest[artifact.Algorithm().String()] != artifact.Encoded() {
			continue
		}
		return Statement{
			Subject:       Subject{Name: subject.Name, Digest: artifact, Annotations: texts(subject.Annotations)},
			PredicateType: w.PredicateType,
			Predicate:     w.Predicate,
		}, nil
	}
	return Statement{}, fmt.Errorf("statement is not about %s", artifact)
}

// texts leaves out what is not a string.
func texts(annotations map[string]any) map[string]string {
	kept := make(map[string]string, len(annotations))
	for k, v := range annotations {
		if text, ok := v.(string); ok {
			kept[k] = text
		}
	}
	return kept
}

func isObject(raw json.RawMessage) bool {
	return json.Valid(raw) && bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))
}

// DigestSet returns a digest as in-toto writes it: lower-case hex by algorithm.
func DigestSet(d digest.Digest) map[string]string {
	return map[string]string{d.Algorithm().String(): d.Encoded()}
}

// checkDigest returns an error unless d is a sha256 digest, the only kind that every reader of signatures accepts.
func checkDigest(d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %.100q: %w", string(d), err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %s is not sha256", d)
	}
	return nil
}

// envelope decodes a statement. Its predicate may be anybody's: no key is there twice, and [strictjson.Decode] reads those that are ours.
func (w *wireStatement) envelope(payload []byte) error {
	var all any
	if err := strictjson.Once(payload, &all); err != nil {
		return err
	}
	if fields, ok := all.(map[string]any); ok && fields["predicate"] != nil {
		fields["predicate"] = nil
	}
	if err := strictjson.Twins(all); err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(payload, w)
}

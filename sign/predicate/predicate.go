// Package predicate holds the predicate types that lockage defines: what people and programs state about an artifact
// before it is promoted ([Approval], [Waiver], [Health]), and how a promotion is recorded ([Promotion] and its summary). Each is
// an in-toto statement about one digest. Package sign proves who signed it; package policy judges whether that is enough.
//
// Times in a predicate are claimed by the signer.
//
// # Promotions
//
// A promotion is two statements by the promoter about the artifact that was promoted, and about no other. [Promotion] says
// what was promoted from where to where, under which policy and on which evidence. It names the record before it, so that a
// stage's records are a chain. A rollback is a record about the artifact that the stage went back to: nothing negative is
// ever stated, since many readers take any statement by a trusted key as approval.
// [Promotion.Summary] gives the same as a SLSA verification summary, for readers that know nothing of lockage.
//
// A record proves that the promoter decided. The live ref, whose history names it, proves that it came into force: see
// package live.
package predicate

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
)

// Predicate types.
const (
	TypeApproval = "https://lockage.dev/approval/v1"
	TypeWaiver   = "https://lockage.dev/waiver/v1"
	TypeHealth   = "https://lockage.dev/health/v1"
)

// Approval says: this may be promoted to the stage.
type Approval struct {
	Pipeline string    `json:"pipeline"`
	Stage    string    `json:"stage"`
	Release  string    `json:"release"`
	Comment  string    `json:"comment,omitempty"`
	Time     time.Time `json:"time"`
}

// Waiver says: this gate need not pass for this artifact, until it expires.
type Waiver struct {
	Pipeline   string        `json:"pipeline"`
	Stage      string        `json:"stage"`
	Release    string        `json:"release"`
	Gate       string        `json:"gate"`       // its name, as verdicts give it
	GateDigest digest.Digest `json:"gateDigest"` // of its declaration: a gate that was changed since is not waived
	Reason     string        `json:"reason"`
	Approver   string        `json:"approver"` // who asks, in words; who signed is told by the key
	Expires    time.Time     `json:"expires"`
	Time       time.Time     `json:"time"`
}

// Health says: this digest is what runs in the stage, and it is healthy.
type Health struct {
	Pipeline string    `json:"pipeline"`
	Stage    string    `json:"stage"`
	Release  string    `json:"release"`
	Sources  []Source  `json:"sources"`
	Time     time.Time `json:"time"` // at which it was seen
}

// Source is an object of a cluster that was looked at.
type Source struct {
	Kind      string `json:"kind"` // such as Application.argoproj.io
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  string `json:"revision"` // that it reports to have applied
	Status    string `json:"status"`   // in its own words
}

// Statement is the approval of an artifact in a repository.
func (a Approval) Statement(repository string, artifact digest.Digest) (sign.Statement, error) {
	return statement(TypeApproval, sign.Claim{Pipeline: a.Pipeline, Stage: a.Stage, Release: a.Release, Repository: repository}, artifact, a)
}

// Statement is the waiver for an artifact in a repository.
func (w Waiver) Statement(repository string, artifact digest.Digest) (sign.Statement, error) {
	return statement(TypeWaiver, sign.Claim{Pipeline: w.Pipeline, Stage: w.Stage, Release: w.Release, Repository: repository}, artifact, w)
}

// Statement is the health of an artifact in a repository.
func (h Health) Statement(repository string, artifact digest.Digest) (sign.Statement, error) {
	return statement(TypeHealth, sign.Claim{Pipeline: h.Pipeline, Stage: h.Stage, Release: h.Release, Repository: repository}, artifact, h)
}

func statement(predicateType string, claim sign.Claim, artifact digest.Digest, predicate any) (sign.Statement, error) {
	data, err := json.Marshal(predicate)
	return sign.Statement{
		Subject:       sign.NewSignature(artifact, claim).Subject,
		PredicateType: predicateType,
		Predicate:     data,
	}, err
}

// ParseApproval reads an approval.
func ParseApproval(v sign.Verified) (Approval, error) {
	return parse[Approval](v, TypeApproval)
}

// ParseWaiver reads a waiver.
func ParseWaiver(v sign.Verified) (Waiver, error) { return parse[Waiver](v, TypeWaiver) }

// ParseHealth reads a health attestation.
func ParseHealth(v sign.Verified) (Health, error) { return parse[Health](v, TypeHealth) }

func parse[T any](v sign.Verified, predicateType string) (T, error) {
	var t T
	if v.PredicateType() != predicateType {
		return t, fmt.Errorf("a statement of type %s instead of %s", v.PredicateType(), predicateType)
	}
	if err := json.Unmarshal(v.Predicate(), &t); err != nil {
		return t, fmt.Errorf("statement of type %s: %w", predicateType, err)
	}
	return t, nil
}

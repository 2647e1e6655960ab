// Package predicate holds the predicate types that lockage defines: what people and programs state about an artifact
// before it is promoted ([Approval], [Waiver], [Health], [Rebuilt]), and how a promotion is recorded ([Promotion] and its summary). Each is
// an in-toto statement about one digest. Package sign proves who signed it; package policy judges whether that is enough.
//
// Times in a predicate are claimed by the signer.
//
// # Claims
//
// Each predicate embeds the claim that its subject's annotations carry. Its JSON does not repeat the repository, which the
// subject names, nor a promotion the release, which its artifact has. [Parse] and [ParsePromotion] fill in both from there,
// whatever else the JSON holds.
//
// # Promotions
//
// A promotion is two statements by the promoter about the artifact that was promoted, and about no other. [Promotion] says
// what was promoted from where to where, under which policy and on which evidence, and carries what the stage does not return to by
// itself ([Holds]). It names the record before it, so that a stage's records are a chain. A rollback is a record about the artifact that the stage went back to: lockage never states
// anything negative, since many readers take any statement by a trusted key as approval.
// [Promotion.Summary] is the same as a SLSA verification summary, for readers that do not know lockage.
//
// A record proves that the promoter decided. It is in force in one commit only: the one on the live ref that holds it, shows
// the tree and the statements that it names, and follows the commit that it names (package live).
package predicate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/internal/strictjson"
	"github.com/lockage/lockage/sign"
)

// Predicate types.
const (
	TypeApproval = "https://lockage.dev/approval/v1"
	TypeWaiver   = "https://lockage.dev/waiver/v1"
	TypeHealth   = "https://lockage.dev/health/v1"
	TypeRebuilt  = "https://lockage.dev/rebuilt/v1"
)

// Approval states that an artifact may be promoted to the stage.
type Approval struct {
	sign.Claim
	Comment string    `json:"comment,omitempty"`
	Time    time.Time `json:"time"`
}

// Waiver states that a gate need not pass for an artifact until the waiver expires.
type Waiver struct {
	sign.Claim
	Gate       string        `json:"gate"`       // its name in verdicts
	GateDigest digest.Digest `json:"gateDigest"` // of its declaration: a gate that was changed since is not waived
	Reason     string        `json:"reason"`
	Approver   string        `json:"approver"` // who asks, in words; the key proves who signed
	Expires    time.Time     `json:"expires"`
	Time       time.Time     `json:"time"`
}

// Health states that an artifact is what runs in the stage, and that it is healthy.
type Health struct {
	sign.Claim
	Sources []Source  `json:"sources"`
	Time    time.Time `json:"time"` // of the observation
}

// Source is an object of a cluster that health was read from.
type Source struct {
	Kind      string `json:"kind"` // such as Application.argoproj.io
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  string `json:"revision"` // that it reports to have applied
	Status    string `json:"status"`   // in its own words
}

// Rebuilt states that the signer rendered an artifact again from what its provenance names, and that it came out equal, byte for byte
// but for the fields in Except.
type Rebuilt struct {
	sign.Claim
	GitOps   string    `json:"gitops"`           // the commit, 40 hex digits
	Except   []string  `json:"except,omitempty"` // fields with keys that every render generates anew
	Version  string    `json:"version"`          // of lockage
	Renderer string    `json:"renderer"`         // with its version
	Time     time.Time `json:"time"`
}

// attested is implemented by pointers to the predicates that [Parse] reads.
type attested[T any] interface {
	*T
	attested() (predicateType string, claim *sign.Claim)
}

func (a *Approval) attested() (string, *sign.Claim) { return TypeApproval, &a.Claim }
func (w *Waiver) attested() (string, *sign.Claim)   { return TypeWaiver, &w.Claim }
func (h *Health) attested() (string, *sign.Claim)   { return TypeHealth, &h.Claim }
func (r *Rebuilt) attested() (string, *sign.Claim)  { return TypeRebuilt, &r.Claim }

// NewStatement returns an [Approval], [Waiver], [Health] or [Rebuilt] as a statement about an artifact.
func NewStatement[T any, P attested[T]](predicate T, artifact digest.Digest) (sign.Statement, error) {
	predicateType, claim := P(&predicate).attested()
	whole := *claim
	claim.Repository = ""
	return newStatement(predicateType, whole, artifact, predicate)
}

func newStatement(predicateType string, claim sign.Claim, artifact digest.Digest, predicate any) (sign.Statement, error) {
	statement := sign.NewSignature(artifact, claim)
	statement.PredicateType = predicateType
	var err error
	statement.Predicate, err = json.Marshal(predicate)
	return statement, err
}

// Parse reads the [Approval], [Waiver], [Health] or [Rebuilt] of a verified statement: Parse[Approval](v). A statement of another
// type is an error. See [ParsePromotion] for records.
func Parse[T any, P attested[T]](v sign.Verified) (T, error) {
	var predicate T
	predicateType, claim := P(&predicate).attested()
	err := decode(v, predicateType, &predicate)
	claim.Repository = v.Claim().Repository
	return predicate, err
}

func decode(v sign.Verified, predicateType string, predicate any) error {
	if v.PredicateType() != predicateType {
		return fmt.Errorf("a statement of type %s instead of %s", v.PredicateType(), predicateType)
	}
	if err := strictjson.Decode(v.Predicate(), predicate); err != nil {
		return fmt.Errorf("statement of type %s: %w", predicateType, err)
	}
	return nil
}

// Attach signs a statement and attaches it to its subject, unless the same key signed one of the same type, about the same
// repository, for which stated returns true. It returns the statement that is attached, and whether it is new.
func Attach(ctx context.Context, store sign.Store, subject ocispec.Descriptor, signer sign.Signer, statement sign.Statement,
	stated func(sign.Verified) bool) (bundle sign.Bundle, attached bool, err error) {
	own, err := sign.NewVerifier(signer.Identity())
	if err != nil {
		return bundle, false, err
	}
	before, _, err := sign.Verify(ctx, store, subject, own)
	if err != nil {
		return bundle, false, err
	}
	for _, v := range before {
		if v.PredicateType() == statement.PredicateType && v.SubjectName() == statement.Subject.Name && stated(v) {
			return v.Bundle(), false, nil
		}
	}
	bundle, err = sign.Attest(ctx, store, subject, signer, statement)
	return bundle, err == nil, err
}

// StatedBy reports whether a statement is this approval, and counts for an artifact that is held. The times may differ, and so may the
// comment if this one has none.
func (a Approval) StatedBy(v sign.Verified, h Hold) bool {
	other, err := Parse[Approval](v)
	if err != nil || h.Voids(v, other.Time) {
		return false
	}
	if a.Comment == "" {
		other.Comment = ""
	}
	other.Time = a.Time
	return other == a
}

// StatedBy reports whether a statement is this waiver, expires no earlier, and counts for an artifact that is held. The times may differ.
func (w Waiver) StatedBy(v sign.Verified, h Hold) bool {
	other, err := Parse[Waiver](v)
	if err != nil || h.Voids(v, other.Time) || other.Expires.Before(w.Expires) {
		return false
	}
	other.Time, other.Expires = w.Time, w.Expires
	return other == w
}

// StatedBy reports whether a statement says that the same release was healthy in the stage at or after since. One such
// statement is enough for the time that a release is live: soak counts from the first.
func (h Health) StatedBy(v sign.Verified, since time.Time) bool {
	other, err := Parse[Health](v)
	return err == nil && !other.Time.Before(since) && other.Claim == h.Claim
}

// StatedBy reports whether a statement is this one. The times may differ, and what rendered.
func (r Rebuilt) StatedBy(v sign.Verified) bool {
	other, err := Parse[Rebuilt](v)
	return err == nil && other.Claim == r.Claim && other.GitOps == r.GitOps && slices.Equal(other.Except, r.Except)
}

// SamePredicate returns a function that reports whether a statement has the predicate of s, white space aside.
func SamePredicate(s sign.Statement) func(sign.Verified) bool {
	return func(v sign.Verified) bool {
		var a, b bytes.Buffer
		return json.Compact(&a, s.Predicate) == nil && json.Compact(&b, v.Predicate()) == nil && bytes.Equal(a.Bytes(), b.Bytes())
	}
}

package predicate

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
)

// TypePromotion is the predicate type of a [Promotion].
const TypePromotion = "https://lockage.dev/promotion/v1"

// Action is the kind of a promotion.
type Action string

// The actions that are recorded.
const (
	Promoted   Action = "promoted"
	Noop       Action = "noop"        // the content was live already, under another release or digest
	RolledBack Action = "rolled-back" // to what was live before; From's release is held
	Carried    Action = "carried"     // to where the pipeline file says now; what is live stays
	Restarted  Action = "restarted"   // a new beginning, which a person asked for
)

// Artifact is a stage's artifact, as records name it.
type Artifact struct {
	Release string `json:"release"` // git-<40 hex>
	oci.Digests
}

// Policy is the policy under which a promotion was decided.
type Policy struct {
	Repository string        `json:"repository,omitempty"` // URL of the GitOps repository, without credentials
	Ref        string        `json:"ref"`                  // the policy ref, as in messages
	Commit     string        `json:"commit"`               // its tip, 40 hex digits
	File       string        `json:"file"`                 // the pipeline file
	Digest     digest.Digest `json:"digest"`               // of the pipeline file's bytes
}

// Check is one gate or verification with its result.
type Check struct {
	Name     string          `json:"name"`
	Result   string          `json:"result"` // pass or waived
	Reason   string          `json:"reason"`
	Evidence []digest.Digest `json:"evidence,omitempty"` // the statements that decided it
	Property string          `json:"property,omitempty"` // of SLSA, that it proves of the artifact
}

// Origin is where a stage was recorded before its pipeline file was changed.
type Origin struct {
	sign.Claim        // of the records there, without a release
	Path       string `json:"path"`
	Commit     string `json:"commit"` // of the newest promotion there, an ancestor of the commit that carries it over
}

// Promotion is one promotion of one stage.
type Promotion struct {
	sign.Claim               // of To
	Action     Action        `json:"action"`
	Sequence   int           `json:"sequence"` // 1 for the stage's first record
	From       *Artifact     `json:"from,omitempty"`
	To         Artifact      `json:"to"`
	Previous   digest.Digest `json:"previous,omitempty"` // the record before: digest of its bundle
	Parent     string        `json:"parent,omitempty"`   // the commit that the record's own follows on the live ref; "" for the first
	Tree       string        `json:"tree"`               // Git's id of the folder that the commit shows, without the statements in it
	Beside     digest.Digest `json:"beside"`             // of the statements beside the record in the commit, as the ledger keeps them
	Nonce      string        `json:"nonce"`              // random: no two records are alike
	Carried    *Origin       `json:"carried,omitempty"`  // of the action carried: where the record before is
	Holds      Holds         `json:"holds,omitempty"`    // what comes back by name alone from then on
	Policy     Policy        `json:"policy"`
	Checks     []Check       `json:"checks"`
	Reason     string        `json:"reason,omitempty"` // that a person gave
	Time       time.Time     `json:"time"`             // UTC, by the promoter's clock
	Version    string        `json:"version,omitempty"`
}

// Nothing is what a record is about that makes nothing live: the digest of no bytes, which is not an artifact.
const Nothing = digest.Digest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

// Subject returns the digest that the record is about: the artifact's, or [Nothing] at a new beginning without one.
func (r Promotion) Subject() digest.Digest {
	if r.Action == Restarted && r.To.Digest == "" {
		return Nothing
	}
	return r.To.Digest
}

// Statement returns the record as a statement about the artifact that was promoted.
func (r Promotion) Statement() (sign.Statement, error) {
	claim := r.Claim
	r.Release = "" // it is in To
	r.Time = r.Time.UTC().Truncate(time.Second)
	return newStatement(TypePromotion, claim, r.Subject(), r)
}

// ParsePromotion reads a record from a verified statement. It refuses a record of another artifact than its subject.
func ParsePromotion(v sign.Verified) (Promotion, error) {
	var r Promotion
	if err := decode(v, TypePromotion, &r); err != nil {
		return r, err
	}
	r.Release = r.To.Release
	switch {
	case r.Subject() != v.Digest():
		return r, fmt.Errorf("the record promotes %s, and is about %s", r.To.Digest, v.Digest())
	case r.Sequence < 1, r.Action != Restarted && (r.Sequence == 1) != (r.Previous == ""):
		return r, fmt.Errorf("the record has number %d and names %q as the one before", r.Sequence, r.Previous)
	case r.Time.IsZero(), r.Tree == "", r.Nonce == "", r.Beside == "":
		return r, errors.New("the record lacks its time, tree, nonce or the digest of what is beside it")
	case (r.Action == Carried) != (r.Carried != nil):
		return r, fmt.Errorf("the record is of the action %s, and has what belongs to another one", r.Action)
	case r.Previous != "" && r.Previous.Validate() != nil:
		return r, fmt.Errorf("the record names %q as the one before", r.Previous)
	}
	return r, nil
}

// TypeSummary is SLSA's verification summary, version 1.
const TypeSummary = "https://slsa.dev/verification_summary/v1"

// VerifierID names lockage as the verifier; the key that signed identifies who ran it.
const VerifierID = "https://lockage.dev/promoter/v1"

// Summary returns the record as a verification summary (https://slsa.dev/spec/v1.2/verification_summary). Its levels are the properties that
// checks prove.
func (r Promotion) Summary() (sign.Statement, error) {
	type summary struct {
		Verifier struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version,omitempty"`
		} `json:"verifier"`
		TimeVerified   time.Time                 `json:"timeVerified"`
		ResourceURI    string                    `json:"resourceUri"`
		Policy         sign.ResourceDescriptor   `json:"policy"`
		Inputs         []sign.ResourceDescriptor `json:"inputAttestations,omitempty"`
		Result         string                    `json:"verificationResult"`
		VerifiedLevels []string                  `json:"verifiedLevels"`
		SLSAVersion    string                    `json:"slsaVersion"`
	}
	s := summary{
		TimeVerified: r.Time.UTC().Truncate(time.Second),
		ResourceURI:  "oci://" + r.Repository + "@" + r.To.Digest.String(),
		Policy: sign.ResourceDescriptor{
			URI:    "git+" + r.Policy.Repository + "@" + r.Policy.Commit + "#" + r.Policy.File,
			Digest: sign.DigestSet(r.Policy.Digest),
		},
		Result:         "PASSED",
		VerifiedLevels: []string{},
		SLSAVersion:    "1.2",
	}
	s.Policy.Digest["gitCommit"] = r.Policy.Commit
	s.Verifier.ID = VerifierID
	if r.Version != "" {
		s.Verifier.Version = map[string]string{"lockage": r.Version}
	}
	seen := map[digest.Digest]bool{}
	for _, c := range r.Checks {
		if c.Property != "" && !slices.Contains(s.VerifiedLevels, c.Property) {
			s.VerifiedLevels = append(s.VerifiedLevels, c.Property)
		}
		for _, d := range c.Evidence {
			if d.Validate() == nil && !seen[d] {
				seen[d] = true
				s.Inputs = append(s.Inputs, sign.ResourceDescriptor{Digest: sign.DigestSet(d)})
			}
		}
	}
	return newStatement(TypeSummary, r.Claim, r.To.Digest, s)
}

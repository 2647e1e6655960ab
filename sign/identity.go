package sign

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
)

// Identity is a trusted signer, and what it is known by: a public key, or the issuer and the subject of certificates.
type Identity struct {
	Name      string
	PublicKey PublicKey
	Former    bool // the identity signs with another key now

	// Without a public key:
	Issuer   string      // of the tokens that certificates are given for
	Subject  string      // of the certificate
	Subjects *Expression // or what matches it
	Instance *Instance   // that proves its certificates
	Except   []Identity  // whom it is not, although their subjects match
}

// known reports whether a signature can be proven to be the identity's.
func (id Identity) known() error {
	switch {
	case id.PublicKey.key != nil:
		return nil
	case id.Issuer == "":
		return fmt.Errorf("identity %q has no public key, and no issuer either", id.Name)
	case id.Subject == "" && id.Subjects == nil:
		return fmt.Errorf("identity %q has an issuer and no subject", id.Name)
	case id.Instance == nil:
		return fmt.Errorf("identity %q has no trusted root that proves its certificates", id.Name)
	}
	return nil
}

// Made reports whether somebody who signed is the identity. Nobody is the zero identity.
func (id Identity) Made(a Author) bool {
	switch {
	case id.PublicKey.key != nil:
		return a.Issuer == "" && a.fingerprint == id.PublicKey.Fingerprint()
	case id.Issuer == "" || a.Issuer != id.Issuer || a.Subject == "":
		return false
	case id.Subjects != nil:
		return id.Subjects.compiled.MatchString(a.Subject) && !slices.ContainsFunc(id.Except, func(other Identity) bool { return other.Made(a) })
	}
	return a.Subject == id.Subject
}

// Author returns who signs for the identity; the zero value if that may be several.
func (id Identity) Author() Author {
	switch {
	case id.PublicKey.key != nil:
		return Author{fingerprint: id.PublicKey.Fingerprint()}
	case id.Issuer != "" && id.Subjects == nil:
		return subjectOf(id.Issuer, id.Subject)
	}
	return Author{}
}

// String describes what the identity is known by.
func (id Identity) String() string {
	switch {
	case id.PublicKey.key != nil:
		return id.Author().String()
	case id.Subjects != nil:
		text := fmt.Sprintf("a subject that matches %s, of %s", id.Subjects.text, id.Issuer)
		for _, other := range id.Except {
			text += fmt.Sprintf(", that the %s does not have", other.Name)
		}
		return text
	}
	return fmt.Sprintf("%s of %s", id.Subject, id.Issuer)
}

// maxExpression bounds the text of an expression.
const maxExpression = 1 << 10

// Expression is a regular expression that matches whole subjects, and never a part of one.
type Expression struct {
	text     string
	compiled *regexp.Regexp
}

// ParseExpression compiles an expression of RE2.
func ParseExpression(text string) (*Expression, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are read", len(text), maxExpression)
	}
	if _, err := regexp.Compile(text); err != nil { // alone, so that it cannot leave the group
		return nil, err
	}
	compiled, err := regexp.Compile(`\A(?:` + text + `)\z`)
	return &Expression{text, compiled}, err
}

// Author is who signed: a key, or a subject that an issuer vouched for. Two signatures are by different signers if and only if
// their authors differ.
type Author struct {
	fingerprint     string
	Issuer, Subject string // of a certificate; "" for a key
}

func subjectOf(issuer, subject string) Author {
	sum := sha256.Sum256([]byte(issuer + "\n" + subject))
	return Author{hex.EncodeToString(sum[:]), issuer, subject}
}

// Fingerprint returns 64 digits of lower-case hex that distinguish authors: of a key [PublicKey.Fingerprint].
func (a Author) Fingerprint() string { return a.fingerprint }

// shortFingerprint is enough of a fingerprint for people to recognise it.
const shortFingerprint = 12

// String names the author for people.
func (a Author) String() string {
	if a.Issuer != "" {
		return fmt.Sprintf("%.200s of %.200s", a.Subject, a.Issuer)
	}
	return "key " + a.fingerprint[:min(len(a.fingerprint), shortFingerprint)]
}

// hint returns the author's name in annotations.
func (a Author) hint() string {
	sum, err := hex.DecodeString(a.fingerprint)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(sum)
}

// certified returns whom a certificate names. Nothing of it is proven here.
func certified(cert *x509.Certificate) (Author, error) {
	if cert == nil {
		return Author{}, errors.New("the bundle holds no certificate")
	}
	summary, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		return Author{}, fmt.Errorf("certificate: %w", err)
	}
	if summary.SubjectAlternativeName == "" || summary.Issuer == "" {
		return Author{}, fmt.Errorf("its certificate names no subject or no issuer of %s", cmp.Or(summary.SubjectAlternativeName, "it"))
	}
	return subjectOf(summary.Issuer, summary.SubjectAlternativeName), nil
}

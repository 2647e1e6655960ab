package sign

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// minBundleVersion is what cosign reads and writes; older bundles may hold several signatures or a chain of certificates.
const minBundleVersion = "v0.3"

// minCertifiedVersion is that of what [FindEnvelopes] returns of signers without a key: the log's older form of an entry has no place in
// later versions.
const minCertifiedVersion = "v0.1"

// Verifier proves statements by the identities it was made for. Make it once: it is safe for concurrent use.
type Verifier struct {
	trusted []trusted
}

type trusted struct {
	Identity
	author     Author // zero for an identity that may be several
	hint       string
	signatures signature.Verifier
	bundles    *verify.Verifier // both nil for an identity without a key
}

// NewVerifier trusts the given identities, at least one. One that has several keys is given once for each. No key may
// have two names: a statement has one signer. Of identities with issuers and subjects, the first that matches has the name.
func NewVerifier(identities ...Identity) (*Verifier, error) {
	if len(identities) == 0 {
		return nil, errors.New("no trusted identity is given; nothing can be verified")
	}
	v := &Verifier{}
	for _, id := range identities {
		if err := id.known(); err != nil {
			return nil, err
		}
		t := trusted{Identity: id, author: id.Author(), hint: id.Author().hint()}
		if id.PublicKey.key == nil {
			v.trusted = append(v.trusted, t)
			continue
		}
		for _, other := range v.trusted {
			if other.author == t.author {
				return nil, fmt.Errorf("identities %q and %q have the same key", other.Name, t.Name)
			}
		}
		var err error
		if t.signatures, err = signature.LoadVerifier(id.PublicKey.key, crypto.SHA256); err != nil {
			return nil, fmt.Errorf("identity %q: %w", id.Name, err)
		}
		// The key is the material, whatever hint a bundle holds: a hint is not signed.
		key := root.NewExpiringKey(t.signatures, time.Time{}, time.Time{})
		material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return key, nil })
		t.bundles, err = verify.NewVerifier(material, verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate())
		if err != nil {
			return nil, fmt.Errorf("identity %q: %w", id.Name, err)
		}
		v.trusted = append(v.trusted, t)
	}
	return v, nil
}

// Trusts reports whether the verifier proves what an identity signs, whatever its name, and whether by a former key.
func (v *Verifier) Trusts(id Identity) (trusts, former bool) {
	for _, t := range v.trusted {
		if t.Made(id.Author()) {
			return true, t.Former
		}
	}
	return false, false
}

// First returns the identity that was given first.
func (v *Verifier) First() Identity { return v.trusted[0].Identity }

// proof is what verification proves of a signature.
type proof struct {
	subject  Subject
	identity string
	author   Author
	former   bool
	time     Time
}

func (t trusted) proves(s Subject, by Author, at Time) proof {
	return proof{s, t.Name, by, t.Former, at}
}

// SubjectName returns the repository that was signed for the artifact. It may be empty.
func (p proof) SubjectName() string { return p.subject.Name }

// Digest returns the artifact's digest.
func (p proof) Digest() digest.Digest { return p.subject.Digest }

// Annotations returns the subject's annotations.
func (p proof) Annotations() map[string]string { return maps.Clone(p.subject.Annotations) }

// Claim returns what the subject's annotations say of the artifact. What they lack is empty. The claim of a provenance is
// in its predicate instead, see [Verified.Provenance].
func (p proof) Claim() Claim { return claimOf(p.subject.Annotations) }

// Identity returns the name of the identity that signed.
func (p proof) Identity() string { return p.identity }

// Author returns who signed.
func (p proof) Author() Author { return p.author }

// KeyFingerprint returns the fingerprint of who signed: of a key [PublicKey.Fingerprint].
func (p proof) KeyFingerprint() string { return p.author.fingerprint }

// Time returns when it was signed at the latest, as a timestamp authority or a log proves; zero if none does.
func (p proof) Time() Time { return p.time }

// Former reports whether that is a former key of the identity: when it signed is for the caller to find out.
func (p proof) Former() bool { return p.former }

// Verified is a statement that a trusted identity signed about the artifact that was asked for.
type Verified struct {
	proof
	predicateType string
	predicate     json.RawMessage
	provenance    func() (Provenance, error)
	bundle        Bundle
}

// by returns the statement, read from a bundle, as what a proof is of.
func (s Statement) by(p proof, b Bundle) Verified {
	return Verified{p, s.PredicateType, s.Predicate, sync.OnceValues(func() (Provenance, error) { return parseProvenance(s.Predicate) }), b}
}

// PredicateType returns the kind of the statement, a URI.
func (v Verified) PredicateType() string { return v.predicateType }

// Predicate returns what the statement says, a JSON object.
func (v Verified) Predicate() json.RawMessage { return slices.Clone(v.predicate) }

// Provenance returns the predicate of a [PredicateProvenance] statement; the caller must not change it. A statement of
// another type is an error, and so is provenance of another build type or builder.
func (v Verified) Provenance() (Provenance, error) {
	if v.predicateType != PredicateProvenance {
		return Provenance{}, fmt.Errorf("a statement of type %s instead of %s", v.predicateType, PredicateProvenance)
	}
	return v.provenance()
}

// Bundle returns the bundle that the statement was read from; the caller must not change it.
func (v Verified) Bundle() Bundle { return v.bundle }

// Rejected is something attached to an artifact that proves nothing, and why.
type Rejected struct {
	Referrer digest.Digest // of the manifest by which it is attached
	Reason   string
}

// Verify reads everything attached to a digest and proves what can be proven by the verifier's identities. An error
// means that it could not be read, not that nothing is proven.
func Verify(ctx context.Context, store Reader, subject ocispec.Descriptor, verifier *Verifier) ([]Verified, []Rejected, error) {
	bundles, err := Find(ctx, store, subject, verifier.Fingerprints()...)
	if err != nil {
		return nil, nil, err
	}
	verified, rejected := verifier.Verify(subject.Digest, bundles)
	return verified, rejected, nil
}

// Verify proves what it can of the bundles that were found on a digest. Both results are in the order of the bundles.
func (v *Verifier) Verify(artifact digest.Digest, bundles []Bundle) ([]Verified, []Rejected) {
	var verified []Verified
	var rejected []Rejected
	for _, b := range bundles {
		proof, err := v.verify(artifact, b)
		if err != nil {
			rejected = append(rejected, Rejected{Referrer: b.Referrer, Reason: err.Error()})
			continue
		}
		verified = append(verified, proof)
	}
	return verified, rejected
}

// SignedBy returns the bundles on a digest that one of the verifiers proves. It asks those first whom a bundle names.
func SignedBy(artifact digest.Digest, bundles []Bundle, by ...*Verifier) (signed []Bundle) {
	for _, b := range bundles {
		named := b
		named.glance(artifact)
		others := func(v *Verifier) bool {
			return !slices.ContainsFunc(v.trusted, func(t trusted) bool { return t.hint == named.key })
		}
		first, last := slices.DeleteFunc(slices.Clone(by), others), slices.DeleteFunc(slices.Clone(by), func(v *Verifier) bool { return !others(v) })
		if slices.ContainsFunc(append(first, last...), func(v *Verifier) bool {
			_, err := v.verify(artifact, b)
			return err == nil
		}) {
			signed = append(signed, b)
		}
	}
	return signed
}

func (v *Verifier) verify(artifact digest.Digest, b Bundle) (Verified, error) {
	if b.Problem != "" {
		return Verified{}, errors.New(b.Problem)
	}
	if err := checkDigest(artifact); err != nil {
		return Verified{}, err
	}
	raw, err := hex.DecodeString(artifact.Encoded())
	if err != nil {
		return Verified{}, err
	}
	parsed, author, err := parseBundle(b.JSON)
	if err != nil {
		return Verified{}, err
	}
	proven := func(t trusted, by Author, at Time) (Verified, error) {
		statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
		if err != nil {
			return Verified{}, fmt.Errorf("%s signed it, but: %w", t.Name, err)
		}
		b.predicateType, b.key, b.about = statement.PredicateType, author.hint, artifact
		return statement.by(t.proves(statement.Subject, by, at), b), nil
	}
	if author.Issuer != "" {
		t, by, at, err := v.certified(author.Author, func(i *Instance) (Author, Time, error) {
			return i.prove(parsed, verify.WithArtifactDigest("sha256", raw))
		})
		if err != nil {
			return Verified{}, err
		}
		return proven(t, by, at)
	}
	for _, t := range v.byHint(author.hint) {
		_, cause := t.bundles.Verify(parsed, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithKey()))
		if cause == nil {
			return proven(t, t.author, t.Instance.stamp(parsed))
		}
		if !t.signed(parsed) {
			continue
		}
		if _, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact); err != nil {
			cause = err
		}
		return Verified{}, fmt.Errorf("%s signed it, but: %w", t.Name, cause)
	}
	return Verified{}, fmt.Errorf("not signed by %s", v.names())
}

// certified finds the trusted identity that signed with a certificate, which names somebody, and proves that.
func (v *Verifier) certified(claimed Author, prove func(*Instance) (Author, Time, error)) (trusted, Author, Time, error) {
	var asked []*Instance
	for _, t := range v.trusted {
		if t.Instance == nil || slices.Contains(asked, t.Instance) || !t.Made(claimed) {
			continue
		}
		asked = append(asked, t.Instance)
		by, at, err := prove(t.Instance)
		if err != nil {
			return trusted{}, by, at, fmt.Errorf("it says to be signed by %s, but: %w", claimed, err)
		}
		if t.Made(by) {
			return t, by, at, nil
		}
	}
	return trusted{}, claimed, Time{}, fmt.Errorf("it claims to be signed by %s, not by %s", claimed, v.described())
}

// parsedAuthor is whom a bundle names as its signer, before anything is proven.
type parsedAuthor struct {
	Author
	hint string
}

// parseBundle reads a bundle that holds an envelope with one signature, and whom it names as the signer.
func parseBundle(text []byte) (*bundle.Bundle, parsedAuthor, error) {
	var by parsedAuthor
	if len(text) > MaxBundleSize {
		return nil, by, fmt.Errorf("the bundle has %d bytes, at most %d are read", len(text), MaxBundleSize)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return nil, by, fmt.Errorf("not a Sigstore bundle: %w", err)
	}
	key := b.GetVerificationMaterial().GetPublicKey()
	oldest := minBundleVersion
	if key == nil {
		oldest = minCertifiedVersion
	}
	if !b.MinVersion(oldest) {
		return nil, by, fmt.Errorf("a bundle of type %.100q; %s is the oldest that is read", b.MediaType, oldest)
	}
	if b.GetDsseEnvelope() == nil {
		return nil, by, errors.New("the bundle holds no statement, only a signature of bytes")
	}
	if key != nil {
		by.hint = key.GetHint()
		if sum, err := base64.StdEncoding.DecodeString(by.hint); err == nil {
			by.fingerprint = hex.EncodeToString(sum)
		}
		return &b, by, nil
	}
	if n := len(b.GetDsseEnvelope().GetSignatures()); n != 1 {
		return nil, by, fmt.Errorf("its envelope has %d signatures instead of one", n)
	}
	content, err := b.VerificationContent()
	if err != nil {
		return nil, by, fmt.Errorf("not a Sigstore bundle: %w", err)
	}
	if by.Author, err = certified(content.Certificate()); err != nil {
		return nil, by, err
	}
	by.hint = by.Author.hint()
	return &b, by, nil
}

// signed reports whether the identity signed a bundle that proves nothing: for the reasons that people read, never for a
// proof.
func (t trusted) signed(b *bundle.Bundle) bool {
	_, err := t.bundles.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithKey()))
	return err == nil
}

// byHint returns the trusted keys, first the one that the hint names. The others follow, since not every signer writes such a hint.
func (v *Verifier) byHint(hint string) []trusted {
	var first, others []trusted
	for _, t := range v.trusted {
		switch {
		case t.Issuer != "":
		case t.hint == hint:
			first = append(first, t)
		default:
			others = append(others, t)
		}
	}
	return append(first, others...)
}

// Fingerprints lists the fingerprints of those who are trusted, as far as each is one.
func (v *Verifier) Fingerprints() []string {
	var keys []string
	for _, t := range v.trusted {
		if t.author.fingerprint != "" {
			keys = append(keys, t.author.fingerprint)
		}
	}
	return keys
}

// names lists the identities for a reason that people read.
func (v *Verifier) names() string {
	var names []string
	for _, t := range v.trusted {
		names = append(names, t.Name)
	}
	return strings.Join(slices.Compact(names), " or ")
}

// described lists the identities with what each is known by.
func (v *Verifier) described() string {
	var names []string
	for _, t := range v.trusted {
		names = append(names, fmt.Sprintf("%s (%s)", t.Name, t.Identity))
	}
	return strings.Join(names, " or ")
}

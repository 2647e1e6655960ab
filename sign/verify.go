package sign

import (
	"context"
	"crypto"
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

// Identity is a trusted signer, and what it is known by.
type Identity struct {
	Name      string
	PublicKey PublicKey
	Former    bool // the identity signs with another key now
}

// Verifier proves statements by the identities it was made for. Make it once: it is safe for concurrent use.
type Verifier struct {
	trusted []trusted
}

type trusted struct {
	name        string
	fingerprint string
	former      bool
	hint        string
	signatures  signature.Verifier
	bundles     *verify.Verifier
}

// NewVerifier trusts the given identities, at least one. One that has several keys is given once for each. No key may
// have two names: a statement has one signer.
func NewVerifier(identities ...Identity) (*Verifier, error) {
	if len(identities) == 0 {
		return nil, errors.New("no trusted identity is given; nothing can be verified")
	}
	v := &Verifier{}
	for _, id := range identities {
		if id.PublicKey.key == nil {
			return nil, fmt.Errorf("identity %q has no public key", id.Name)
		}
		t := trusted{name: id.Name, fingerprint: id.PublicKey.Fingerprint(), former: id.Former, hint: id.PublicKey.hint()}
		for _, other := range v.trusted {
			if other.fingerprint == t.fingerprint {
				return nil, fmt.Errorf("identities %q and %q have the same key", other.name, t.name)
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
		if t.fingerprint == id.PublicKey.Fingerprint() {
			return true, t.former
		}
	}
	return false, false
}

// proof is what verification proves of a signature.
type proof struct {
	subject     Subject
	identity    string
	fingerprint string
	former      bool
}

func (t trusted) proves(s Subject) proof { return proof{s, t.name, t.fingerprint, t.former} }

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

// KeyFingerprint returns the fingerprint of the key that signed, see [PublicKey.Fingerprint].
func (p proof) KeyFingerprint() string { return p.fingerprint }

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
	parsed, hint, err := parseBundle(b.JSON)
	if err != nil {
		return Verified{}, err
	}
	about := verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithKey())
	for _, t := range v.byHint(hint) {
		_, cause := t.bundles.Verify(parsed, about)
		statement, err := parseStatement(parsed.GetDsseEnvelope().GetPayload(), artifact)
		switch {
		case cause == nil && err == nil:
			b.predicateType, b.key, b.about = statement.PredicateType, hint, artifact
			return statement.by(t.proves(statement.Subject), b), nil
		case cause != nil && !t.signed(parsed):
			continue
		case err != nil:
			cause = err
		}
		return Verified{}, fmt.Errorf("%s signed it, but: %w", t.name, cause)
	}
	return Verified{}, fmt.Errorf("not signed by %s", v.names())
}

// parseBundle reads a bundle that holds an envelope signed by a key, and the hint that names the key.
func parseBundle(text []byte) (*bundle.Bundle, string, error) {
	if len(text) > MaxBundleSize {
		return nil, "", fmt.Errorf("the bundle has %d bytes, at most %d are read", len(text), MaxBundleSize)
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(text); err != nil {
		return nil, "", fmt.Errorf("not a Sigstore bundle: %w", err)
	}
	if !b.MinVersion(minBundleVersion) {
		return nil, "", fmt.Errorf("a bundle of type %.100q; %s is the oldest that is read", b.MediaType, minBundleVersion)
	}
	if b.GetDsseEnvelope() == nil {
		return nil, "", errors.New("the bundle holds no statement, only a signature of bytes")
	}
	key := b.GetVerificationMaterial().GetPublicKey()
	if key == nil {
		return nil, "", errors.New("signed with a certificate; keyless identities are not supported yet")
	}
	return &b, key.GetHint(), nil
}

// signed reports whether the identity signed a bundle that proves nothing: for the reasons that people read, never for a
// proof.
func (t trusted) signed(b *bundle.Bundle) bool {
	_, err := t.bundles.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithKey()))
	return err == nil
}

// byHint puts first the key that the hint names. The others follow, since not every signer writes such a hint.
func (v *Verifier) byHint(hint string) []trusted {
	i := slices.IndexFunc(v.trusted, func(t trusted) bool { return t.hint == hint })
	if i <= 0 {
		return v.trusted
	}
	order := append([]trusted{v.trusted[i]}, v.trusted[:i]...)
	return append(order, v.trusted[i+1:]...)
}

// Fingerprints lists the trusted keys.
func (v *Verifier) Fingerprints() []string {
	keys := make([]string, len(v.trusted))
	for i, t := range v.trusted {
		keys[i] = t.fingerprint
	}
	return keys
}

// names lists the identities for a reason that people read.
func (v *Verifier) names() string {
	var names []string
	for _, t := range v.trusted {
		names = append(names, t.name)
	}
	return strings.Join(slices.Compact(names), " or ")
}

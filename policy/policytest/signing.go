package policytest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
)

// Forms of what is signed: https://github.com/in-toto/attestation, https://github.com/secure-systems-lab/dsse and
// https://github.com/sigstore/protobuf-specs.
const (
	statementType   = "https://in-toto.io/Statement/v1"
	payloadType     = "application/vnd.in-toto+json"
	bundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// identities says which names share a key: each name, to the first name that has its key. It is empty where nobody is
// declared, and anybody may sign.
type identities map[string]string

func declaredIdentities(declared map[string]pipeline.Identity) identities {
	ids, first := make(identities), make(map[pipeline.Identity]string)
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		id := declared[name]
		if _, shared := first[id]; !shared {
			first[id] = name
		}
		ids[name] = first[id]
	}
	return ids
}

// key is the test key of a name. Whoever knows the name has it: it is worth nothing outside of a test.
func (ids identities) key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("lockage policy test: " + orDefault(ids[name], name)))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (ids identities) publicKey(name string) (sign.PublicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(ids.key(name).Public())
	if err != nil {
		return sign.PublicKey{}, err
	}
	return sign.ParsePublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// prove signs a statement and has it proven for a subject: by package sign alone, as if it hung in a registry.
func (ids identities) prove(
	name string, about, subject digest.Digest, repository, predicateType string, predicate any, annotations map[string]string,
) ([]sign.Verified, []sign.Rejected, error) {
	payload, err := json.Marshal(map[string]any{
		"_type":         statementType,
		"subject":       []any{map[string]any{"name": repository, "digest": map[string]string{"sha256": about.Encoded()}, "annotations": annotations}},
		"predicateType": predicateType,
		"predicate":     predicate,
	})
	if err != nil {
		return nil, nil, err
	}
	// What DSSE signs: the pre-authentication encoding.
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	bundle, err := json.Marshal(map[string]any{
		"mediaType":            bundleMediaType,
		"verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": name}},
		"dsseEnvelope": map[string]any{
			"payload":     base64.StdEncoding.EncodeToString(payload),
			"payloadType": payloadType,
			"signatures":  []any{map[string]string{"sig": base64.StdEncoding.EncodeToString(ed25519.Sign(ids.key(name), signed))}},
		},
	})
	if err != nil {
		return nil, nil, err
	}
	public, err := ids.publicKey(name)
	if err != nil {
		return nil, nil, err
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: name, PublicKey: public})
	if err != nil {
		return nil, nil, err
	}
	verified, rejected := verifier.Verify(subject, []sign.Bundle{{Referrer: digest.FromBytes(bundle), JSON: bundle}})
	return verified, rejected, nil
}

func isDigest(s string) bool {
	d := digest.Digest(s)
	return d.Validate() == nil && d.Algorithm() == digest.SHA256
}

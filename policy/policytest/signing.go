package policytest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/sign"
)

// identities maps each name to the first name that has its key. It is empty where nobody is declared, and anybody may sign.
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

// key returns the test key of a name. Anybody who knows the name has it: it is worth nothing outside of a test.
func (ids identities) key(name string) (*sign.Key, error) {
	seed := sha256.Sum256([]byte("lockage policy test: " + cmp.Or(ids[name], name)))
	return sign.NewKey(ed25519.NewKeyFromSeed(seed[:]))
}

// prove signs a statement and verifies it for a subject, as if the statement were attached to it in a registry.
func (ids identities) prove(ctx context.Context, name string, subject digest.Digest, statement sign.Statement) ([]sign.Verified, []sign.Rejected, error) {
	key, err := ids.key(name)
	if err != nil {
		return nil, nil, err
	}
	bundle, err := sign.Sign(ctx, key, statement)
	if err != nil {
		return nil, nil, err
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: name, PublicKey: key.PublicKey()})
	if err != nil {
		return nil, nil, err
	}
	verified, rejected := verifier.Verify(subject, []sign.Bundle{bundle})
	return verified, rejected, nil
}

func isDigest(s string) bool {
	d := digest.Digest(s)
	return d.Validate() == nil && d.Algorithm() == digest.SHA256
}

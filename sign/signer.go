package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Signer signs in the two forms that are published.
type Signer interface {
	// Identity returns whom a verifier has to trust to accept what this signer signs. It has no name.
	Identity() Identity
	// SignStatement puts an in-toto statement in a signed envelope and returns a Sigstore bundle v0.3, in JSON.
	SignStatement(ctx context.Context, statement []byte) ([]byte, error)
	// SignPayload signs bytes as they are, and returns the annotations with which cosign finds such a signature.
	SignPayload(ctx context.Context, payload []byte) (map[string]string, error)
}

// schemeEnv is the scheme of references to environment variables.
const schemeEnv = "env"

// Open opens a signer by its reference: the path of a key file, env://NAME, or SCHEME:REST for another kind of signer.
func Open(ctx context.Context, ref string, password PasswordFunc) (Signer, error) {
	switch {
	case ref == "":
		return nil, errors.New("no signing key is given; name a key file or env://NAME")
	case strings.Contains(ref, "-----BEGIN"):
		return nil, errors.New("the key reference holds a key itself; put it in a file or a variable, and name that")
	}
	switch scheme := schemeOf(ref); scheme {
	case "", schemeEnv:
		key, err := OpenKey(ctx, ref, password)
		if err != nil {
			return nil, err
		}
		return key, nil
	default: // without the rest of the reference, which may be a secret
		return nil, fmt.Errorf("signing keys of the kind %s are not supported yet; name a key file or env://NAME", scheme)
	}
}

// schemeOf returns the kind of signer that a reference names; "" for a file.
func schemeOf(ref string) string {
	scheme, rest, _ := strings.Cut(ref, ":")
	if strings.HasPrefix(rest, "//") || scheme == "pkcs11" {
		return scheme
	}
	return ""
}

// IsFile reports whether a reference to a signing key is the path of a file.
func IsFile(ref string) bool { return ref != "" && schemeOf(ref) == "" }

// Keyring opens each signer once, however often it is asked for. It is safe for concurrent use.
type Keyring struct {
	password PasswordFunc

	mu      sync.Mutex
	signers map[string]Signer
}

// NewKeyring returns an empty keyring that opens encrypted keys with the given password.
func NewKeyring(password PasswordFunc) *Keyring {
	return &Keyring{password: password, signers: make(map[string]Signer)}
}

// Open is the function [Open], called once for each reference.
func (r *Keyring) Open(ctx context.Context, ref string) (Signer, error) {
	r.mu.Lock() // held while opening: those who wait want this key, or would compete for the processor
	defer r.mu.Unlock()
	if signer, ok := r.signers[ref]; ok {
		return signer, nil
	}
	signer, err := Open(ctx, ref, r.password)
	if err != nil {
		return nil, err
	}
	r.signers[ref] = signer
	return signer, nil
}

package sign

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"
)

// Signer signs in the two forms that are published.
type Signer interface {
	// Identity returns whom a verifier has to trust to accept what this signer signs. It has no name.
	Identity() Identity
	// SignStatement puts an in-toto statement in a signed envelope and returns a Sigstore bundle v0.3, in JSON.
	SignStatement(ctx context.Context, statement []byte) ([]byte, error)
	// SignPayload signs bytes as they are, and returns the annotations with which cosign finds such a signature; nil if that form has no
	// place for it.
	SignPayload(ctx context.Context, payload []byte) (map[string]string, error)
}

const (
	schemeEnv   = "env"    // of references to environment variables
	schemeToken = "pkcs11" // of references to keys on tokens
)

// Open opens a signer by its reference: the path of a key file, env://NAME, SCHEME://REST for a key in a key service, or the
// URI of a key on a PKCS #11 token.
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
	case schemeToken:
		return openToken(ctx, ref)
	default:
		return openService(ctx, scheme, ref)
	}
}

// schemeOf returns the kind of signer that a reference names; "" for a file.
func schemeOf(ref string) string {
	scheme, rest, _ := strings.Cut(ref, ":")
	if strings.HasPrefix(rest, "//") || scheme == schemeToken {
		return scheme
	}
	return ""
}

// IsFile reports whether a reference to a signing key is the path of a file.
func IsFile(ref string) bool { return ref != "" && schemeOf(ref) == "" }

// Keyring opens each signer once, however often it is asked for. It is safe for concurrent use.
type Keyring struct {
	password PasswordFunc

	tokens func(ref string) TokenFunc
	now    func() time.Time

	mu      sync.Mutex
	signers map[string]Signer
}

// WithTokens lets the keyring sign without keys: tokens returns where the token of a reference comes from, of "" the one that is there,
// and now is the clock. It returns the keyring.
func (r *Keyring) WithTokens(tokens func(ref string) TokenFunc, now func() time.Time) *Keyring {
	r.tokens, r.now = tokens, now
	return r
}

// Keyless is [NewKeyless] with the token of a reference, called once for each instance and reference.
func (r *Keyring) Keyless(ctx context.Context, instance *Instance, ref string) (Signer, error) {
	if r.tokens == nil || instance == nil {
		return nil, errors.New("nothing signs without a key here")
	}
	return r.once("keyless "+instance.id+" "+ref, func() (Signer, error) { return NewKeyless(ctx, instance, r.tokens(ref), r.now) })
}

// NewKeyring returns an empty keyring that opens encrypted keys with the given password.
func NewKeyring(password PasswordFunc) *Keyring {
	return &Keyring{password: password, signers: make(map[string]Signer)}
}

// Open is the function [Open], called once for each reference.
func (r *Keyring) Open(ctx context.Context, ref string) (Signer, error) {
	return r.once("key "+ref, func() (Signer, error) { return Open(ctx, ref, r.password) })
}

func (r *Keyring) once(name string, open func() (Signer, error)) (Signer, error) {
	r.mu.Lock() // held while opening: those who wait want this signer, or would compete for the processor
	defer r.mu.Unlock()
	if signer, ok := r.signers[name]; ok {
		return signer, nil
	}
	signer, err := open()
	if err != nil {
		return nil, err
	}
	r.signers[name] = signer
	return signer, nil
}

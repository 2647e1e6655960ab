package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	// MaxPublicKeys bounds the public keys of one text.
	MaxPublicKeys = 16

	minRSABits = 2048
	maxRSABits = 8192 // verification time grows with the size, and an unknown key must not decide it

	pemPublic = "PUBLIC KEY"
)

// PublicKey is a key that signatures are verified with.
type PublicKey struct {
	key  crypto.PublicKey
	spki []byte // SubjectPublicKeyInfo in DER
}

// ParsePublicKeys reads public keys from PEM blocks («PUBLIC KEY», as cosign writes them): the current key of an identity
// first, then its former ones.
func ParsePublicKeys(text []byte) ([]PublicKey, error) {
	if len(text) > MaxPublicKeys*maxKeySize {
		return nil, fmt.Errorf("public key is larger than %d bytes", MaxPublicKeys*maxKeySize)
	}
	var keys []PublicKey
	for rest := text; len(keys) == 0 || len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && len(keys) == 0:
			return nil, errors.New("public key is not PEM text")
		case block == nil:
			return nil, errors.New("public key is followed by something else than another one")
		case block.Type != pemPublic:
			return nil, fmt.Errorf("PEM block %.60q is not a public key", block.Type)
		case len(keys) == MaxPublicKeys:
			return nil, fmt.Errorf("more than %d public keys in one text", MaxPublicKeys)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		key, err := newPublicKey(parsed)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func newPublicKey(key crypto.PublicKey) (PublicKey, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return PublicKey{}, fmt.Errorf("keys on curve %s are not supported; take P-256", k.Params().Name)
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return PublicKey{}, fmt.Errorf("RSA key of %d bits; from %d to %d are supported", bits, minRSABits, maxRSABits)
		}
	case ed25519.PublicKey:
	default:
		return PublicKey{}, fmt.Errorf("keys of type %T are not supported; take ECDSA on P-256", key)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("public key: %w", err)
	}
	return PublicKey{key: key, spki: der}, nil
}

// PEM returns the key as text.
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: k.spki})
}

// Fingerprint returns the SHA-256 of the key's SubjectPublicKeyInfo in 64 digits of lower-case hex.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256(k.spki)
	return hex.EncodeToString(sum[:])
}

// hint returns cosign's name for the key in a bundle.
func (k PublicKey) hint() string {
	sum := sha256.Sum256(k.spki)
	return base64.StdEncoding.EncodeToString(sum[:])
}

package testworld

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/lockage/lockage/sign"
)

// Key makes a signing key.
func Key(t testing.TB) *sign.Key {
	t.Helper()
	return must(sign.NewKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)))(t)
}

// KeyFile makes a signing key and returns the file of the private key and the text of the public one.
func KeyFile(t testing.TB) (private, public string) {
	t.Helper()
	pair := must(KeyPair())(t)
	private = filepath.Join(t.TempDir(), "signing.key")
	check(t, os.WriteFile(private, pair.Private, 0o600))
	return private, string(pair.Public)
}

// KeyPair makes a signing key as text. It is not encrypted: opening an encrypted key takes a third of a second.
func KeyPair() (sign.KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return sign.KeyPair{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return sign.KeyPair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	return sign.KeyPair{
		Private: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		Public:  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
	}, err
}

// Verifier trusts a key under an identity's name.
func Verifier(t testing.TB, identity string, key *sign.Key) *sign.Verifier {
	t.Helper()
	return must(sign.NewVerifier(sign.Identity{Name: identity, PublicKey: key.PublicKey()}))(t)
}

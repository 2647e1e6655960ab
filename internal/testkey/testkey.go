// Package testkey makes signing keys for tests: not encrypted, since opening an encrypted one takes a third of a second.
package testkey

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

// New makes a key that nobody else has.
func New(t testing.TB) *sign.Key {
	t.Helper()
	pair, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "signing.key")
	if err := os.WriteFile(file, pair.Private, 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := sign.OpenKey(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Pair is a key that nobody else has, as text.
func Pair() (sign.KeyPair, error) {
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

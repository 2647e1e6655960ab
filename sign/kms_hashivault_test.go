//go:build hashivault

package sign_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lockage/lockage/sign"
)

// transit serves the transit engine of Vault to those who have the token. Its key liar signs something else than it is asked to:
// https://developer.hashicorp.com/vault/api-docs/secret/transit
func transit(t *testing.T, token string, edwards ed25519.PrivateKey) (address string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mux := http.NewServeMux()
	serve := func(pattern string, answer func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			data, err := answer(r)
			body := map[string]any{"data": data}
			switch {
			case r.Header.Get("X-Vault-Token") != token:
				w.WriteHeader(http.StatusForbidden)
				body = map[string]any{"errors": []string{"permission denied"}}
			case err != nil:
				w.WriteHeader(http.StatusBadRequest)
				body = map[string]any{"errors": []string{err.Error()}}
			}
			_ = json.NewEncoder(w).Encode(body)
		})
	}
	serve("GET /v1/transit/keys/promote", func(*http.Request) (any, error) {
		return map[string]any{"type": "ecdsa-p256", "latest_version": 1, "keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": public}}}, nil
	})
	serve("PUT /v1/transit/sign/promote/sha2-256", func(r *http.Request) (any, error) {
		var request struct {
			Input     []byte
			Prehashed bool
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			return nil, err
		}
		signature, err := ecdsa.SignASN1(rand.Reader, key, request.Input)
		return map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(signature), "key_version": 1}, err
	})
	serve("GET /v1/transit/keys/edwards", func(*http.Request) (any, error) {
		public := base64.StdEncoding.EncodeToString(edwards.Public().(ed25519.PublicKey))
		return map[string]any{"type": "ed25519", "latest_version": 1, "keys": map[string]any{"1": map[string]any{"name": "ed25519", "public_key": public}}}, nil
	})
	serve("PUT /v1/transit/sign/edwards", func(r *http.Request) (any, error) {
		var request struct{ Input []byte }
		err := json.NewDecoder(r.Body).Decode(&request)
		return map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(ed25519.Sign(edwards, request.Input)), "key_version": 1}, err
	})
	serve("GET /v1/transit/keys/liar", func(*http.Request) (any, error) {
		return map[string]any{"type": "ecdsa-p256", "latest_version": 1, "keys": map[string]any{"1": map[string]any{"name": "P-256", "public_key": public}}}, nil
	})
	serve("PUT /v1/transit/sign/liar/sha2-256", func(*http.Request) (any, error) {
		signature, err := ecdsa.SignASN1(rand.Reader, key, []byte("something else"))
		return map[string]any{"signature": "vault:v1:" + base64.StdEncoding.EncodeToString(signature), "key_version": 1}, err
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL, key
}

// TestVault signs with a key that Vault has, without a plugin.
func TestVault(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	address, key := transit(t, "the token", edwards)
	t.Setenv("VAULT_ADDR", address)
	t.Setenv("VAULT_TOKEN", "the token")
	public, err := sign.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	signs(t, "hashivault://promote", public)
	if public, err = sign.NewPublicKey(edwards.Public()); err != nil {
		t.Fatal(err)
	}
	signs(t, "hashivault://edwards", public)
	liar, err := sign.Open(t.Context(), "hashivault://liar", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Sign(t.Context(), liar, sign.NewSignature(artifactDigest, claim)); err == nil || !strings.Contains(err.Error(), "what it signed does not verify") {
		t.Errorf("a service that signs something else: %v", err)
	}
	if _, err := sign.Open(t.Context(), "hashivault://another", nil); err == nil || !strings.Contains(err.Error(), "signing key hashivault://another") || !strings.Contains(err.Error(), "an unsealed server at VAULT_ADDR") {
		t.Errorf("a key that Vault does not have: %v", err)
	}
	t.Setenv("VAULT_TOKEN", "another token")
	if _, err := sign.Open(t.Context(), "hashivault://promote", nil); err == nil || !strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), "another token") {
		t.Errorf("with another token: %v", err)
	}
}

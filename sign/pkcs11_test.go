//go:build pkcs11key

package sign_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ThalesIgnite/crypto11"

	"github.com/lockage/lockage/sign"
)

// TestToken signs with a key on a token of SoftHSM, which has to be installed.
func TestToken(t *testing.T) {
	const module, pin = "/usr/lib/softhsm/libsofthsm2.so", "73105"
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("COSIGN_PKCS11_MODULE_PATH", module)
	t.Setenv("COSIGN_PKCS11_PIN", pin)
	if out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", pin, "--so-pin", pin).CombinedOutput(); err != nil {
		t.Fatalf("install softhsm2: %v: %s", err, out)
	}
	public := onToken(t, module, pin)
	signs(t, "pkcs11:token=release;object=promote", public)
	for ref, want := range map[string]string{
		"pkcs11:token=release;object=another":                       "the token has no such key pair",
		"pkcs11:token=absent;object=promote":                        "signing key pkcs11:token=absent;object=promote: ",
		"pkcs11:token=release;object=promote?pin-value=" + pin:      "put the PIN in COSIGN_PKCS11_PIN",
		"pkcs11:token=release;object=promote;pin-value=" + pin:      "put the PIN in COSIGN_PKCS11_PIN",
		"pkcs11:token=release;object=promote?module-path=/tmp/x.so": "name the module in COSIGN_PKCS11_MODULE_PATH",
	} {
		if _, err := sign.Open(t.Context(), ref, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), pin) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// onToken makes a key pair on the token.
func onToken(t *testing.T, module, pin string) sign.PublicKey {
	t.Helper()
	token, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: "release", Pin: pin})
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		t.Fatal(err)
	}
	key, err := token.GenerateECDSAKeyPairWithLabel(id, []byte("promote"), elliptic.P256())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := key.Public().(*ecdsa.PublicKey); !ok {
		t.Fatalf("a key of type %T", key.Public())
	}
	public, err := sign.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// signs has a key sign in both forms, and its public half prove them.
func signs(t *testing.T, ref string, public sign.PublicKey) {
	t.Helper()
	signer, err := sign.Open(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
	if err != nil {
		t.Fatal(err)
	}
	image, err := sign.NewImageSignature(t.Context(), signer, artifactDigest, claim)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: "promoter", PublicKey: public})
	if err != nil {
		t.Fatal(err)
	}
	if verified, rejected := verifier.Verify(artifactDigest, []sign.Bundle{{JSON: bundle.JSON}}); len(verified) != 1 || !verifier.TrustsImage(image) {
		t.Errorf("signed by %s: %v, rejected %v, image %v", ref, verified, rejected, verifier.TrustsImage(image))
	}
}

//go:build hashivault || pkcs11key

package sign_test

import (
	"testing"

	"github.com/lockage/lockage/sign"
)

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

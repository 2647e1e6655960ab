package sign

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	cosignbundle "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	"github.com/sigstore/cosign/v2/pkg/oci/remote"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	rekor "github.com/sigstore/rekor/pkg/client"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature/payload"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign/signtest"
)

// cosignSigns writes to the tag .sig what `cosign sign` writes with a certificate and a log of Rekor v1, by cosign's own code.
func cosignSigns(t *testing.T, s *signtest.Sigstore, repo *oci.Repository, subject ocispec.Descriptor, who string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ref, err := name.NewDigest(repo.Name()+"@"+subject.Digest.String(), name.Insecure)
	check(err)
	key, err := sign.NewEphemeralKeypair(nil)
	check(err)
	der, err := sign.NewFulcio(&sign.FulcioOptions{BaseURL: s.URL}).GetCertificate(t.Context(), key, &sign.CertificateProviderOptions{IDToken: s.Token(who)})
	check(err)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text, err := payload.Cosign{Image: ref}.MarshalJSON()
	check(err)
	sig, _, err := key.SignData(t.Context(), text)
	check(err)
	log, err := rekor.GetRekorClient(s.URL)
	check(err)
	sum := sha256.New()
	sum.Write(text)
	entry, err := cosign.TLogUpload(t.Context(), log, sig, sum, certificate)
	check(err)
	signed, err := static.NewSignature(text, base64.StdEncoding.EncodeToString(sig), static.WithCertChain(certificate, certificate),
		static.WithBundle(cosignbundle.EntryToBundle(entry)))
	check(err)
	entity, err := remote.SignedEntity(ref)
	check(err)
	entity, err = mutate.AttachSignatureToEntity(entity, signed)
	check(err)
	check(remote.WriteSignatures(ref.Repository, entity))
}

// TestReadsCosignKeyless reads what cosign signed without a key.
func TestReadsCosignKeyless(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	repo := open(t, registry(t, true)+"/acme/app")
	subject := push(t, repo, "a")
	cosignSigns(t, s, repo, subject, "ada@release.example")
	verifier := func(s *signtest.Sigstore, who string) *Verifier {
		t.Helper()
		trusted, err := s.TrustedRoot("log")
		if err != nil {
			t.Fatal(err)
		}
		instance, err := NewInstance(trusted, nil)
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(Identity{Name: "manager", Issuer: s.URL, Subject: who, Instance: instance})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	read := func(s *signtest.Sigstore, who string) ([]VerifiedImage, []Rejected) {
		t.Helper()
		verified, rejected, err := VerifyImage(t.Context(), repo, subject, verifier(s, who))
		if err != nil {
			t.Fatal(err)
		}
		return verified, rejected
	}
	verified, rejected := read(s, "ada@release.example")
	if len(verified) != 1 || len(rejected) != 0 {
		t.Fatalf("%v, rejected %v", verified, rejected)
	}
	if v := verified[0]; v.Author().Subject != "ada@release.example" || v.Digest() != subject.Digest || time.Since(v.Time().Time) > time.Hour || v.Time().Source != s.URL {
		t.Errorf("%s signed %s at %v", v.Author(), v.Digest(), v.Time())
	}
	for label, c := range map[string]struct {
		s         *signtest.Sigstore
		who, want string
	}{
		"somebody else":        {s, "eve@release.example", "ada@release.example"},
		"another trusted root": {signtest.New(t), "ada@release.example", "ada@release.example"},
	} {
		if verified, rejected := read(c.s, c.who); len(verified) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, c.want) {
			t.Errorf("%s: %v, rejected %v", label, verified, rejected)
		}
	}
	layers, err := signatureForm.read(t.Context(), repo, subject.Digest)
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	forged := layers[0]
	forged.payload = bytes.Replace(forged.payload, []byte(subject.Digest.Encoded()[:8]), []byte("00000000"), 1)
	if _, err := verifier(s, "ada@release.example").verifyLayer(subject.Digest, forged); err == nil {
		t.Error("another payload is proven")
	}
}

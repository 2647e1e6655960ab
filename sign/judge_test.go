package sign

import (
	"crypto"
	"encoding/json"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/lockage/lockage/oci"
)

// registry starts a real registry, with the referrers API or without it.
func registry(t *testing.T, referrersAPI bool) string {
	t.Helper()
	server := httptest.NewServer(olareg.New(config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem},
		API:     config.ConfigAPI{Referrer: config.ConfigAPIReferrer{Enabled: &referrersAPI}},
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func open(t *testing.T, reference string) *oci.Repository {
	t.Helper()
	repo, err := oci.NewClient(oci.Options{}).Repository(reference)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// push puts a manifest into the repository that can be signed.
func push(t *testing.T, repo *oci.Repository, text string) ocispec.Descriptor {
	t.Helper()
	configBlob := oci.Blob{MediaType: ocispec.MediaTypeImageConfig, Data: []byte(`{"text":"` + text + `"}`)}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: configBlob.Descriptor(), Layers: []ocispec.Descriptor{}}
	manifest.SchemaVersion = 2
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := repo.PushManifest(t.Context(), manifest.MediaType, raw, configBlob)
	if err != nil {
		t.Fatal(err)
	}
	return desc
}

// publish writes everything that a hydrator writes.
func publish(t *testing.T, store Store, subject ocispec.Descriptor, key *Key, stage string) {
	t.Helper()
	prov, err := NewProvenance(subject.Digest, Provenance{Claim: claim(stage)})
	if err != nil {
		t.Fatal(err)
	}
	mustAttest(t, store, subject, key, prov)
	mustAttest(t, store, subject, key, NewSignature(subject.Digest, claim(stage)))
	mustSignImage(t, store, subject, key, claim(stage))
}

// The judge is cosign's own code, reading over its own registry client what this package wrote through ours.
func TestCosignVerifies(t *testing.T) {
	t.Parallel()
	for label, api := range map[string]bool{"referrers API": true, "fallback tag": false} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			repo := open(t, registry(t, api)+"/acme/app")
			hydrator, promoter, unknown := newKey(t), newKey(t), newKey(t)
			subject := push(t, repo, "a")
			publish(t, repo, subject, hydrator, "test")
			publish(t, repo, subject, promoter, "test")

			for who, key := range map[string]*Key{"hydrator": hydrator, "promoter": promoter} {
				if n, err := cosignSignatures(t, repo, subject, key); err != nil || n != 1 {
					t.Errorf("cosign reads %d signatures by %s: %v", n, who, err)
				}
				if n, err := cosignBundles(t, repo, subject, key); err != nil || n != 2 {
					t.Errorf("cosign reads %d bundles by %s: %v", n, who, err)
				}
			}
			if n, err := cosignSignatures(t, repo, subject, unknown); err == nil {
				t.Errorf("cosign reads %d signatures by a unknown", n)
			}
			if n, err := cosignBundles(t, repo, subject, unknown); err == nil {
				t.Errorf("cosign reads %d bundles by a unknown", n)
			}

			verified, rejected, err := Verify(t.Context(), repo, subject, verifierOf(t, map[string]*Key{"hydrator": hydrator, "promoter": promoter}))
			if err != nil || len(verified) != 4 || len(rejected) != 0 {
				t.Errorf("we read %d, rejected %v, %v", len(verified), rejected, err)
			}
			images, rejected, err := VerifyImage(t.Context(), repo, subject, verifierOf(t, map[string]*Key{"promoter": promoter}))
			if err != nil || len(images) != 1 || len(rejected) != 1 {
				t.Errorf("we read %d signatures, rejected %v, %v", len(images), rejected, err)
			}
		})
	}
}

// A signature copied to the tag of another artifact fails in cosign with its claim verifier, and passes without: this
// test fails if the trap goes away.
func TestCosignClaimVerifierTrap(t *testing.T) {
	t.Parallel()
	repo := open(t, registry(t, true)+"/acme/app")
	key := newKey(t)
	signed, copied := push(t, repo, "a"), push(t, repo, "b")
	mustSignImage(t, repo, signed, key, claim("test"))
	desc, _, err := repo.Manifest(t.Context(), signatureForm.tag(signed.Digest))
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag(t.Context(), desc, signatureForm.tag(copied.Digest)); err != nil {
		t.Fatal(err)
	}
	if n, err := cosignSignatures(t, repo, copied, key); err == nil {
		t.Errorf("cosign accepts %d copied signatures", n)
	}
	opts := checkOpts(t, key)
	opts.ClaimVerifier = nil
	if _, _, err := cosign.VerifyImageSignatures(t.Context(), reference(t, repo, copied), opts); err != nil {
		t.Errorf("the trap is gone: %v", err)
	}
	images, rejected, err := VerifyImage(t.Context(), repo, copied, verifierOf(t, map[string]*Key{"hydrator": key}))
	if err != nil || len(images) != 0 || len(rejected) != 1 {
		t.Errorf("we accept %+v, rejected %v, %v", images, rejected, err)
	}
}

// Signatures in an image layout have no server between them and us.
func TestImageLayout(t *testing.T) {
	t.Parallel()
	repo := open(t, "oci-layout:"+filepath.Join(t.TempDir(), "layout"))
	key, subject := newKey(t), push(t, repo, "a")
	publish(t, repo, subject, key, "test")
	v := verifierOf(t, map[string]*Key{"hydrator": key})
	verified, rejected, err := Verify(t.Context(), repo, subject, v)
	if err != nil || len(verified) != 2 || len(rejected) != 0 {
		t.Errorf("verified %d, rejected %v, %v", len(verified), rejected, err)
	}
	if images, _, err := VerifyImage(t.Context(), repo, subject, v); err != nil || len(images) != 1 {
		t.Errorf("%d signatures, %v", len(images), err)
	}
}

func TestVerifyUnsigned(t *testing.T) {
	t.Parallel()
	repo := open(t, registry(t, false)+"/acme/app")
	subject := push(t, repo, "a")
	v := verifierOf(t, map[string]*Key{"hydrator": newKey(t)})
	if verified, rejected, err := Verify(t.Context(), repo, subject, v); err != nil || len(verified)+len(rejected) != 0 {
		t.Errorf("bundles: %v, %v, %v", verified, rejected, err)
	}
	if images, rejected, err := VerifyImage(t.Context(), repo, subject, v); err != nil || len(images)+len(rejected) != 0 {
		t.Errorf("signatures: %v, %v, %v", images, rejected, err)
	}
}

func reference(t *testing.T, repo *oci.Repository, desc ocispec.Descriptor) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(repo.Name() + "@" + desc.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// checkOpts is what `cosign verify --key --insecure-ignore-tlog` makes.
func checkOpts(t *testing.T, key *Key) *cosign.CheckOpts {
	t.Helper()
	verifier, err := signature.LoadVerifier(key.PublicKey().key, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &cosign.CheckOpts{
		SigVerifier:     verifier,
		IgnoreTlog:      true,
		Offline:         true,
		ClaimVerifier:   cosign.SimpleClaimVerifier,
		TrustedMaterial: &root.BaseTrustedMaterial{},
		Annotations:     map[string]any{"stage": "test"},
	}
}

func cosignSignatures(t *testing.T, repo *oci.Repository, subject ocispec.Descriptor, key *Key) (int, error) {
	t.Helper()
	sigs, _, err := cosign.VerifyImageSignatures(t.Context(), reference(t, repo, subject), checkOpts(t, key))
	return len(sigs), err
}

func cosignBundles(t *testing.T, repo *oci.Repository, subject ocispec.Descriptor, key *Key) (int, error) {
	t.Helper()
	opts := checkOpts(t, key)
	opts.NewBundleFormat = true
	atts, _, err := cosign.VerifyImageAttestations(t.Context(), reference(t, repo, subject), opts)
	return len(atts), err
}

package sign

import (
	"encoding/json"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/oci"
)

// attachEnvelopes writes layers as cosign writes its older attestations.
func attachEnvelopes(t *testing.T, store *memory, subject ocispec.Descriptor, layers ...oci.Blob) {
	t.Helper()
	var manifest ocispec.Manifest
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, l.Descriptor())
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.Replace(subject.Digest.String(), ":", "-", 1) + ".att"
	if _, err := store.PushTagged(t.Context(), tag, ocispec.MediaTypeImageManifest, raw, layers...); err != nil {
		t.Fatal(err)
	}
}

// envelope is a statement in a signed envelope.
func envelope(t *testing.T, key *Key, s Statement) oci.Blob {
	t.Helper()
	payload, err := s.payload()
	if err != nil {
		t.Fatal(err)
	}
	signed, err := key.SignStatement(t.Context(), payload)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Envelope json.RawMessage `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(signed, &b); err != nil {
		t.Fatal(err)
	}
	return oci.Blob{MediaType: attestationForm.mediaType, Data: b.Envelope}
}

func TestFindEnvelopes(t *testing.T) {
	t.Parallel()
	key, unknown := newKey(t), newKey(t)
	about := func(name string) Statement {
		return Statement{Subject: Subject{Digest: artifact(name).Digest}, PredicateType: "https://acme.dev/t/v1", Predicate: json.RawMessage(`{"ok":true}`)}
	}
	store := newMemory()
	if found, err := FindEnvelopes(t.Context(), store, artifact("a")); err != nil || found != nil {
		t.Errorf("of nothing: %v, %v", found, err)
	}
	good := envelope(t, key, about("a"))
	forged := oci.Blob{MediaType: attestationForm.mediaType, Data: []byte(strings.Replace(string(good.Data), `"payload":"ey`, `"payload":"eyA`, 1))}
	attachEnvelopes(t, store, artifact("a"), good,
		envelope(t, unknown, about("a")), envelope(t, key, about("b")), forged,
		oci.Blob{MediaType: attestationForm.mediaType, Data: []byte(`]`)}, oci.Blob{MediaType: attestationForm.mediaType, Data: []byte(`{}`)},
		oci.Blob{MediaType: "text/plain", Data: []byte(`{}`)})
	bundles, err := FindEnvelopes(t.Context(), store, artifact("a"))
	if err != nil || len(bundles) != 7 {
		t.Fatalf("%d, %v", len(bundles), err)
	}
	verifier, err := NewVerifier(Identity{Name: "ci", PublicKey: key.PublicKey()})
	if err != nil {
		t.Fatal(err)
	}
	verified, rejected := verifier.Verify(artifact("a").Digest, bundles)
	if len(verified) != 1 || len(rejected) != 6 {
		t.Fatalf("%d verified, rejected %+v", len(verified), rejected)
	}
	if v := verified[0]; v.Identity() != "ci" || v.PredicateType() != "https://acme.dev/t/v1" || v.Bundle().Referrer != good.Descriptor().Digest {
		t.Errorf("%+v", v)
	}
	if !strings.Contains(rejected[1].Reason, "not about "+artifact("a").Digest.String()) && !strings.Contains(rejected[1].Reason, "ci signed it, but") {
		t.Errorf("copied from another digest: %s", rejected[1].Reason)
	}
}

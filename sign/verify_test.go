package sign

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestAttestAndVerify(t *testing.T) {
	t.Parallel()
	store, subject := newMemory(), artifact("a")
	hydrator, promoter, unknown := newKey(t), newKey(t), newKey(t)
	prov, err := NewProvenance(subject.Digest, Provenance{Claim: claim("test")})
	if err != nil {
		t.Fatal(err)
	}
	mustAttest(t, store, subject, hydrator, prov)
	signed := mustAttest(t, store, subject, hydrator, NewSignature(subject.Digest, claim("test")))
	mustAttest(t, store, subject, promoter, NewSignature(subject.Digest, claim("test")))
	mustAttest(t, store, subject, unknown, NewSignature(subject.Digest, claim("production")))

	if got := signed.Annotations; got["dev.sigstore.bundle.predicateType"] != PredicateSignature || got["dev.sigstore.bundle.content"] != "dsse-envelope" {
		t.Errorf("annotations of the referrer: %v", got)
	}
	v := verifierOf(t, map[string]*Key{"hydrator": hydrator, "promoter": promoter})
	verified, rejected, err := Verify(t.Context(), store, subject, v)
	if err != nil {
		t.Fatal(err)
	}
	if len(verified) != 3 || len(rejected) != 1 {
		t.Fatalf("%d verified, rejected %v", len(verified), rejected)
	}
	if !strings.Contains(rejected[0].Reason, "not signed by") {
		t.Errorf("reason %q", rejected[0].Reason)
	}
	if verified[0].PredicateType() != PredicateProvenance || verified[0].Identity() != "hydrator" {
		t.Errorf("first is %s by %s", verified[0].PredicateType(), verified[0].Identity())
	}
	if p, err := verified[0].Provenance(); err != nil || p.Claim != claim("test") {
		t.Errorf("provenance %+v, %v", p, err)
	}
	s := verified[1]
	if s.PredicateType() != PredicateSignature || string(s.Predicate()) != "{}" || s.Claim() != claim("test") ||
		s.SubjectName() != claim("test").Repository || s.Digest() != subject.Digest || s.Bundle().Referrer != signed.Digest ||
		s.KeyFingerprint() != hydrator.PublicKey().Fingerprint() || s.Annotations()["stage"] != "test" {
		t.Errorf("signature: %+v", s)
	}
	if verified[2].Identity() != "promoter" {
		t.Errorf("third is by %s", verified[2].Identity())
	}

	// What a caller does with a result cannot change it.
	s.Annotations()["stage"] = "production"
	s.Predicate()[0] = 'x'
	if s.Claim().Stage != "test" || string(s.Predicate()) != "{}" {
		t.Error("a verified statement was changed through its accessors")
	}
}

// strange is a signer that changes what it signs and what it puts into the bundle.
type strange struct {
	*Key
	statement func([]byte) []byte      // what is signed instead
	bundle    func(map[string]any) any // what is attached instead
}

func (s strange) SignStatement(ctx context.Context, statement []byte) ([]byte, error) {
	if s.statement != nil {
		statement = s.statement(statement)
	}
	raw, err := s.Key.SignStatement(ctx, statement)
	if err != nil || s.bundle == nil {
		return raw, err
	}
	var b map[string]any
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	return json.Marshal(s.bundle(b))
}

func dig(v any, path ...string) map[string]any {
	for _, p := range path {
		v = v.(map[string]any)[p]
	}
	return v.(map[string]any)
}

func replace(from, to string) func([]byte) []byte {
	return func(b []byte) []byte { return []byte(strings.Replace(string(b), from, to, 1)) }
}

// Everything here is written by somebody who may write to the registry, and some of it is even signed by a trusted
// key. The reasons are what people read.
func TestVerifyRejects(t *testing.T) {
	t.Parallel()
	subject, other := artifact("a"), artifact("b")
	key := newKey(t)
	for name, test := range map[string]struct {
		signer Signer
		want   string
	}{
		"another digest": {
			strange{Key: key, statement: replace(subject.Digest.Encoded(), other.Digest.Encoded())},
			"hydrator signed it, but: statement is not about",
		},
		"no subject": {
			strange{Key: key, statement: func([]byte) []byte {
				return []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[]}`)
			}},
			"hydrator signed it, but: statement is not about",
		},
		"not a statement": {strange{Key: key, statement: replace(statementType, "https://example.com/Other")}, "its type is"},
		"no JSON":         {strange{Key: key, statement: func([]byte) []byte { return []byte("hello") }}, "not signed by hydrator"},
		"wrong key":       {newKey(t), "not signed by hydrator"},
		"wrong key, right hint": {
			strange{Key: newKey(t), bundle: func(b map[string]any) any {
				dig(b, "verificationMaterial", "publicKey")["hint"] = key.PublicKey().hint()
				return b
			}}, "not signed by hydrator",
		},
		"tampered payload": {
			strange{Key: key, bundle: func(b map[string]any) any {
				env := dig(b, "dsseEnvelope")
				payload, _ := base64.StdEncoding.DecodeString(env["payload"].(string))
				env["payload"] = replace(`"stage":"test"`, `"stage":"production"`)(payload)
				return b
			}}, "not signed by hydrator",
		},
		"other payload type": {
			strange{Key: key, bundle: func(b map[string]any) any {
				dig(b, "dsseEnvelope")["payloadType"] = "text/plain"
				return b
			}}, "not signed by hydrator",
		},
		"two signatures": {
			strange{Key: key, bundle: func(b map[string]any) any {
				env := dig(b, "dsseEnvelope")
				sigs := env["signatures"].([]any)
				env["signatures"] = append(sigs, sigs[0])
				return b
			}}, "not signed by hydrator",
		},
		"no signature": {
			strange{Key: key, bundle: func(b map[string]any) any {
				dig(b, "dsseEnvelope")["signatures"] = []any{}
				return b
			}}, "not signed by hydrator",
		},
		"older bundle": {
			strange{Key: key, bundle: func(b map[string]any) any {
				b["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2"
				return b
			}}, "the oldest that is read",
		},
		"newer bundle": {
			strange{Key: key, bundle: func(b map[string]any) any {
				b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.9+json"
				return b
			}}, "not a Sigstore bundle",
		},
		"signature of bytes": {
			strange{Key: key, bundle: func(b map[string]any) any {
				delete(b, "dsseEnvelope")
				b["messageSignature"] = map[string]any{"signature": "AAAA"}
				return b
			}}, "holds no statement",
		},
		"certificate": {
			strange{Key: key, bundle: func(b map[string]any) any {
				b["verificationMaterial"] = map[string]any{"certificate": map[string]any{"rawBytes": "AAAA"}}
				return b
			}}, "malformed certificate",
		},
		"no material": {strange{Key: key, bundle: func(b map[string]any) any { delete(b, "verificationMaterial"); return b }}, "not a Sigstore bundle"},
		"an array":    {strange{Key: key, bundle: func(map[string]any) any { return []int{1} }}, "not a Sigstore bundle"},
		"too large":   {strange{Key: key, bundle: func(map[string]any) any { return strings.Repeat("x", MaxBundleSize) }}, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			mustAttest(t, store, subject, test.signer, NewSignature(subject.Digest, claim("test")))
			// A good statement by somebody else beside it must be found all the same.
			second := newKey(t)
			mustAttest(t, store, subject, second, NewSignature(subject.Digest, claim("test")))

			verified, rejected, err := Verify(t.Context(), store, subject, verifierOf(t, map[string]*Key{"hydrator": key}))
			if err != nil {
				t.Fatal(err)
			}
			if len(verified) != 0 || len(rejected) != 2 {
				t.Fatalf("verified %+v, rejected %v", verified, rejected)
			}
			if !strings.Contains(rejected[0].Reason, test.want) {
				t.Errorf("reason %q, want %q", rejected[0].Reason, test.want)
			}
			verified, _, err = Verify(t.Context(), store, subject, verifierOf(t, map[string]*Key{"hydrator": key, "second": second}))
			if err != nil || len(verified) != 1 || verified[0].Identity() != "second" {
				t.Errorf("beside it: %+v, %v", verified, err)
			}
		})
	}
}

// A referrer that was copied whole to another artifact still speaks of the first.
func TestVerifyCopiedBundle(t *testing.T) {
	t.Parallel()
	store, from, to := newMemory(), artifact("a"), artifact("b")
	key := newKey(t)
	desc := mustAttest(t, store, from, key, NewSignature(from.Digest, claim("test")))
	store.referrers[to.Digest] = []ocispec.Descriptor{desc}
	verified, rejected, err := Verify(t.Context(), store, to, verifierOf(t, map[string]*Key{"hydrator": key}))
	if err != nil || len(verified) != 0 || len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "statement is not about") {
		t.Errorf("verified %v, rejected %v, %v", verified, rejected, err)
	}
}

// Lists of referrers as registries and other tools write them.
func TestFindOddReferrers(t *testing.T) {
	t.Parallel()
	key, subject := newKey(t), artifact("a")
	manifest := func(m *memory, artifactType string, layers ...ocispec.Descriptor) ocispec.Descriptor {
		raw, err := json.Marshal(ocispec.Manifest{Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		return ocispec.Descriptor{Digest: m.put(raw), ArtifactType: artifactType}
	}
	for name, test := range map[string]struct {
		change             func(*memory)
		verified, rejected int
		want               string
	}{
		"no artifact type": {func(m *memory) { m.referrers[subject.Digest][0].ArtifactType = "" }, 1, 0, ""},
		"type of the config": {
			func(m *memory) { m.referrers[subject.Digest][0].ArtifactType = ocispec.MediaTypeEmptyJSON }, 1, 0, "",
		},
		"another kind beside": {func(m *memory) {
			m.referrers[subject.Digest] = append(m.referrers[subject.Digest], manifest(m, "application/spdx+json"), manifest(m, ""))
		}, 1, 0, ""},
		"manifest gone": {func(m *memory) { delete(m.blobs, m.referrers[subject.Digest][0].Digest) }, 0, 1, "its manifest is gone"},
		"bundle gone": {func(m *memory) {
			m.referrers[subject.Digest][0] = manifest(m, BundleMediaType, ocispec.Descriptor{MediaType: BundleMediaType, Digest: artifact("gone").Digest})
		}, 0, 1, "its bundle is gone"},
		"bad digest": {func(m *memory) {
			m.referrers[subject.Digest][0] = manifest(m, BundleMediaType, ocispec.Descriptor{MediaType: BundleMediaType, Digest: "sha256:../../x"})
		}, 0, 1, "bad descriptor"},
		"huge": {func(m *memory) {
			m.referrers[subject.Digest][0] = manifest(m, BundleMediaType, ocispec.Descriptor{MediaType: BundleMediaType, Digest: artifact("x").Digest, Size: 1 << 40})
		}, 0, 1, "at most"},
		"two layers": {func(m *memory) {
			l := ocispec.Descriptor{MediaType: BundleMediaType}
			m.referrers[subject.Digest][0] = manifest(m, BundleMediaType, l, l)
		}, 0, 1, "exactly one layer"},
		"not a manifest": {func(m *memory) {
			m.referrers[subject.Digest][0] = ocispec.Descriptor{Digest: m.put([]byte("hello")), ArtifactType: BundleMediaType}
		}, 0, 1, "cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := newMemory()
			mustAttest(t, store, subject, key, NewSignature(subject.Digest, claim("test")))
			test.change(store)
			verified, rejected, err := Verify(t.Context(), store, subject, verifierOf(t, map[string]*Key{"hydrator": key}))
			if err != nil {
				t.Fatal(err)
			}
			if len(verified) != test.verified || len(rejected) != test.rejected {
				t.Fatalf("verified %+v, rejected %v", verified, rejected)
			}
			if test.want != "" && !strings.Contains(rejected[0].Reason, test.want) {
				t.Errorf("reason %q, want %q", rejected[0].Reason, test.want)
			}
		})
	}
}

func TestBundleLimit(t *testing.T) {
	t.Parallel()
	store, subject, key, unknown := newMemory(), artifact("a"), newKey(t), newKey(t)
	v := verifierOf(t, map[string]*Key{"hydrator": key})
	// Junk, and bundles of others that name other keys, do not hide what counts.
	junk := func(n int, annotations map[string]string) {
		list := make([]ocispec.Descriptor, n)
		for i := range list {
			list[i] = ocispec.Descriptor{
				MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(annotations, i)), ArtifactType: BundleMediaType, Annotations: annotations,
			}
		}
		store.referrers[subject.Digest] = append(list, store.referrers[subject.Digest]...)
	}
	const own = 30
	for range own {
		mustAttest(t, store, subject, key, NewSignature(subject.Digest, claim("test")))
	}
	junk(6000, nil)
	junk(6000, map[string]string{AnnotationPredicateType: PredicateSignature, annotationKey: unknown.PublicKey().hint()})
	verified, rejected, err := Verify(t.Context(), store, subject, v)
	if err != nil || len(verified) != own {
		t.Errorf("%d verified of %d, %v", len(verified), own, err)
	}
	if reason := rejected[len(rejected)-1].Reason; len(rejected) != MaxBundles-own+1 || !strings.Contains(reason, "11830 more") {
		t.Errorf("%d rejected, the last of them: %s", len(rejected), reason)
	}
	// Other programs name no key.
	program := newKey(t)
	mustAttest(t, store, subject, program, NewSignature(subject.Digest, claim("test")))
	list := store.referrers[subject.Digest]
	delete(list[len(list)-1].Annotations, annotationKey)
	if verified, _, err := Verify(t.Context(), store, subject, verifierOf(t, map[string]*Key{"cosign": program})); err != nil || len(verified) != 1 {
		t.Errorf("%d verified of another program, %v", len(verified), err)
	}
}

func TestRegistryFailureIsNoVerdict(t *testing.T) {
	t.Parallel()
	store, subject, key := newMemory(), artifact("a"), newKey(t)
	mustAttest(t, store, subject, key, NewSignature(subject.Digest, claim("test")))
	if err := signImage(t.Context(), store, subject, key, claim("test")); err != nil {
		t.Fatal(err)
	}
	down := errors.New("registry down")
	store.err = down
	v := verifierOf(t, map[string]*Key{"hydrator": key})
	if _, _, err := Verify(t.Context(), store, subject, v); !errors.Is(err, down) {
		t.Errorf("Verify: %v", err)
	}
	if _, _, err := VerifyImage(t.Context(), store, subject, v); !errors.Is(err, down) {
		t.Errorf("VerifyImage: %v", err)
	}
	if err := signImage(t.Context(), store, subject, key, claim("test")); !errors.Is(err, down) {
		t.Errorf("SignImage: %v", err)
	}
	// The list answers, the rest does not.
	broken := brokenManifests{newMemory(), down}
	mustAttest(t, broken, subject, key, NewSignature(subject.Digest, claim("test")))
	if _, _, err := Verify(t.Context(), broken, subject, v); !errors.Is(err, down) {
		t.Errorf("Verify with broken manifests: %v", err)
	}
}

type brokenManifests struct {
	*memory
	err error
}

func (b brokenManifests) Manifest(context.Context, string) (ocispec.Descriptor, []byte, error) {
	return ocispec.Descriptor{}, nil, b.err
}

func TestAttestRefusesAnotherSubject(t *testing.T) {
	t.Parallel()
	store := newMemory()
	_, err := Attest(t.Context(), store, artifact("a"), newKey(t), NewSignature(artifact("b").Digest, claim("test")))
	if err == nil || len(store.referrers) != 0 {
		t.Errorf("attached a statement about another artifact: %v", err)
	}
}

func TestNewVerifierRefuses(t *testing.T) {
	t.Parallel()
	a := newKey(t).PublicKey()
	for want, ids := range map[string][]Identity{
		"no trusted identity": nil,
		"has no public key":   {{Name: "a"}},
		"the same key":        {{Name: "a", PublicKey: a}, {Name: "b", PublicKey: a}},
	} {
		if _, err := NewVerifier(ids...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestSeveralKeys: what somebody signed with the key that he had before counts under the same name.
func TestSeveralKeys(t *testing.T) {
	t.Parallel()
	before, now := newKey(t), newKey(t)
	text := append(now.PublicKey().PEM(), before.PublicKey().PEM()...)
	keys, err := ParsePublicKeys(append([]byte("# promoter\n"), text...))
	if err != nil || len(keys) != 2 || keys[0].Fingerprint() != now.PublicKey().Fingerprint() {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if _, err := ParsePublicKeys(append(text, "trailing"...)); err == nil {
		t.Error("what follows the keys was dropped")
	}
	verifier, err := NewVerifier(Identity{Name: "promoter", PublicKey: keys[0]}, Identity{Name: "promoter", PublicKey: keys[1], Former: true})
	if err != nil {
		t.Fatal(err)
	}
	store := newMemory()
	for _, key := range []*Key{before, now} {
		if _, err := Attest(t.Context(), store, artifact("a"), key, NewSignature(artifact("a").Digest, claim("test"))); err != nil {
			t.Fatal(err)
		}
	}
	verified, _, err := Verify(t.Context(), store, artifact("a"), verifier)
	if err != nil || len(verified) != 2 || verified[0].Identity() != "promoter" || verified[1].Identity() != "promoter" || !verified[0].Former() || verified[1].Former() {
		t.Errorf("verified %v, %v", verified, err)
	}
}

func TestTrusts(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	before := newKey(t)
	v, err := NewVerifier(Identity{Name: "a", PublicKey: key.PublicKey()}, Identity{Name: "a", PublicKey: before.PublicKey(), Former: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key            *Key
		trusts, former bool
	}{"current": {key, true, false}, "former": {before, true, true}, "unknown": {newKey(t), false, false}} {
		if trusts, former := v.Trusts(c.key.Identity()); trusts != c.trusts || former != c.former {
			t.Errorf("%s: trusted %v, former %v", name, trusts, former)
		}
	}
}

func TestByHint(t *testing.T) {
	t.Parallel()
	v := &Verifier{trusted: []trusted{{Identity: Identity{Name: "a"}, hint: "a"}, {Identity: Identity{Name: "b"}, hint: "b"}, {Identity: Identity{Name: "c"}, hint: "c"}}}
	for hint, want := range map[string]string{"a": "abc", "b": "bac", "c": "cab", "": "abc"} {
		var got string
		for _, tr := range v.byHint(hint) {
			got += tr.Name
		}
		if got != want {
			t.Errorf("hint %q: order %s, want %s", hint, got, want)
		}
	}
	if v.names() != "a or b or c" {
		t.Error("the verifier itself was reordered")
	}
}

// A bundle's bytes may come from anybody: none may crash the reader, and none that differs from what was signed may pass.
func FuzzVerifyBundle(f *testing.F) {
	subject := artifact("a")
	// The fuzzer's workers are processes: a random key would verify the seeds in none of them.
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	key, err := OpenKey(f.Context(), writeKey(f, pkcs8(f, private)), nil)
	if err != nil {
		f.Fatal(err)
	}
	payload, err := NewSignature(subject.Digest, claim("test")).payload()
	if err != nil {
		f.Fatal(err)
	}
	good, err := key.SignStatement(f.Context(), payload)
	if err != nil {
		f.Fatal(err)
	}
	v := verifierOf(f, map[string]*Key{"hydrator": key})
	f.Add(good)
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{}},"dsseEnvelope":{"signatures":[{}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		verified, rejected := v.Verify(subject.Digest, []Bundle{{JSON: text}})
		if len(verified)+len(rejected) != 1 {
			t.Fatalf("%d verified and %d rejected of one", len(verified), len(rejected))
		}
		if len(verified) == 1 && (verified[0].Claim() != claim("test") || verified[0].PredicateType() != PredicateSignature) {
			t.Errorf("accepted what was not signed: %+v", verified[0])
		}
	})
}

// What a status over 30 stages costs: 30 artifacts with two bundles each, beside reading them.
func BenchmarkVerify30Artifacts(b *testing.B) {
	key := newKey(b)
	var bundles [][]Bundle
	for i := range 30 {
		d := artifact(fmt.Sprint(i)).Digest
		prov, err := NewProvenance(d, provenance())
		if err != nil {
			b.Fatal(err)
		}
		var found []Bundle
		for _, s := range []Statement{prov, NewSignature(d, claim("test"))} {
			payload, err := s.payload()
			if err != nil {
				b.Fatal(err)
			}
			text, err := key.SignStatement(b.Context(), payload)
			if err != nil {
				b.Fatal(err)
			}
			found = append(found, Bundle{JSON: text})
		}
		bundles = append(bundles, found)
	}
	v := verifierOf(b, map[string]*Key{"hydrator": key})
	b.ReportAllocs()
	for b.Loop() {
		for i, found := range bundles {
			if verified, rejected := v.Verify(artifact(fmt.Sprint(i)).Digest, found); len(verified) != 2 {
				b.Fatal(rejected)
			}
		}
	}
}

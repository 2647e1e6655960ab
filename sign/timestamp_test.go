package sign_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/signtest"
)

// again is a signer that returns what was signed before.
type again struct {
	sign.Signer
	bundle []byte
}

func (a again) SignStatement(context.Context, []byte) ([]byte, error) { return a.bundle, nil }

// signed signs by a signer whose statements get timestamps.
func signed(t *testing.T, i *sign.Instance, signer sign.Signer) (sign.Bundle, error) {
	t.Helper()
	stamped, err := i.Stamped(signer, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return sign.Sign(t.Context(), stamped, sign.NewSignature(artifactDigest, claim))
}

// stamps changes the timestamps of a bundle.
func stamps(t *testing.T, bundle []byte, change func([]any) []any) []byte {
	t.Helper()
	var b map[string]any
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	data := b["verificationMaterial"].(map[string]any)["timestampVerificationData"].(map[string]any)
	data["rfc3161Timestamps"] = change(data["rfc3161Timestamps"].([]any))
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// ago returns how long before now a statement was signed, in hours, by what proves that; -1 if nothing does, and -2 if it is not proven.
func ago(t *testing.T, id sign.Identity, bundle []byte) int {
	t.Helper()
	id.Name = "sre"
	verifier, err := sign.NewVerifier(id)
	if err != nil {
		t.Fatal(err)
	}
	found := sign.Bundle{JSON: bundle}
	verified, _ := verifier.Verify(artifactDigest, []sign.Bundle{found})
	if len(verified) != 1 {
		return -2
	}
	at := verified[0].Time()
	if id.PublicKey.Fingerprint() != "" && at != verifier.Timed(artifactDigest, found) {
		t.Errorf("%v, and %v where the key is gone", at, verifier.Timed(artifactDigest, found))
	}
	if at.IsZero() {
		return -1
	}
	return int(time.Since(at.Time).Round(time.Hour).Hours())
}

// TestStamped has keys sign where an authority says when. The earliest timestamp counts, and those of other signatures prove nothing.
func TestStamped(t *testing.T) {
	t.Parallel()
	s, key := signtest.New(t), testworld.Key(t)
	i := instance(t, s, "tsa")
	id := sign.Identity{PublicKey: key.PublicKey(), Instance: i}
	s.Advance(-2 * time.Hour)
	bundle, err := signed(t, i, key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := signed(t, i, key)
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(time.Hour)
	later, err := signed(t, i, again{key, bundle.JSON})
	if err != nil {
		t.Fatal(err)
	}
	only := func(n int) func([]any) []any { return func(all []any) []any { return all[n : n+1] } }
	var foreign []any
	stamps(t, other.JSON, func(all []any) []any { foreign = all; return all })
	reversed := func(all []any) []any { slices.Reverse(all); return all }
	for name, c := range map[string]struct {
		bundle []byte
		id     sign.Identity
		want   int
	}{
		"one":                          {bundle.JSON, id, 2},
		"another one later":            {later.JSON, id, 2},
		"another one before it":        {stamps(t, later.JSON, reversed), id, 2},
		"the later one alone":          {stamps(t, later.JSON, only(1)), id, 1},
		"none":                         {stamps(t, bundle.JSON, func([]any) []any { return []any{} }), id, -1},
		"of another signature":         {stamps(t, bundle.JSON, func([]any) []any { return foreign }), id, -1},
		"of another signature besides": {stamps(t, bundle.JSON, func(all []any) []any { return append(slices.Clone(foreign), all...) }), id, 2},
		"very many":                    {stamps(t, bundle.JSON, func(all []any) []any { return slices.Repeat(all, 100) }), id, -1},
		"of another authority":         {bundle.JSON, sign.Identity{PublicKey: key.PublicKey(), Instance: instance(t, signtest.New(t), "tsa")}, -1},
		"nobody asks":                  {bundle.JSON, sign.Identity{PublicKey: key.PublicKey()}, -1},
		"another key":                  {bundle.JSON, sign.Identity{PublicKey: testworld.Key(t).PublicKey(), Instance: i}, -2},
	} {
		if got := ago(t, c.id, c.bundle); got != c.want {
			t.Errorf("%s: %d hours ago, want %d", name, got, c.want)
		}
	}
}

// TestStampedFailures has an authority that does not answer, one that is not in the trusted root, and instances without one.
func TestStampedFailures(t *testing.T) {
	t.Parallel()
	s, key := signtest.New(t), testworld.Key(t)
	i := instance(t, s, "tsa")
	s.Stop("tsa")
	if _, err := signed(t, i, key); err == nil || !strings.Contains(err.Error(), "timestamp authority "+s.URL) || !strings.Contains(err.Error(), "tsa is stopped") {
		t.Errorf("without the authority: %v", err)
	}
	s.Resume("tsa")
	trusted, _ := files(t, signtest.New(t), "tsa")
	_, config := files(t, s, "tsa")
	foreign, err := sign.NewInstance(trusted, config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed(t, foreign, key); err == nil || !strings.Contains(err.Error(), "is not proven by the trusted root") {
		t.Errorf("by another authority: %v", err)
	}
	for name, i := range map[string]*sign.Instance{"no instance": nil, "no authority": instance(t, s, "log"), "the public one": sign.PublicInstance()} {
		bundle, err := signed(t, i, key)
		if err != nil || strings.Contains(string(bundle.JSON), "rfc3161") {
			t.Errorf("%s: %s, %v", name, bundle.JSON, err)
		}
	}
}

// TestOnlyTimestamps has a trusted root without a certificate authority: it proves the times of what keys sign, and no certificate.
func TestOnlyTimestamps(t *testing.T) {
	t.Parallel()
	s, key := signtest.New(t), testworld.Key(t)
	without := func(text []byte) []byte {
		var all map[string]json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		delete(all, "certificateAuthorities")
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	trusted, config := files(t, s, "tsa")
	i, err := sign.NewInstance(without(trusted), config)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := signed(t, i, key)
	if err != nil || i.Ready() != nil {
		t.Fatal(err, i.Ready())
	}
	if got := ago(t, sign.Identity{PublicKey: key.PublicKey(), Instance: i}, bundle.JSON); got != 0 {
		t.Errorf("%d hours ago", got)
	}
	_, signer := keyless(t, s, "alice@release.example", "tsa")
	certified, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: "alice", Issuer: s.URL, Subject: "alice@release.example", Instance: i})
	if err != nil {
		t.Fatal(err)
	}
	if _, rejected := verifier.Verify(artifactDigest, []sign.Bundle{certified}); len(rejected) != 1 || !strings.Contains(rejected[0].Reason, "it has no certificate authority") {
		t.Errorf("a certificate: %v", rejected)
	}
	trusted, _ = files(t, s)
	if _, err := sign.NewInstance(without(trusted), nil); err == nil {
		t.Error("a trusted root that proves nothing is taken")
	}
}

// TestCertifiedTimes has somebody put a later timestamp before the one of a certified statement, and parts of other statements in the place of
// its own.
func TestCertifiedTimes(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	i, signer := keyless(t, s, "alice@release.example", "tsa")
	bundle, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifactDigest, claim))
	if err != nil {
		t.Fatal(err)
	}
	s.Advance(5 * time.Minute)
	later, err := signed(t, i, again{signer, bundle.JSON})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: "alice", Issuer: s.URL, Subject: "alice@release.example", Instance: i})
	if err != nil {
		t.Fatal(err)
	}
	reversed := stamps(t, later.JSON, func(all []any) []any { slices.Reverse(all); return all })
	verified, rejected := verifier.Verify(artifactDigest, []sign.Bundle{{JSON: reversed}})
	if len(verified) != 1 {
		t.Fatal(rejected)
	}
	if at := verified[0].Time(); time.Since(at.Time) < -time.Minute || at.Since.IsZero() || at.Since.After(at.Add(time.Second)) {
		t.Errorf("signed at %v, not before %v", at, at.Since)
	}
	s.Advance(time.Hour)
	if late, err := signed(t, i, again{signer, stamps(t, bundle.JSON, func([]any) []any { return []any{} })}); err != nil {
		t.Error(err)
	} else if verified, _ := verifier.Verify(artifactDigest, []sign.Bundle{late}); len(verified) > 0 {
		t.Error("a timestamp after the end of the certificate counts")
	}
}

// TestForeignEvidence has bundles with what belongs to others.
func TestForeignEvidence(t *testing.T) {
	t.Parallel()
	s := signtest.New(t)
	i, signer := keyless(t, s, "alice@release.example", "log", "tsa")
	sign2 := func(artifact digest.Digest) map[string]any {
		t.Helper()
		bundle, err := sign.Sign(t.Context(), signer, sign.NewSignature(artifact, claim))
		if err != nil {
			t.Fatal(err)
		}
		var b map[string]any
		if err := json.Unmarshal(bundle.JSON, &b); err != nil {
			t.Fatal(err)
		}
		return b
	}
	verifier, err := sign.NewVerifier(sign.Identity{Name: "alice", Issuer: s.URL, Subject: "alice@release.example", Instance: i})
	if err != nil {
		t.Fatal(err)
	}
	entry := func(b map[string]any) map[string]any {
		return b["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0].(map[string]any)
	}
	material := func(b map[string]any) map[string]any { return b["verificationMaterial"].(map[string]any) }
	for name, c := range map[string]struct {
		change func(mine, other map[string]any)
		proven bool
	}{
		"nothing":                   {func(_, _ map[string]any) {}, true},
		"entry of another artifact": {func(mine, other map[string]any) { material(mine)["tlogEntries"] = material(other)["tlogEntries"] }, false},
		"no entry":                  {func(mine, _ map[string]any) { delete(material(mine), "tlogEntries") }, false},
		"no proof of inclusion":     {func(mine, _ map[string]any) { delete(entry(mine), "inclusionProof") }, false},
		"neither proof nor promise": {func(mine, _ map[string]any) {
			delete(entry(mine), "inclusionProof")
			delete(entry(mine), "inclusionPromise")
		}, false},
		"no promise":               {func(mine, _ map[string]any) { delete(entry(mine), "inclusionPromise") }, true}, // the proof and the timestamp are enough
		"promise of another entry": {func(mine, other map[string]any) { entry(mine)["inclusionPromise"] = entry(other)["inclusionPromise"] }, false},
		"proof of another entry":   {func(mine, other map[string]any) { entry(mine)["inclusionProof"] = entry(other)["inclusionProof"] }, false},
		"timestamp of another one": {func(mine, other map[string]any) {
			material(mine)["timestampVerificationData"] = material(other)["timestampVerificationData"]
		}, true}, // the log says when
		"envelope of another one": {func(mine, other map[string]any) { mine["dsseEnvelope"] = other["dsseEnvelope"] }, false},
		"older form without a proof": {func(mine, _ map[string]any) {
			delete(entry(mine), "inclusionProof")
			mine["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
		}, true}, // the log's promise
	} {
		mine, other := sign2(artifactDigest), sign2(digest.FromString("another"))
		c.change(mine, other)
		text, err := json.Marshal(mine)
		if err != nil {
			t.Fatal(err)
		}
		verified, rejected := verifier.Verify(artifactDigest, []sign.Bundle{{JSON: text}})
		if (len(verified) == 1) != c.proven {
			t.Errorf("%s: %d proven, rejected %v", name, len(verified), rejected)
		}
	}
}

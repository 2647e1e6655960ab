package predicate_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// verified signs a statement about an artifact in a real registry, and proves it.
func verified(t *testing.T, state func(artifact digest.Digest) (sign.Statement, error)) sign.Verified {
	t.Helper()
	repository, a := store(t)
	statement, err := state(a.Descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	key := testworld.Key(t)
	testworld.Attest(t, repository, a.Descriptor, key, statement)
	all, rejected, err := sign.Verify(t.Context(), repository, a.Descriptor, testworld.Verifier(t, "promoter", key))
	if err != nil || len(all) != 1 {
		t.Fatalf("%d verified, %v, %v", len(all), rejected, err)
	}
	return all[0]
}

func example(artifact digest.Digest) predicate.Promotion {
	return predicate.Promotion{
		Claim:  sign.Claim{Pipeline: "web", Stage: "production", Release: "git-2", Repository: "registry.example.com/web"},
		Action: predicate.Promoted, Sequence: 2,
		From:     &predicate.Artifact{Release: "git-1", Digests: oci.Digests{Digest: digest.FromString("from"), Content: digest.FromString("old")}},
		To:       predicate.Artifact{Release: "git-2", Digests: oci.Digests{Digest: artifact, Content: digest.FromString("new")}},
		Previous: digest.FromString("previous"), Parent: strings.Repeat("5", 40), Tree: strings.Repeat("6", 40), Nonce: "random", Beside: predicate.Nothing,
		Policy: predicate.Policy{
			Repository: "https://git.example.com/gitops.git", Ref: "origin@main", Commit: strings.Repeat("3", 40),
			File: "lockage.yaml", Digest: digest.FromString("pipeline"),
		},
		Checks: []predicate.Check{
			{Name: "signature", Result: "pass", Reason: "signed", Evidence: []digest.Digest{digest.FromString("one")}},
			{Name: "approval", Result: "waived", Reason: "fire", Evidence: []digest.Digest{digest.FromString("one"), "no digest"}},
			{Name: "gate:reproduced", Result: "pass", Reason: "equal", Property: "SLSA_BUILD_REPRODUCED"},
			{Name: "gate:reproduced#2", Result: "pass", Reason: "equal", Property: "SLSA_BUILD_REPRODUCED"},
		},
		Reason: "a person's words", Version: "v1",
		Time: time.Date(2026, 4, 1, 12, 0, 0, 999, time.FixedZone("elsewhere", 3600)),
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var want predicate.Promotion
	v := verified(t, func(artifact digest.Digest) (sign.Statement, error) {
		want = example(artifact)
		return want.Statement()
	})
	got, err := predicate.ParsePromotion(v)
	if err != nil {
		t.Fatal(err)
	}
	want.Time = time.Date(2026, 4, 1, 11, 0, 0, 0, time.UTC)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if claim := (sign.Claim{Pipeline: "web", Stage: "production", Release: "git-2", Repository: "registry.example.com/web"}); v.Claim() != claim {
		t.Errorf("claim %+v", v.Claim())
	}
}

// The bytes that are signed: readers of every version rest on names and order, and the repository is in none.
func TestJSON(t *testing.T) {
	t.Parallel()
	artifact, now := digest.FromString("artifact"), time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	claim := sign.Claim{Pipeline: "web", Stage: "production", Release: "git-2", Repository: "registry.example.com/web"}
	statement := func(s sign.Statement, err error) sign.Statement {
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for want, s := range map[string]sign.Statement{
		`{"pipeline":"web","stage":"production","release":"git-2","comment":"good","time":"2026-04-01T12:00:00Z"}`: statement(
			predicate.NewStatement(predicate.Approval{Claim: claim, Comment: "good", Time: now}, artifact)),
		`{"pipeline":"web","stage":"production","release":"git-2","gate":"soak","gateDigest":"sha256:1","reason":"outage","approver":"Ada",` +
			`"expires":"2026-04-01T13:00:00Z","time":"2026-04-01T12:00:00Z"}`: statement(predicate.NewStatement(predicate.Waiver{
			Claim: claim, Gate: "soak", GateDigest: "sha256:1", Reason: "outage", Approver: "Ada", Expires: now.Add(time.Hour), Time: now,
		}, artifact)),
		`{"pipeline":"web","stage":"production","release":"git-2","sources":[{"kind":"Application.argoproj.io","namespace":"argocd",` +
			`"name":"web","revision":"1","status":"Synced"}],"time":"2026-04-01T12:00:00Z"}`: statement(predicate.NewStatement(predicate.Health{
			Claim: claim, Time: now,
			Sources: []predicate.Source{{Kind: "Application.argoproj.io", Namespace: "argocd", Name: "web", Revision: "1", Status: "Synced"}},
		}, artifact)),
		`{"pipeline":"web","stage":"production","repository":"registry.example.com/web","action":"promoted","sequence":1,` +
			`"to":{"release":"git-2","digest":"` + artifact.String() + `","content":"sha256:1"},` +
			`"tree":"6","beside":"sha256:4","nonce":"random","policy":{"ref":"main","commit":"3","file":"lockage.yaml","digest":"sha256:2"},` +
			`"checks":[{"name":"gate:soak","result":"pass","reason":"2h","evidence":["sha256:3"]}],"time":"2026-04-01T12:00:00Z"}`: statement(predicate.Promotion{
			Claim: claim, Action: predicate.Promoted, Sequence: 1, To: predicate.Artifact{Release: "git-2", Digests: oci.Digests{Digest: artifact, Content: "sha256:1"}},
			Tree: "6", Nonce: "random", Beside: "sha256:4",
			Policy: predicate.Policy{Ref: "main", Commit: "3", File: "lockage.yaml", Digest: "sha256:2"},
			Checks: []predicate.Check{{Name: "gate:soak", Result: "pass", Reason: "2h", Evidence: []digest.Digest{"sha256:3"}}},
			Time:   now,
		}.Statement()),
	} {
		if string(s.Predicate) != want {
			t.Errorf("%s:\n%s\nwant\n%s", s.PredicateType, s.Predicate, want)
		}
		if subject := sign.NewSignature(artifact, claim).Subject; !reflect.DeepEqual(s.Subject, subject) {
			t.Errorf("%s: subject %+v", s.PredicateType, s.Subject)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*predicate.Promotion)
		words  string
	}{
		"another artifact":       {func(r *predicate.Promotion) { r.To.Digest = digest.FromString("other") }, "and is about"},
		"no number":              {func(r *predicate.Promotion) { r.Sequence = 0 }, "number 0"},
		"a second without first": {func(r *predicate.Promotion) { r.Previous = "" }, "number 2"},
		"a first with another":   {func(r *predicate.Promotion) { r.Sequence = 1 }, "number 1"},
		"no digest":              {func(r *predicate.Promotion) { r.Previous = "latest" }, "latest"},
		"no time":                {func(r *predicate.Promotion) { r.Time = time.Time{} }, "lacks its time"},
		"no tree":                {func(r *predicate.Promotion) { r.Tree = "" }, "lacks its time, tree"},
		"no random number":       {func(r *predicate.Promotion) { r.Nonce = "" }, "nonce"},
		"nothing beside it":      {func(r *predicate.Promotion) { r.Beside = "" }, "beside it"},
		"carried from no place":  {func(r *predicate.Promotion) { r.Action = predicate.Carried }, "belongs to another"},
		"promoted from a place":  {func(r *predicate.Promotion) { r.Carried = &predicate.Origin{Commit: r.Tree} }, "belongs to another"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := verified(t, func(artifact digest.Digest) (sign.Statement, error) {
				r := example(artifact)
				test.change(&r)
				s, err := r.Statement()
				s.Subject.Digest = artifact
				return s, err
			})
			if _, err := predicate.ParsePromotion(v); err == nil || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v", err)
			}
		})
	}
	v := verified(t, func(artifact digest.Digest) (sign.Statement, error) {
		return sign.NewSignature(artifact, sign.Claim{Repository: "r"}), nil
	})
	if _, err := predicate.ParsePromotion(v); err == nil || !strings.Contains(err.Error(), sign.PredicateSignature) {
		t.Errorf("another statement: %v", err)
	}
}

// The fields that readers of SLSA's verification summaries rest on.
func TestSummary(t *testing.T) {
	t.Parallel()
	artifact := digest.FromString("artifact")
	s, err := example(artifact).Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.PredicateType != "https://slsa.dev/verification_summary/v1" || s.Subject.Digest != artifact {
		t.Errorf("statement %+v", s)
	}
	var got, want any
	if err := json.Unmarshal(s.Predicate, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"verifier": {"id": "https://lockage.dev/promoter/v1", "version": {"lockage": "v1"}},
		"timeVerified": "2026-04-01T11:00:00Z",
		"resourceUri": "oci://registry.example.com/web@`+artifact.String()+`",
		"policy": {
			"uri": "git+https://git.example.com/gitops.git@`+strings.Repeat("3", 40)+`#lockage.yaml",
			"digest": {"gitCommit": "`+strings.Repeat("3", 40)+`", "sha256": "`+digest.FromString("pipeline").Encoded()+`"}
		},
		"inputAttestations": [{"digest": {"sha256": "`+digest.FromString("one").Encoded()+`"}}],
		"verificationResult": "PASSED", "verifiedLevels": ["SLSA_BUILD_REPRODUCED"], "slsaVersion": "1.2"
	}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("predicate %s", s.Predicate)
	}
}

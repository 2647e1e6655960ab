package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

const (
	release     = "git-" + sourceCommit
	older       = "git-9999999999999999999999999999999999999999"
	candidate   = digest.Digest("sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc")
	inTest      = digest.Digest("sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd")
	otherDigest = digest.Digest("sha256:eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee")
	repository  = "ghcr.io/acme/app-manifests"
	uiTests     = "https://acme.dev/ui-tests/v1"
)

// now is a Tuesday.
var now = time.Date(2026, 3, 24, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// gateScene signs statements with real keys and has them verified, as promotion does.
type gateScene struct {
	t    *testing.T
	keys map[string]sign.Signer
	f    policy.Facts
}

func newGateScene(t *testing.T) *gateScene {
	t.Helper()
	d := &gateScene{t: t, keys: make(map[string]sign.Signer)}
	d.f = policy.Facts{
		Now:        now,
		Identities: make(map[string]sign.Identity),
		Pipeline:   "app", Stage: "production", Release: release,
		Commit:   sourceCommit,
		Artifact: policy.Subject{Repository: repository, Digest: candidate},
		Images:   []policy.LockedImage{{Name: policy.ApplicationImage, Subject: policy.Subject{Repository: "ghcr.io/acme/app", Digest: image}}},
		Stages:   map[string]policy.Subject{"test": {Repository: repository, Digest: inTest}},
		Live:     make(map[string][]policy.Span),
		Health:   make(map[string][]sign.Verified),
	}
	for _, name := range []string{"ci", "sre", "manager", "promoter", "test/promoter", "stranger"} {
		d.keys[name] = testworld.Key(t)
		d.f.Identities[name] = d.keys[name].Identity()
	}
	d.keys["sre-again"] = d.keys["sre"] // one person, two names
	d.f.Identities["sre-again"] = d.f.Identities["sre"]
	return d
}

// verified signs a statement about a digest and has it verified.
func (d *gateScene) verified(who string, about digest.Digest, predicateType string, predicate any, annotations map[string]string) sign.Verified {
	d.t.Helper()
	payload, err := json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"name": repository, "digest": map[string]string{"sha256": about.Encoded()}, "annotations": annotations}},
		"predicateType": predicateType,
		"predicate":     predicate,
	})
	if err != nil {
		d.t.Fatal(err)
	}
	bundle, err := d.keys[who].SignStatement(d.t.Context(), payload)
	if err != nil {
		d.t.Fatal(err)
	}
	id := d.keys[who].Identity()
	id.Name = who
	verifier, err := sign.NewVerifier(id)
	if err != nil {
		d.t.Fatal(err)
	}
	found, rejected := verifier.Verify(about, []sign.Bundle{{Referrer: digest.FromBytes(bundle), JSON: bundle}})
	if len(found) != 1 {
		d.t.Fatalf("not verified: %v", rejected)
	}
	return found[0]
}

// attest puts a statement on a subject.
func (d *gateScene) attest(s *policy.Subject, who, predicateType string, predicate any) {
	d.t.Helper()
	s.Statements = append(s.Statements, d.verified(who, s.Digest, predicateType, predicate, nil))
}

func (d *gateScene) approval() predicate.Approval {
	return predicate.Approval{Claim: sign.Claim{Pipeline: "app", Stage: "production", Release: release}, Time: ago(time.Hour)}
}

// claim is what the annotations of a statement about the candidate say.
func (d *gateScene) claim() map[string]string {
	return map[string]string{"pipeline": "app", "stage": "production", "release": release, "repository": repository}
}

func (d *gateScene) approve(who string, a predicate.Approval) {
	d.t.Helper()
	d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified(who, candidate, predicate.TypeApproval, a, d.claim()))
}

func (d *gateScene) waiver(gate string, declared pipeline.Gate) predicate.Waiver {
	return predicate.Waiver{
		Claim: sign.Claim{Pipeline: "app", Stage: "production", Release: release}, Gate: gate, GateDigest: policy.GateDigest(declared),
		Reason: "the shop is down", Approver: "Ada", Time: ago(time.Hour), Expires: now.Add(time.Hour),
	}
}

func (d *gateScene) waive(who string, w predicate.Waiver) {
	d.t.Helper()
	d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified(who, candidate, predicate.TypeWaiver, w, d.claim()))
}

// parse reads a list of gates as a pipeline file has it. Files are those that they name.
func parse(t testing.TB, text string, files fstest.MapFS) ([]pipeline.Gate, error) {
	t.Helper()
	doc, problems := strictyaml.Parse("gates.yaml", []byte("gates: "+text))
	if doc == nil {
		return nil, problems
	}
	gates, _, err := pipeline.ParseGates(policy.Kinds(), doc, "production", lock.Lock{ReleaseID: release, GitCommit: sourceCommit}, files)
	return gates, err
}

// gate makes a gate of its declaration.
func gate(t testing.TB, kind string, declared any) pipeline.Gate {
	t.Helper()
	text, err := json.Marshal([]any{map[string]any{kind: declared}})
	if err != nil {
		t.Fatal(err)
	}
	gates, err := parse(t, string(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return gates[0]
}

// judge has one gate judged.
func (d *gateScene) judge(g pipeline.Gate) policy.GateResult {
	d.t.Helper()
	results := policy.Gates([]pipeline.Gate{g}, pipeline.Waivers{}, d.f)
	if len(results) != 1 {
		d.t.Fatalf("%d results for one gate", len(results))
	}
	return results[0]
}

// expect compares a result, and asks that its reason says something.
func expect(t *testing.T, r policy.GateResult, want policy.Result, reason ...string) {
	t.Helper()
	if r.Result != want {
		t.Errorf("%s: %s, want %s: %s", r.Gate, r.Result, want, r.Reason)
	}
	for _, part := range reason {
		if !strings.Contains(r.Reason, part) {
			t.Errorf("%s: the reason does not say %q: %s", r.Gate, part, r.Reason)
		}
	}
}

func number(n int) *int { return &n }

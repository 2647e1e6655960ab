package policy_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

func TestAttestation(t *testing.T) {
	t.Parallel()
	passed := map[string]any{"result": "PASSED", "time": "2026-03-23T12:00:00Z", "count": 3}
	base := policy.Attestation{Type: uiTests, Subject: "image", By: []string{"ci"}}
	with := func(change func(*policy.Attestation)) policy.Attestation {
		g := base
		change(&g)
		return g
	}
	where := func(expression string) policy.Attestation {
		return with(func(g *policy.Attestation) { g.Where = expression })
	}
	maxAge := with(func(g *policy.Attestation) { g.MaxAge = "72h" })
	for name, c := range map[string]struct {
		gate    policy.Attestation
		arrange func(d *gateScene)
		want    policy.Result
		reason  string
	}{
		"there":                {base, func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Pass, "by ci (key "},
		"not there":            {base, func(*gateScene) {}, policy.Fail, "none: it takes 1 statement of type https://acme.dev/ui-tests/v1 on the image sha256:aaaa"},
		"by somebody else":     {base, func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "sre", uiTests, passed) }, policy.Fail, "one by sre (key "},
		"of another type":      {base, func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests+"2", passed) }, policy.Fail, "none: "},
		"on the artifact only": {base, func(d *gateScene) { d.attest(&d.f.Artifact, "ci", uiTests, passed) }, policy.Fail, "none: "},
		"on the wrong digest": {base, func(d *gateScene) {
			d.f.Images[0].Statements = append(d.f.Images[0].Statements, d.verified("ci", otherDigest, uiTests, passed, nil))
		}, policy.Fail, "does not count: it is about sha256:eeee"},
		"rejected": {base, func(d *gateScene) { d.f.Images[0].Rejected = []sign.Rejected{{Reason: "not signed\x1b[2J by ci"}} }, policy.Fail, `not counted: not signed\u001b[2J by ci`},
		"no such identity": {with(func(g *policy.Attestation) { g.By = []string{"nobody"} }),
			func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Fail, "no key of nobody is known"},
		"on the default subject": {with(func(g *policy.Attestation) { g.Subject = "" }), func(d *gateScene) { d.attest(&d.f.Artifact, "ci", uiTests, passed) }, policy.Pass, "on the artifact by ci"},
		"on another stage's artifact": {with(func(g *policy.Attestation) { g.Subject = "stage:test" }), func(d *gateScene) {
			s := d.f.Stages["test"]
			d.attest(&s, "ci", uiTests, passed)
			d.f.Stages["test"] = s
		}, policy.Pass, "on the stage:test by ci"},
		"by another stage's promoter": {with(func(g *policy.Attestation) { g.Subject, g.By = "stage:test", []string{"promoter"} }), func(d *gateScene) {
			s := d.f.Stages["test"]
			d.attest(&s, "test/promoter", uiTests, passed)
			d.f.Stages["test"] = s
		}, policy.Pass, "by promoter (key"},
		"no artifact there": {with(func(g *policy.Attestation) { g.Subject = "stage:qa" }), func(*gateScene) {}, policy.Fail, "has no stage:qa"},

		"negative, and nobody asks": {base, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"result": "FAILED"})
		}, policy.Pass, ""},
		"negative": {where(`predicate.result == "PASSED"`), func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"result": "FAILED"})
		}, policy.Fail, "where is false of it"},
		"failed verification by the right key": {policy.Attestation{Type: "https://slsa.dev/verification_summary/v1", By: []string{"promoter"}, Where: `predicate.verificationResult == "PASSED"`},
			func(d *gateScene) {
				d.attest(&d.f.Artifact, "promoter", "https://slsa.dev/verification_summary/v1", map[string]any{"verificationResult": "FAILED"})
			}, policy.Fail, "where is false of it"},
		"negative and positive": {where(`predicate.result == "PASSED"`), func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"result": "FAILED"})
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed)
		}, policy.Pass, ""},
		"where holds":                {where(`predicate.result == "PASSED" && predicate.count >= 3 && subject.digest.startsWith("sha256:")`), func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Pass, ""},
		"where over annotations":     {where(`subject.annotations.suite == "full"`), func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Fail, "no such key: suite"},
		"where over what is missing": {where(`predicate.verdict == "PASSED"`), func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Fail, "where fails on it: no such key: verdict"},

		"young enough": {maxAge, func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed) }, policy.Pass, "made at 2026-03-23 12:00:00 UTC by its own account"},
		"too old": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"timestamp": "2026-03-21T11:59:59Z"})
		}, policy.Fail, "72h0m1s ago"},
		"without time": {maxAge, func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{}) }, policy.Fail, "does not say when it was made"},
		"of tomorrow": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"time": "2026-03-25T12:00:00Z"})
		}, policy.Fail, "yet to come"},
		"a clock ahead": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"time": "2026-03-24T12:04:00Z"})
		}, policy.Pass, ""},
		"not a time": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"time": "yesterday"})
		}, policy.Fail, "not a time of RFC 3339: yesterday"},
		"provenance's time": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"runDetails": map[string]any{"metadata": map[string]any{"finishedOn": "2026-03-24T11:00:00Z"}}})
		}, policy.Pass, ""},
		"the time that cosign attest --type custom adds": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"Data": "{}", "Timestamp": "2026-03-24T11:00:00Z"})
		}, policy.Pass, "made at 2026-03-24 11:00:00 UTC by its own account"},
		"a summary's time": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"timeVerified": "2026-03-24T11:00:00Z"})
		}, policy.Pass, ""},
		"a scan's time": {maxAge, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"metadata": map[string]any{"scanFinishedOn": "2026-03-24T11:00:00Z"}})
		}, policy.Pass, ""},

		"two of two": {with(func(g *policy.Attestation) { g.By, g.Count = []string{"ci", "sre"}, number(2) }), func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed)
			d.attest(&d.f.Images[0].Subject, "sre", uiTests, passed)
		}, policy.Pass, ", sre (key "},
		"one twice": {with(func(g *policy.Attestation) { g.By, g.Count = []string{"ci", "sre"}, number(2) }), func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, passed)
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"result": "PASSED", "again": true})
		}, policy.Fail, "1 of 2, by ci"},
		"content is live already": {base, func(d *gateScene) { d.f.Unchanged, d.f.LiveImages = true, []digest.Digest{image} }, policy.Pass, "the content is what is live already"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			c.arrange(d)
			r := d.judge(gate(t, "attestation", c.gate))
			expect(t, r, c.want, c.reason)
			if c.want == policy.Pass && !d.f.Unchanged && len(r.Evidence) == 0 {
				t.Error("the result names no evidence")
			}
		})
	}
}

func TestApproval(t *testing.T) {
	t.Parallel()
	one := policy.Approval{By: []string{"manager", "sre"}}
	two := policy.Approval{By: []string{"manager", "sre", "sre-again"}, Count: number(2)}
	for name, c := range map[string]struct {
		gate    policy.Approval
		arrange func(d *gateScene)
		want    policy.Result
		reason  string
	}{
		"approved": {one, func(d *gateScene) {
			a := d.approval()
			a.Comment = "looks good"
			d.approve("sre", a)
		}, policy.Pass, "at 2026-03-24 11:00:00 UTC by its own account: «looks good»"},
		"nobody did":                   {one, func(*gateScene) {}, policy.Fail, "none: it takes 1 approval of " + candidate.String() + " for production by manager or sre"},
		"somebody else did":            {one, func(d *gateScene) { d.approve("stranger", d.approval()) }, policy.Fail, "one by stranger (key "},
		"two did":                      {two, func(d *gateScene) { d.approve("sre", d.approval()); d.approve("manager", d.approval()) }, policy.Pass, ""},
		"the same approver twice":      {two, func(d *gateScene) { d.approve("sre", d.approval()); d.approve("sre", d.approval()) }, policy.Fail, "1 of 2, by sre"},
		"one key under two names":      {two, func(d *gateScene) { d.approve("sre", d.approval()); d.approve("sre-again", d.approval()) }, policy.Fail, "1 of 2, by sre"},
		"of another release":           {one, func(d *gateScene) { a := d.approval(); a.Release = older; d.approve("sre", a) }, policy.Fail, `release "` + older},
		"for another stage":            {one, func(d *gateScene) { a := d.approval(); a.Stage = "test"; d.approve("sre", a) }, policy.Fail, `stage "test" instead of "production"`},
		"of another pipeline":          {one, func(d *gateScene) { a := d.approval(); a.Pipeline = "other"; d.approve("sre", a) }, policy.Fail, `pipeline "other"`},
		"of an empty predicate":        {one, func(d *gateScene) { d.approve("sre", predicate.Approval{}) }, policy.Fail, `stage ""`},
		"content is live already":      {two, func(d *gateScene) { d.f.Unchanged = true }, policy.Pass, "the content is what is live already"},
		"a waiver does not approve":    {one, func(d *gateScene) { d.waive("sre", d.waiver("approval", pipeline.Gate{})) }, policy.Fail, "none: "},
		"a signature does not approve": {one, func(d *gateScene) { d.attest(&d.f.Artifact, "sre", sign.PredicateSignature, d.approval()) }, policy.Fail, "none: "},
		"on the wrong digest": {one, func(d *gateScene) {
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("sre", otherDigest, predicate.TypeApproval, d.approval(), d.claim()))
		}, policy.Fail, "it is about sha256:eeee"},
		"in another repository": {one, func(d *gateScene) {
			claim := d.claim()
			claim["repository"] = "ghcr.io/evil/app"
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("sre", candidate, predicate.TypeApproval, d.approval(), claim))
		}, policy.Fail, "ghcr.io/evil/app"},
		"with a subject for another stage": {one, func(d *gateScene) {
			claim := d.claim()
			claim["stage"] = "test"
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("sre", candidate, predicate.TypeApproval, d.approval(), claim))
		}, policy.Fail, `its subject is stage "test"`},
		"before a rollback": {one, func(d *gateScene) { d.approve("sre", d.approval()); d.f.Held.Since = ago(time.Minute) }, policy.Fail, "before the rollback at 2026-03-24 11:59:00 UTC: give it again"},
		"after a rollback":  {one, func(d *gateScene) { d.approve("sre", d.approval()); d.f.Held.Since = ago(2 * time.Hour) }, policy.Pass, ""},
		"in a rollback's second": {one, func(d *gateScene) {
			d.approve("sre", d.approval())
			d.f.Held.Since = ago(time.Hour)
		}, policy.Pass, ""},
		"counted before a rollback": {one, func(d *gateScene) { // its time is its signer's word
			d.approve("sre", d.approval())
			d.f.Held = predicate.Hold{Since: ago(2 * time.Hour), Spent: []digest.Digest{d.f.Artifact.Statements[0].Bundle().Payload()}}
		}, policy.Fail, "give it again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			c.arrange(d)
			expect(t, d.judge(gate(t, "approval", c.gate)), c.want, c.reason)
		})
	}
}

func TestImage(t *testing.T) {
	t.Parallel()
	signed := func(d *gateScene) { d.attest(&d.f.Images[0].Subject, "ci", sign.PredicateSignature, map[string]any{}) }
	proven := func(predicateType string, predicate any) func(d *gateScene) {
		return func(d *gateScene) {
			signed(d)
			d.attest(&d.f.Images[0].Subject, "ci", predicateType, predicate)
		}
	}
	commits := func(key, commit string) []any {
		return []any{map[string]any{"uri": "git+https://github.com/acme/base"}, map[string]any{"digest": map[string]string{key: commit}}}
	}
	const v02 = "https://slsa.dev/provenance/v0.2"
	for name, c := range map[string]struct {
		provenance bool
		arrange    func(d *gateScene)
		want       policy.Result
		reason     string
	}{
		"signed":   {false, signed, policy.Pass, "is signed by ci (key"},
		"unsigned": {false, func(*gateScene) {}, policy.Fail, "it takes a signature of ghcr.io/acme/app@sha256:aaaa"},
		"signed by a stranger": {false, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "stranger", sign.PredicateSignature, map[string]any{})
		}, policy.Fail, "a signature by stranger"},
		"another digest signed": {false, func(d *gateScene) {
			d.f.Images[0].Statements = []sign.Verified{d.verified("ci", otherDigest, sign.PredicateSignature, map[string]any{}, nil)}
		}, policy.Fail, "it takes a signature"},
		"a negative statement by ci": {false, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", uiTests, map[string]any{"result": "FAILED"})
		}, policy.Fail, "it takes a signature"},
		"the lock names no image":    {false, func(d *gateScene) { d.f.Images = nil }, policy.Fail, "names no image"},
		"live already, and unsigned": {false, func(d *gateScene) { d.f.Unchanged = true }, policy.Fail, "it takes a signature"},
		"without provenance":         {true, signed, policy.Fail, "it takes SLSA provenance"},
		"neither":                    {true, func(*gateScene) {}, policy.Fail, "it takes a signature of ghcr.io/acme/app@sha256:aaaa"},
		"provenance, not signed": {true, func(d *gateScene) {
			d.attest(&d.f.Images[0].Subject, "ci", sign.PredicateProvenance, map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": commits("gitCommit", sourceCommit)}})
		}, policy.Fail, "it takes a signature"},
		"provenance v1":               {true, proven(sign.PredicateProvenance, map[string]any{"buildDefinition": map[string]any{"resolvedDependencies": commits("gitCommit", sourceCommit)}}), policy.Pass, "names commit " + sourceCommit},
		"provenance v1, source":       {true, proven(sign.PredicateProvenance, map[string]any{"buildDefinition": map[string]any{"externalParameters": map[string]any{"source": map[string]any{"digest": map[string]string{"sha1": sourceCommit}}, "workflow": "x"}}}), policy.Pass, ""},
		"provenance v0.2, materials":  {true, proven(v02, map[string]any{"materials": commits("sha1", sourceCommit)}), policy.Pass, ""},
		"provenance v0.2, invocation": {true, proven(v02, map[string]any{"invocation": map[string]any{"configSource": map[string]any{"digest": map[string]string{"sha1": sourceCommit}}}}), policy.Pass, ""},
		"of another commit":           {true, proven(v02, map[string]any{"materials": commits("sha1", gitOpsCommit)}), policy.Fail, "does not name commit"},
		"v0.2's place in v1":          {true, proven(sign.PredicateProvenance, map[string]any{"materials": commits("sha1", sourceCommit)}), policy.Fail, "does not name commit"},
		"malformed":                   {true, proven(sign.PredicateProvenance, map[string]any{"buildDefinition": 1}), policy.Fail, "does not name commit"},
		"provenance by a stranger": {true, func(d *gateScene) {
			signed(d)
			d.attest(&d.f.Images[0].Subject, "stranger", v02, map[string]any{"materials": commits("sha1", sourceCommit)})
		}, policy.Fail, "provenance by stranger"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			c.arrange(d)
			expect(t, d.judge(gate(t, "image", policy.ImageGate{By: []string{"ci"}, Provenance: c.provenance})), c.want, c.reason)
		})
	}
}

// TestEveryLockedImage holds that gates about images cover all of a lock, unless they name one.
func TestEveryLockedImage(t *testing.T) {
	t.Parallel()
	const sidecar, proxy = 1, 2
	attested := policy.Attestation{Type: uiTests, Subject: "image", By: []string{"ci"}}
	for kind, c := range map[string]struct {
		gate          func(of string) any
		predicateType string
	}{
		"image":       {func(of string) any { return policy.ImageGate{By: []string{"ci"}, Of: of} }, sign.PredicateSignature},
		"attestation": {func(of string) any { attested := attested; attested.Of = of; return attested }, uiTests},
	} {
		d := newGateScene(t)
		for name, of := range map[string]digest.Digest{"sidecar": otherDigest, "proxy": inTest} {
			d.f.Images = append(d.f.Images, policy.LockedImage{Name: name, Subject: policy.Subject{Repository: "ghcr.io/acme/" + name, Digest: of}})
		}
		if d.f.Images[proxy].Name != "proxy" {
			d.f.Images[sidecar], d.f.Images[proxy] = d.f.Images[proxy], d.f.Images[sidecar]
		}
		signed := func(i int) {
			d.f.Images[i].Statements = append(d.f.Images[i].Statements, d.verified("ci", d.f.Images[i].Digest, c.predicateType, map[string]any{}, nil))
		}
		signed(0)
		expect(t, d.judge(gate(t, kind, c.gate(""))), policy.Fail, otherDigest.String())
		expect(t, d.judge(gate(t, kind, c.gate("image"))), policy.Pass, "by ci (key")
		expect(t, d.judge(gate(t, kind, c.gate("sidecar"))), policy.Fail, otherDigest.String())
		expect(t, d.judge(gate(t, kind, c.gate("absent"))), policy.Fail, "the lock names no image absent")
		signed(proxy)
		expect(t, d.judge(gate(t, kind, c.gate(""))), policy.Fail, otherDigest.String())
		signed(sidecar)
		result := d.judge(gate(t, kind, c.gate("")))
		expect(t, result, policy.Pass, "by ci (key")
		if len(result.Evidence) != 3 {
			t.Errorf("%s: evidence is %v, want a statement of each image", kind, result.Evidence)
		}
	}
	// Equal content does not say that the images are those of what is live.
	d := newGateScene(t)
	d.f.Unchanged = true
	expect(t, d.judge(gate(t, "attestation", attested)), policy.Fail, "none: ")
	d.f.LiveImages = []digest.Digest{image}
	expect(t, d.judge(gate(t, "attestation", attested)), policy.Pass, "live already")
}

// TestImageOlderForm has a signature in the form from before bundles, from a real registry.
func TestImageOlderForm(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	testworld.SignImage(t, s.repository, s.artifact.Descriptor, s.key, sign.Claim{Repository: "ghcr.io/acme/app"})
	found, _, err := sign.VerifyImage(t.Context(), s.repository, s.artifact.Descriptor, testworld.Verifier(t, "ci", s.key))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	d := newGateScene(t)
	asked := gate(t, "image", policy.ImageGate{By: []string{"ci"}})
	d.f.Images[0].Subject = policy.Subject{Repository: "ghcr.io/acme/app", Digest: s.artifact.Descriptor.Digest, Signatures: found}
	expect(t, d.judge(asked), policy.Fail, "a signature by ci (key ") // ci has another key here
	d.f.Identities["ci"] = s.key.Identity()
	expect(t, d.judge(asked), policy.Pass, "is signed by ci (key ")
	d.f.Images[0].Digest = otherDigest
	expect(t, d.judge(asked), policy.Fail, "it takes a signature")
}

func TestFile(t *testing.T) {
	t.Parallel()
	f := policy.Facts{Now: now, Exists: map[string]bool{"a": true, "b": false}}
	judge := func(name string) policy.GateResult {
		return policy.Gates([]pipeline.Gate{gate(t, "file", name)}, pipeline.Waivers{}, f)[0]
	}
	for name, want := range map[string]policy.Result{"a": policy.Pass, "b": policy.Fail, "c": policy.Fail} {
		expect(t, judge(name), want, name)
	}
	f.Unchanged = true
	expect(t, judge("b"), policy.Pass, "the content is what is live already")
}

func TestClaimedTimesOfApprovals(t *testing.T) {
	t.Parallel()
	d := newGateScene(t)
	a := d.approval()
	a.Time = now.Add(-1000 * time.Hour) // an approval does not go off: it is of a digest
	d.approve("sre", a)
	expect(t, d.judge(gate(t, "approval", policy.Approval{By: []string{"sre"}})), policy.Pass, "by its own account")
}

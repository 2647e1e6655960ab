package policy_test

import (
	"testing"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// TestReproduced counts renders by distinct signers of others than hydrator and promoter, about exactly this artifact.
func TestReproduced(t *testing.T) {
	t.Parallel()
	one, two := policy.Reproduced{By: []string{"ci", "sre", "promoter"}}, policy.Reproduced{By: []string{"ci", "sre", "sre-again"}, Count: number(2)}
	claim := sign.Claim{Pipeline: "app", Stage: "production", Release: release}
	state := func(d *gateScene, who string, change func(*predicate.Rebuilt)) {
		r := predicate.Rebuilt{Claim: claim, GitOps: sourceCommit, Version: "v1", Renderer: "helm v3", Time: now}
		change(&r)
		d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified(who, candidate, predicate.TypeRebuilt, r, d.claim()))
	}
	same := func(*predicate.Rebuilt) {}
	for name, c := range map[string]struct {
		gate    policy.Reproduced
		arrange func(d *gateScene)
		want    policy.Result
		reason  string
	}{
		"one did":    {one, func(d *gateScene) { state(d, "ci", same) }, policy.Pass, "from GitOps commit " + sourceCommit},
		"nobody did": {one, func(*gateScene) {}, policy.Fail, "none: it takes 1 render of " + candidate.String() + " by ci or sre or promoter, each with «lockage attest --rebuilt app/production»; «lockage verify app/production --release "},
		"but for generated keys": {one, func(d *gateScene) {
			state(d, "ci", func(r *predicate.Rebuilt) { r.Except = []string{"Secret tls: data.key"} })
		}, policy.Pass, "but for what every render generates anew: Secret tls: data.key"},
		"but for generated keys, and whole by the promoter": {one, func(d *gateScene) {
			state(d, "promoter", same)
			state(d, "ci", func(r *predicate.Rebuilt) { r.Except = []string{"Secret tls: data.key"} })
		}, policy.Pass, "but for what every render"},
		"two did":                 {two, func(d *gateScene) { state(d, "ci", same); state(d, "sre", same) }, policy.Pass, ""},
		"one key under two names": {two, func(d *gateScene) { state(d, "sre", same); state(d, "sre-again", same) }, policy.Fail, "1 of 2"},
		"somebody else":           {one, func(d *gateScene) { state(d, "stranger", same) }, policy.Fail, "one by stranger"},
		"the promoter":            {one, func(d *gateScene) { state(d, "promoter", same) }, policy.Fail, "its key is the promoter's"},
		"the hydrator": {one, func(d *gateScene) {
			d.f.Identities["hydrator"] = d.f.Identities["ci"]
			state(d, "ci", same)
		}, policy.Fail, "its key is the hydrator's"},
		"of another release": {one, func(d *gateScene) { state(d, "ci", func(r *predicate.Rebuilt) { r.Release = older }) }, policy.Fail, `release "` + older},
		"of another artifact": {one, func(d *gateScene) {
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("ci", otherDigest, predicate.TypeRebuilt, predicate.Rebuilt{Claim: claim}, d.claim()))
		}, policy.Fail, "it is about " + otherDigest.String()},
		"an approval":           {one, func(d *gateScene) { d.approve("ci", d.approval()) }, policy.Fail, "none: "},
		"content that is live":  {two, func(d *gateScene) { d.f.Unchanged = true }, policy.Pass, "carries over"},
		"a rollback in between": {one, func(d *gateScene) { state(d, "ci", same); d.f.Held.Since = now }, policy.Pass, ""},
		"a subject of another one": {one, func(d *gateScene) {
			about := d.claim()
			about["stage"] = "test"
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("ci", candidate, predicate.TypeRebuilt, predicate.Rebuilt{Claim: claim}, about))
		}, policy.Fail, "its subject is stage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			c.arrange(d)
			result := d.judge(gate(t, "reproduced", c.gate))
			expect(t, result, c.want, c.reason)
			whole := name == "one did" || name == "two did" || name == "a rollback in between" // not what is equal in part, or carries over
			if whole != (result.Property == policy.Reproducible) || !whole && result.Property != "" {
				t.Errorf("property %q", result.Property)
			}
		})
	}
}

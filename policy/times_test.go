package policy_test

import (
	"context"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
	"github.com/lockage/lockage/sign/signtest"
)

// signAt lets a name sign without a key at a time before today's, by the clock of a timestamp authority, and makes today the scene's time.
func (d *gateScene) signAt(who string, before time.Duration) {
	d.t.Helper()
	s := signtest.New(d.t)
	s.Advance(-before)
	trusted, err := s.TrustedRoot("tsa")
	if err != nil {
		d.t.Fatal(err)
	}
	config, err := s.SigningConfig("tsa")
	if err != nil {
		d.t.Fatal(err)
	}
	instance, err := sign.NewInstance(trusted, config)
	if err != nil {
		d.t.Fatal(err)
	}
	d.f.Now = time.Now()
	signer, err := sign.NewKeyless(d.t.Context(), instance, func(context.Context) (string, error) { return s.Token(who + "@release.example"), nil }, time.Now)
	if err != nil {
		d.t.Fatal(err)
	}
	d.keys[who], d.f.Identities[who] = signer, signer.Identity()
}

// stampAt lets a name sign with a key, stamped at a time before today's by the clock of a timestamp authority, and makes today the scene's time. It
// may have been signed long before: anybody who has a statement can have it stamped again.
func (d *gateScene) stampAt(who string, before time.Duration) {
	d.t.Helper()
	d.signAt(who, before)
	instance, key := d.f.Identities[who].Instance, testworld.Key(d.t)
	if instance == nil {
		d.t.Fatal("no instance")
	}
	stamped, err := instance.Stamped(key, time.Now)
	if err != nil {
		d.t.Fatal(err)
	}
	d.keys[who], d.f.Identities[who] = stamped, sign.Identity{PublicKey: key.PublicKey(), Instance: instance}
}

// TestTrustedTimes has statements whose signers claim another time than a timestamp authority saw.
func TestTrustedTimes(t *testing.T) {
	t.Parallel()
	const h = time.Hour
	maxAge := gate(t, "attestation", policy.Attestation{Type: uiTests, By: []string{"ci"}, MaxAge: "3h"})
	approval := gate(t, "approval", policy.Approval{By: []string{"ci"}})
	healthy := gate(t, "soak", policy.Soak{Stage: "test", For: "2h", Healthy: true, By: []string{"ci"}})
	attest := func(d *gateScene, claimed time.Time) {
		d.attest(&d.f.Artifact, "ci", uiTests, map[string]any{"time": claimed})
	}
	approve := func(d *gateScene, claimed time.Time) {
		a := d.approval()
		a.Time = claimed
		d.f.Held = predicate.Hold{Since: d.f.Now.Add(-2 * h)}
		d.approve("ci", a)
	}
	live := func(d *gateScene, claimed time.Time) {
		d.f.Live["test"] = []policy.Span{{
			Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Digest: inTest, Content: contentA}}, From: d.f.Now.Add(-6 * h),
		}}
		claim := sign.Claim{Pipeline: "app", Stage: "test", Release: release}
		d.f.Health["test"] = append(d.f.Health["test"], d.verified("ci", inTest, predicate.TypeHealth, predicate.Health{Claim: claim, Time: claimed}, nil))
	}
	waive := func(holds time.Duration) func(d *gateScene, claimed time.Time) {
		return func(d *gateScene, claimed time.Time) {
			w := d.waiver("approval", approval)
			w.Time, w.Expires = claimed, d.f.Now.Add(holds)
			d.waive("ci", w)
		}
	}
	for name, c := range map[string]struct {
		gate            pipeline.Gate
		arrange         func(d *gateScene, claimed time.Time)
		signed, claimed time.Duration // ago
		want            policy.Result
		reason          string
	}{
		"maxAge":                        {maxAge, attest, h, h, policy.Pass, ", signed at "},
		"maxAge, found out before":      {maxAge, attest, h, 4 * h, policy.Fail, "ago"},
		"maxAge, claimed to be younger": {maxAge, attest, 4 * h, h, policy.Fail, "and it was signed before that, at "},
		"maxAge, signed long ago":       {maxAge, attest, 4 * h, 4 * h, policy.Fail, "4h"},

		"approval":                            {approval, approve, h, h, policy.Pass, "api/v1/timestamp says"},
		"approval, backdated":                 {approval, approve, h, 5 * h, policy.Pass, "api/v1/timestamp says"},
		"approval before the rollback":        {approval, approve, 3 * h, 3 * h, policy.Fail, "given before the rollback"},
		"approval, claimed to be given since": {approval, approve, 3 * h, h, policy.Fail, "given before the rollback"},

		"health":                           {healthy, live, 3 * h, 3 * h, policy.Pass, "healthy in test since"},
		"health by a clock that is behind": {healthy, live, 6*h - time.Minute, 6*h + time.Minute, policy.Pass, "healthy in test since"},
		"health, backdated":                {healthy, live, h, 3 * h, policy.Pending, "of 2h"},
		"health, claimed to be later":      {healthy, live, 3 * h, h, policy.Pass, "healthy in test since"},
		"health before it was live":        {healthy, live, 7 * h, 3 * h, policy.Pending, "waiting for a health attestation"},
		"health, claimed for the future":   {healthy, live, 3 * h, -h, policy.Pending, "waiting for a health attestation"},

		"waiver":                             {approval, waive(h), h, h, policy.Waived, "«the shop is down»"},
		"waiver that expired":                {approval, waive(-h), 3 * h, 3 * h, policy.Fail, "it expired at"},
		"waiver, claimed to be younger":      {approval, waive(policy.MaxWaiver - h), 3 * h, h, policy.Fail, "for longer than 30 days"},
		"waiver by a clock that is ahead":    {approval, waive(policy.MaxWaiver - h), h + 2*time.Minute, h, policy.Waived, "«the shop is down»"},
		"waiver as long as one may be":       {approval, waive(policy.MaxWaiver - 3*h), 2 * h, 2 * h, policy.Waived, "«the shop is down»"},
		"waiver, claimed to be older by far": {approval, waive(h), h, 1000 * h, policy.Waived, "«the shop is down»"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			d.signAt("ci", c.signed)
			c.arrange(d, d.f.Now.Add(-c.claimed))
			expect(t, policy.Gates([]pipeline.Gate{c.gate}, pipeline.Waivers{By: []string{"ci"}}, d.f)[0], c.want, c.reason)
		})
	}
	undated := func(d *gateScene, _ time.Time) {
		d.attest(&d.f.Artifact, "ci", uiTests, map[string]any{"result": "PASSED"})
	}
	for name, c := range map[string]struct {
		gate             pipeline.Gate
		arrange          func(d *gateScene, claimed time.Time)
		stamped, claimed time.Duration // ago
		want             policy.Result
		reason           string
	}{
		"maxAge":                        {maxAge, attest, h, h, policy.Pass, ", signed at "},
		"maxAge, stamped again":         {maxAge, attest, h, 4 * h, policy.Fail, "ago"},
		"maxAge, claimed to be younger": {maxAge, attest, 4 * h, h, policy.Fail, "and it was signed before that, at "},
		"maxAge, undated":               {maxAge, undated, h, h, policy.Fail, "when it was made"},

		"approval":                            {approval, approve, h, h, policy.Pass, "api/v1/timestamp says"},
		"approval, stamped again":             {approval, approve, h, 3 * h, policy.Fail, "given before the rollback"},
		"approval, claimed to be given since": {approval, approve, 3 * h, h, policy.Fail, "given before the rollback"},

		"health":                       {healthy, live, 3 * h, 3 * h, policy.Pass, "healthy in test since"},
		"health by a clock behind":     {healthy, live, 6*h - time.Minute, 6*h + time.Minute, policy.Pass, "healthy in test since"},
		"health, stamped later":        {healthy, live, h, 3 * h, policy.Pending, "of 2h"},
		"health of before it was live": {healthy, live, 3 * h, 7 * h, policy.Pending, "waiting for a health attestation"},

		"waiver":                {approval, waive(h), h, h, policy.Waived, "«the shop is down»"},
		"waiver, stamped again": {approval, waive(policy.MaxWaiver - h), 0, 3 * h, policy.Fail, "for longer than 30 days"},
	} {
		t.Run("by a key/"+name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			d.stampAt("ci", c.stamped)
			c.arrange(d, d.f.Now.Add(-c.claimed))
			expect(t, policy.Gates([]pipeline.Gate{c.gate}, pipeline.Waivers{By: []string{"ci"}}, d.f)[0], c.want, c.reason)
		})
	}
	d := newGateScene(t)
	d.approve("ci", d.approval())
	expect(t, d.judge(approval), policy.Pass, "by its own account")
	d = newGateScene(t)
	a := d.approval()
	a.Time = d.f.Now.Add(h)
	d.approve("ci", a)
	expect(t, d.judge(approval), policy.Fail, "which is yet to come")
}

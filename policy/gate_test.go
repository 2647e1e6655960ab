package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign/predicate"
)

func TestGateNames(t *testing.T) {
	t.Parallel()
	soak, cel := pipeline.Gate{Kind: "soak"}, pipeline.Gate{Kind: "cel"}
	got := policy.GateNames([]pipeline.Gate{soak, cel, {Name: "long", Kind: "soak"}, cel, soak})
	if diff := cmp.Diff([]string{"soak", "cel", "long", "cel#2", "soak#3"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestGateDigest(t *testing.T) {
	t.Parallel()
	g := pipeline.Gate{Kind: "approval", Declared: policy.Approval{By: []string{"sre"}, Count: number(2)}}
	// What was waived yesterday is waived by the same bytes today: this changes for a reason only.
	const stable = "sha256:8257aed50f7416390fbcaa15ffa1c654106d5b6282377ffd6cb8a9b2710d41ea"
	if got := policy.GateDigest(g); got != stable {
		t.Errorf("%s", got)
	}
	named := g
	named.Name = "x"
	for _, other := range []pipeline.Gate{
		{Kind: "approval", Declared: policy.Approval{By: []string{"sre"}, Count: number(1)}},
		{Kind: "approval", Declared: policy.Approval{By: []string{"sre", "ci"}, Count: number(2)}},
		named,
	} {
		if policy.GateDigest(other) == policy.GateDigest(g) {
			t.Errorf("%+v has the same digest", other)
		}
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]policy.Result{
		"": policy.Pass, "pass": policy.Pass, "pass waived": policy.Pass, "pass pending waived": policy.Pending,
		"pending fail": policy.Fail, "fail pending": policy.Fail, "unheard-of": policy.Fail,
	} {
		var results []policy.GateResult
		for _, r := range strings.Fields(list) {
			results = append(results, policy.GateResult{Result: policy.Result(r)})
		}
		if got := policy.Outcome(results); got != want {
			t.Errorf("%q comes to %s", list, got)
		}
	}
}

// TestEveryGateIsJudged looks at all kinds at once: one that fails keeps none of the others from being reported.
func TestEveryGateIsJudged(t *testing.T) {
	t.Parallel()
	gates, err := parse(t, `[{soak: {stage: test, for: 2h}}, {attestation: {type: "`+uiTests+`", by: [ci]}}, {approval: {by: [sre]}}, {image: {by: [ci]}},
		{file: x}, {window: {deny: ["Mon-Sun 00:00-24:00"]}}, {cel: "false"}, {rego: "policy/{release}"}]`, nil)
	if err != nil {
		t.Fatal(err)
	}
	gates = append(gates, pipeline.Gate{}) // of a version to come
	results := policy.Gates(gates, pipeline.Waivers{}, newGateScene(t).f)
	if len(results) != len(gates) {
		t.Fatalf("%d results for %d gates", len(results), len(gates))
	}
	for i, name := range policy.GateNames(gates) {
		if results[i].Gate != name {
			t.Errorf("result %d is of %s, want %s", i, results[i].Gate, name)
		}
		expect(t, results[i], policy.Fail)
	}
	zero := policy.Gates(gates, pipeline.Waivers{}, policy.Facts{})
	if policy.Outcome(zero) != policy.Fail || zero[1].Result != policy.Fail || zero[2].Result != policy.Fail || zero[3].Result != policy.Fail {
		t.Errorf("without any facts: %+v", zero)
	}
	data, err := json.Marshal(policy.GateResult{Gate: "soak", Result: policy.Pass, Reason: "r"})
	if err != nil || string(data) != `{"gate":"soak","result":"pass","reason":"r"}` {
		t.Errorf("%s, %v", data, err)
	}
}

func TestCELAndRego(t *testing.T) {
	t.Parallel()
	deployment := func(name string, replicas int) map[string]any {
		return map[string]any{"kind": "Deployment", "metadata": map[string]any{"name": name}, "spec": map[string]any{"replicas": int64(replicas)}}
	}
	f := newGateScene(t).f
	f.Unchanged = true // they run all the same
	f.Objects = []map[string]any{deployment("web", 1), deployment("db", 3)}
	f.LiveObjects = []map[string]any{deployment("web", 5)}
	f.Diff = map[string]any{"counts": map[string]any{"added": int64(1)}}
	files := fstest.MapFS{
		"denies/main.rego": {Data: []byte("package main\ndeny contains msg if { input.spec.replicas < 2; msg := sprintf(\"%s needs two\\n\", [input.metadata.name]) }\nwarn contains \"careful\"")},
		"warns/main.rego":  {Data: []byte("package main\nwarn contains \"careful\" if input.metadata.name == \"db\"")},
		"fails/main.rego":  {Data: []byte("package main\ndeny contains 1")},
		"sees/main.rego": {Data: []byte("package main\ndeny contains x if { some x in [data.lockage.stage, data.lockage.pipeline, data.lockage.release.id, data.lockage.release.commit," +
			" data.lockage.image.digest, data.lockage.diff.counts.added, count(data.lockage.objects), count(data.lockage.liveObjects)]; not is_number(x) }")},
	}
	for _, c := range []struct {
		gate   string
		want   policy.Result
		reason string
	}{
		{"cel: '" + `objects.all(o, o.spec.replicas >= 1)` + "'", policy.Pass, "true: objects.all"},
		{"cel: '" + `objects.all(o, o.spec.replicas >= 2)` + "'", policy.Fail, "false: it takes: objects.all"},
		{"cel: '" + `objects.all(o, o.spec.paused)` + "'", policy.Fail, "cannot be evaluated: no such key: paused"},
		{"cel: '" + `stage == "production" && pipeline == "app" && release.id == "` + release + `" && release.commit == "` + sourceCommit + `"` + "'", policy.Pass, ""},
		{"cel: '" + `image.repository == "ghcr.io/acme/app" && image.digest == "` + image.String() + `" && image.ref == image.repository + "@" + image.digest` + "'", policy.Pass, ""},
		{"cel: '" + `diff.counts.added == 1 && liveObjects.size() == 1` + "'", policy.Pass, ""},
		{"rego: denies", policy.Fail, "1 denial: web needs two (Deployment web); 1 warning: careful"},
		{"rego: warns", policy.Pass, "1 rule of warns deny nothing in 2 objects; 1 warning: careful (Deployment db)"},
		{"rego: fails", policy.Fail, "write messages"},
		{"rego: sees", policy.Fail, "5 denials"},
		{"rego: '{release}'", policy.Fail, "no policies in " + release + ": commit some there"},
	} {
		gates, err := parse(t, "[{"+c.gate+"}]", files)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, policy.Gates(gates, pipeline.Waivers{}, f)[0], c.want, c.reason)
	}
	none := policy.Facts{Now: now}
	expect(t, policy.Gates([]pipeline.Gate{gate(t, "cel", `objects.size() + liveObjects.size() == 0 && diff == null`)}, pipeline.Waivers{}, none)[0], policy.Pass)
}

// TestNotEverybodyAppliesIt is of objects that some program leaves out: they satisfy no gate, and escape none.
func TestNotEverybodyAppliesIt(t *testing.T) {
	t.Parallel()
	object := func(kind string) map[string]any { return map[string]any{"kind": kind} }
	f := policy.Facts{
		Objects: []map[string]any{object("Pod"), object("Role")}, Diff: map[string]any{"size": 2},
		Applied: &policy.Applied{Objects: []map[string]any{object("Pod")}, Diff: map[string]any{"size": 1}, Without: "Role a: kustomize leaves it out"},
	}
	for expression, want := range map[string]string{
		`objects.exists(o, o.kind == "Pod")`:   "",
		`objects.exists(o, o.kind == "Role")`:  "this does not count: Role a: kustomize leaves it out",
		`!objects.exists(o, o.kind == "Role")`: "false: it takes: !objects",
		`diff.size == 2`:                       "this does not count",
		`diff.size == 1`:                       "false: it takes",
	} {
		got := policy.Gates([]pipeline.Gate{gate(t, "cel", expression)}, pipeline.Waivers{}, f)[0]
		if (got.Result == policy.Pass) != (want == "") || !strings.Contains(got.Reason, want) {
			t.Errorf("%s: %+v", expression, got)
		}
	}
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	asked := gate(t, "approval", policy.Approval{By: []string{"manager"}})
	one := pipeline.Waivers{By: []string{"sre", "sre-again", "ci"}}
	two := pipeline.Waivers{By: one.By, Count: number(2)}
	with := func(change func(*predicate.Waiver)) func(*gateScene) {
		return func(d *gateScene) {
			w := d.waiver("approval", asked)
			change(&w)
			d.waive("sre", w)
		}
	}
	plain := with(func(*predicate.Waiver) {})
	for name, c := range map[string]struct {
		who     pipeline.Waivers
		arrange func(d *gateScene)
		want    policy.Result
		reason  string
	}{
		"waived":              {one, plain, policy.Waived, "for Ada until 2026-03-24 13:00:00 UTC: «the shop is down»; without that: none: it takes 1 approval"},
		"nobody may":          {pipeline.Waivers{}, plain, policy.Fail, "does not count: this stage declares nobody who may waive gates"},
		"not by a stranger":   {one, func(d *gateScene) { d.waive("stranger", d.waiver("approval", asked)) }, policy.Fail, "a waiver by stranger (key "},
		"not by the approver": {one, func(d *gateScene) { d.waive("manager", d.waiver("approval", asked)) }, policy.Fail, "only sre or sre-again or ci may waive"},
		"two of two": {two, func(d *gateScene) {
			d.waive("sre", d.waiver("approval", asked))
			d.waive("ci", d.waiver("approval", asked))
		}, policy.Waived, ", ci (key "},
		"one of two":          {two, plain, policy.Fail, "waived by 1 of 2: sre (key "},
		"the same twice":      {two, func(d *gateScene) { plain(d); plain(d) }, policy.Fail, "waived by 1 of 2"},
		"one key, two names":  {two, func(d *gateScene) { plain(d); d.waive("sre-again", d.waiver("approval", asked)) }, policy.Fail, "waived by 1 of 2"},
		"expired":             {one, with(func(w *predicate.Waiver) { w.Expires = now }), policy.Fail, "it expired at 2026-03-24 12:00:00 UTC"},
		"for ever":            {one, with(func(w *predicate.Waiver) { w.Expires = now.Add(10000 * time.Hour) }), policy.Fail, "holds for longer than 30 days"},
		"for 30 days":         {one, with(func(w *predicate.Waiver) { w.Expires = w.Time.Add(policy.MaxWaiver) }), policy.Waived, ""},
		"without expiry":      {one, with(func(w *predicate.Waiver) { w.Expires = time.Time{} }), policy.Fail, "does not say"},
		"without time":        {one, with(func(w *predicate.Waiver) { w.Time = time.Time{} }), policy.Fail, "does not say"},
		"of tomorrow":         {one, with(func(w *predicate.Waiver) { w.Time, w.Expires = now.Add(24*time.Hour), now.Add(25*time.Hour) }), policy.Fail, "yet to come"},
		"without reason":      {one, with(func(w *predicate.Waiver) { w.Reason = "" }), policy.Fail, "gives no reason"},
		"of another gate":     {one, with(func(w *predicate.Waiver) { w.Gate = "soak" }), policy.Fail, "it takes 1 approval of " + candidate.String() + " for production by manager"},
		"of the gate before":  {one, with(func(w *predicate.Waiver) { w.GateDigest = policy.GateDigest(pipeline.Gate{}) }), policy.Fail, "the gate was changed since"},
		"of another release":  {one, with(func(w *predicate.Waiver) { w.Release = older }), policy.Fail, "does not count: it is for release"},
		"for another stage":   {one, with(func(w *predicate.Waiver) { w.Stage = "test" }), policy.Fail, `it is for stage "test"`},
		"of another pipeline": {one, with(func(w *predicate.Waiver) { w.Pipeline = "other" }), policy.Fail, `it is for pipeline "other"`},
		"replayed on another digest": {one, func(d *gateScene) {
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("sre", otherDigest, predicate.TypeWaiver, d.waiver("approval", asked), d.claim()))
		}, policy.Fail, "it is about sha256:eeee"},
		"from another repository": {one, func(d *gateScene) {
			d.f.Artifact.Statements = append(d.f.Artifact.Statements, d.verified("sre", candidate, predicate.TypeWaiver, d.waiver("approval", asked), nil))
		}, policy.Fail, "it is for repository \"\""},
		"not needed": {one, func(d *gateScene) { d.approve("manager", d.approval()); plain(d) }, policy.Pass, "the waiver by sre (key"},
		"expired and not needed": {one, func(d *gateScene) {
			d.approve("manager", d.approval())
			with(func(w *predicate.Waiver) { w.Expires = now })(d)
		}, policy.Pass, "it expired at"},
		"a good one and a bad one": {one, func(d *gateScene) {
			plain(d)
			d.waive("ci", predicate.Waiver{Gate: "approval"})
		}, policy.Waived, "a waiver by ci"},
		"with a terminal's commands": {one, with(func(w *predicate.Waiver) { w.Reason = "x\x1b[2J\n" + strings.Repeat("y", 1000) }), policy.Waived, `«x\u001b[2J yyy`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newGateScene(t)
			c.arrange(d)
			r := policy.Gates([]pipeline.Gate{asked}, c.who, d.f)[0]
			expect(t, r, c.want, c.reason)
			if len(r.Reason) > 3000 {
				t.Errorf("the reason has %d bytes", len(r.Reason))
			}
			if c.want == policy.Waived && len(r.Evidence) == 0 {
				t.Error("the result names no evidence")
			}
		})
	}
}

// TestPendingIsWaived: a waiver also ends the wait.
func TestPendingIsWaived(t *testing.T) {
	t.Parallel()
	d := newGateScene(t)
	d.f.Live["test"] = []policy.Span{{Artifact: predicate.Artifact{Release: release, Digests: oci.Digests{Content: contentA}}, From: ago(time.Hour)}}
	gates, err := parse(t, "[{soak: {stage: test, for: 2h}}, {name: long, soak: {stage: test, for: 9h}}]", nil)
	if err != nil {
		t.Fatal(err)
	}
	d.waive("sre", d.waiver("long", gates[1]))
	results := policy.Gates(gates, pipeline.Waivers{By: []string{"sre"}}, d.f)
	expect(t, results[0], policy.Pending)
	expect(t, results[1], policy.Waived, "without that: live in test since")
	if results[1].RetryAfter != nil {
		t.Errorf("ask again at %s", results[1].RetryAfter)
	}
	if policy.Outcome(results) != policy.Pending {
		t.Error(policy.Outcome(results))
	}
}

package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/internal/strictyaml"
)

const bundle = "oci://ghcr.io/acme/policies:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestGatesAreJudged(t *testing.T) {
	t.Parallel()
	in := header + `identities: {ci: {key: k}, sre: {key: s}, people: {issuer: https://i.example, subjectRegexp: .*}}
stages:
  - name: s
    waivers: {by: [sre, nobody], count: 3}
    gates:
      - {name: ui, cel: a}
      - {name: ui, cel: a}
      - {name: cel, cel: a}
      - {name: Big, cel: a}
      - {name: alone}
      - soak: {stage: s, for: 2h, by: [cj], healthy: true}
      - soak: {stage: s, for: 2h, by: [ci]}
      - approval: {by: [ci, ci], count: 2}
      - approval: {by: [people], count: 2}
      - rego: oci://ghcr.io/acme/policies:v1
      - window: {allow: ["Mon 09:00-09:00"], timezone: Local}
      - window: {deny: ["Fri-Mon 22:00-06:00", 2026-12-25]}
      - rego: ` + bundle + `
  - name: t
    waivers: {}
`
	_, err := Load(repo("a.yaml", in), "a.yaml")
	want := `a.yaml:9:25: identity "nobody" is not declared: add it to identities
a.yaml:9:41: waivers.count is 3, and by names fewer: it could never be met
a.yaml:12:16: gate name "ui" is given twice in this stage
a.yaml:13:16: gate name "cel" has a meaning of its own: say what this gate asks for
a.yaml:14:16: gate name "Big" is not at most 63 lower-case letters, digits and dashes
a.yaml:15:9: a gate has exactly one condition, this one has 0: write one list item each
a.yaml:16:40: identity "cj" is not declared: add it to identities
a.yaml:17:39: soak.by says whose health attestations count: write healthy: true beside it
a.yaml:18:41: gates[7].approval.count is 2, and by names fewer: it could never be met
a.yaml:20:15: gates[9].rego: "oci://ghcr.io/acme/policies:v1" is no bundle pinned by digest: write one like oci://ghcr.io/acme/policies@sha256:<64 hex>
a.yaml:21:26: gates[10].window.allow: "Mon 09:00-09:00" begins when it ends: write 00:00-24:00 for a whole day
a.yaml:21:56: gates[10].window.timezone: "Local" is no time zone: write one like America/Los_Angeles
a.yaml:22:48: stages[0].gates[11].window.deny[1]: expected a string, found the time 2026-12-25: write "2026-12-25" with quotes
a.yaml:25:14: stages[1].waivers.by is missing`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestWindowsAreBounded(t *testing.T) {
	t.Parallel()
	in := header + "stages: [{name: s, gates: [{window: {allow: [" + strings.Repeat("Mon 09:00-16:00,", maxWindowRules+1) + "]}}]}]\n"
	_, err := Load(repo("a.yaml", in), "a.yaml")
	if err == nil || !strings.Contains(err.Error(), "window.allow has 101 entries, at most 100 are read") {
		t.Errorf("got %v", err)
	}
}

func TestExpandGates(t *testing.T) {
	t.Parallel()
	files := repo("a.yaml", header+"sourceRepo: https://x/y\nrender: {kubeVersion: \"1.34\"}\nidentities: {sre: {key: s}}\n"+
		"stages:\n  - name: s\n    gates: [{name: merged, file: \"{stage}/{release}\"}]\n    waivers: {by: [sre]}\n  - name: t\n")
	p, err := Load(files, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	l := helmLock()
	s, err := p[0].Expand("s", l, files)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Gate{{Name: "merged", File: "s/" + l.ReleaseID}}, s.Gates); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Waivers{By: []string{"sre"}}, s.Waivers); diff != "" {
		t.Error(diff)
	}
	if other, err := p[0].Expand("t", l, files); err != nil || other.Waivers.By != nil {
		t.Errorf("another stage's waivers are %v, %v", other.Waivers, err)
	}
}

func TestKind(t *testing.T) {
	t.Parallel()
	for want, g := range map[string]Gate{
		"soak": {Soak: &Soak{}}, "attestation": {Attestation: &Attestation{}}, "approval": {Approval: &Approval{}}, "image": {Image: &ImageGate{}},
		"file": {File: "x"}, "window": {Window: &Window{}}, "cel": {CEL: "x"}, "rego": {Rego: "x"}, "": {Name: "x"},
	} {
		if got := g.Kind(); got != want {
			t.Errorf("%+v is of kind %q", g, got)
		}
	}
}

func TestParseGates(t *testing.T) {
	t.Parallel()
	parse := func(text string) ([]Gate, Waivers, error) {
		doc, problems := strictyaml.Parse("a.yaml", []byte(text))
		if doc == nil {
			t.Fatal(problems)
		}
		return ParseGates(doc, "s", helmLock())
	}
	gates, waivers, err := parse("other: 1\nwaivers: {by: [sre]}\ngates:\n  - {approval: {by: [ci]}}\n  - {soak: {stage: t, for: 2h}}\n" +
		"  - {attestation: {type: a:b, subject: stage:u, by: [ci], where: '{x}'}}\n  - {file: \"{stage}/{commit}\"}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Gate{
		{Approval: &Approval{By: []string{"ci"}}},
		{Soak: &Soak{Stage: "t", For: "2h"}},
		{Attestation: &Attestation{Type: "a:b", Subject: "stage:u", By: []string{"ci"}, Where: "{x}"}},
		{File: "s/" + helmLock().GitCommit},
	}
	if diff := cmp.Diff(want, gates); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Waivers{By: []string{"sre"}}, waivers); diff != "" {
		t.Error(diff)
	}
	_, _, err = parse("gates: [{soak: {stage: t, for: 2}}, {cel: a, rego: b}, {file: \"{nope}\"}]\n")
	if err == nil || strings.Count(err.Error(), "\n") != 2 || !strings.Contains(err.Error(), "a.yaml:1:32: ") {
		t.Errorf("got %v", err)
	}
}

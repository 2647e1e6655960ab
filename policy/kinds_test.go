package policy_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

const pipelineHead = "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: a\nlock: locks/a\nartifacts: ghcr.io/acme/a\n"

// TestGatesAreRead has every mistake in a gate, each with its place.
func TestGatesAreRead(t *testing.T) {
	t.Parallel()
	in := pipelineHead + `identities: {ci: {key: k}, sre: {key: s}, people: {issuer: https://i.example, subjectRegexp: .*}}
stages:
  - name: s
    waivers: {by: [sre, nobody], count: 3}
    gates:
      - {name: ui, cel: "true"}
      - {name: ui, cel: "true"}
      - {name: cel, cel: "true"}
      - {name: Big, cel: "true"}
      - {name: alone}
      - soak: {stage: s, for: 2h, by: [cj], healthy: true}
      - soak: {stage: s, for: 2h, by: [ci]}
      - approval: {by: [ci, ci], count: 2}
      - approval: {by: [people], count: 2}
      - rego: oci://ghcr.io/acme/policies:v1
      - window: {allow: ["Mon 09:00-09:00"], timezone: Local}
      - window: {deny: ["Fri-Mon 22:00-06:00", 2026-12-25]}
      - rego: oci://ghcr.io/acme/policies:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  - name: t
    waivers: {}
  - name: u
    gates:
      - {}
      - {cel: a, rego: ../b}
      - soak: {stage: x, for: 2}
      - soak: {stage: s, for: -2h}
      - attestation: {type: x, subject: y, by: [cj], count: 0, where: '{not.expanded}'}
      - attestation: {type: a:b, subject: "stage:{nope}", by: [], maxAge: 1d}
      - attestation: {type: a:b, subject: stage:nope, by: [ci], where: predicate.size()}
      - approval: {}
      - image: {by: ci}
      - window: {}
      - window: {allow: [Mon], deny: [2026-02-30/2026-03-01], timezone: "a b"}
      - window: {deny: ["Mon 09:00-16:00"], timezone: Mars/Olympus}
      - unknown: x
      - cel: 'objects.all(o, )'
      - rego: broken
      - rego: absent
      - rego: empty
      - rego: broken/main.rego
      - rego: later/{release}
`
	files := fstest.MapFS{"a.yaml": {Data: []byte(in)}, "empty/README.md": {Data: []byte("no")},
		"broken/main.rego": {Data: []byte("package main\n\ndeny contains x if { http.send({}, x) }")}}
	_, err := pipeline.Load(files, policy.Kinds(), "a.yaml")
	want := `a.yaml:9:25: identity "nobody" is not declared: add it to identities
a.yaml:9:41: waivers.count is 3, and by names fewer: it could never be met
a.yaml:12:16: gate name "ui" is given twice in this stage
a.yaml:13:16: gate name "cel" has a meaning of its own: say what this gate asks for
a.yaml:14:16: gate name "Big" is not at most 63 lower-case letters, digits and dashes
a.yaml:15:9: a gate has exactly one condition, this one has 0: write one list item each
a.yaml:16:40: identity "cj" is not declared: add it to identities
a.yaml:17:39: gates[6].soak.by: it says whose health attestations count: write healthy: true beside it
a.yaml:18:41: gates[7].approval.count is 2, and by names fewer: it could never be met
a.yaml:20:15: gates[9].rego: "oci://ghcr.io/acme/policies:v1" is not a bundle pinned by digest: write one like oci://ghcr.io/acme/policies@sha256:<64 hex>
a.yaml:21:26: gates[10].window.allow: "Mon 09:00-09:00" begins when it ends: write 00:00-24:00 for a whole day
a.yaml:21:56: gates[10].window.timezone: "Local" is not a time zone: write one like America/Los_Angeles
a.yaml:22:48: stages[0].gates[11].window.deny[1]: expected a string, found the time 2026-12-25: write "2026-12-25" with quotes
a.yaml:25:14: stages[1].waivers.by is missing
a.yaml:28:9: a gate has exactly one condition, this one has 0: write one list item each
a.yaml:29:9: a gate has exactly one condition, this one has 2: write one list item each
a.yaml:29:15: gates[1].cel: does not compile: 1:1: undeclared reference to 'a'
a.yaml:29:24: gates[1].rego: "../b" holds ` + "`..`" + `: write it relative to the GitOps repository's root
a.yaml:30:23: gates[2].soak.stage: there is no stage "x": there are s, t, u
a.yaml:30:31: stages[2].gates[2].soak.for: expected a string, found the number 2: write "2" with quotes
a.yaml:31:31: gates[3].soak.for: "-2h" is not a duration above zero: write one like 2h or 90m
a.yaml:32:29: gates[4].attestation.type: "x" is not a predicate type: write a URI
a.yaml:32:41: gates[4].attestation.subject: "y" is not known: write artifact, image or stage:NAME
a.yaml:32:49: identity "cj" is not declared: add it to identities
a.yaml:32:61: gates[4].attestation.count is 0: at least 1
a.yaml:32:71: gates[4].attestation.where: does not compile: 1:14: Syntax error: mismatched input '}' expecting ':'
a.yaml:33:43: unknown placeholder {nope}: known in stage u are {chart.digest}, {chart.version}, {commit}, {image}, {image.digest}, {image.ref}, {image.repository}, {image.tag}, {images.NAME}, {images.NAME.digest}, {images.NAME.ref}, {images.NAME.repository}, {images.NAME.tag}, {pipeline}, {release}, {stage}
a.yaml:33:63: gates[5].attestation.by is empty: name who is trusted
a.yaml:33:75: gates[5].attestation.maxAge: "1d" is not a duration above zero: write one like 2h or 90m
a.yaml:34:43: gates[6].attestation.subject: there is no stage "nope": there are s, t, u
a.yaml:34:72: gates[6].attestation.where: does not compile: the expression gives a value of type int, and must give true or false
a.yaml:35:19: stages[2].gates[7].approval.by is missing
a.yaml:36:21: stages[2].gates[8].image.by: expected a list, found a string
a.yaml:37:17: gates[9].window: write allow, deny or both
a.yaml:38:26: gates[10].window.allow: "Mon" is not a weekly time: write one like Mon-Thu 09:00-16:00
a.yaml:38:39: gates[10].window.deny: "2026-02-30/2026-03-01" is neither days such as 2026-12-20/2027-01-03 nor a weekly time such as Mon-Thu 09:00-16:00
a.yaml:38:73: gates[10].window.timezone: "a b" is not a time zone: write one like America/Los_Angeles
a.yaml:39:55: gates[11].window.timezone: "Mars/Olympus" is not a time zone: write one like America/Los_Angeles
a.yaml:40:9: unknown key "unknown" in stages[2].gates[12]
a.yaml:41:14: gates[13].cel: does not compile: 1:16: Syntax error: mismatched input ')'
a.yaml:42:15: gates[14].rego: broken: policies cannot be used: broken/main.rego:3:22: rego_type_error: undefined function http.send
a.yaml:43:15: gates[15].rego: absent: policies cannot be used: the GitOps repository has no such folder
a.yaml:44:15: gates[16].rego: empty: policies cannot be used: no rule deny, violation or warn in 0 policy files: they would allow everything
a.yaml:45:15: gates[17].rego: broken/main.rego: policies cannot be used: it is a file; name the folder that it is in`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

// TestFailingFilesAreNoMistake holds that a failure to read is not reported as a mistake in a file.
func TestFailingFilesAreNoMistake(t *testing.T) {
	t.Parallel()
	in := pipelineHead + "stages: [{name: s, gates: [{rego: p}]}]\n"
	files := fstest.MapFS{"a.yaml": {Data: []byte(in)}, "p/main.rego": {Data: []byte("package main\ndeny contains 1 if false")}}
	if _, err := pipeline.Load(files, policy.Kinds(), "a.yaml"); err != nil {
		t.Fatal(err)
	}
	_, err := pipeline.Load(unreadable{files, "p/main.rego"}, policy.Kinds(), "a.yaml")
	var problems strictyaml.Problems
	if !errors.Is(err, errDisk) || errors.As(err, &problems) {
		t.Errorf("got %v", err)
	}
}

var errDisk = errors.New("disk on fire")

// unreadable fails to read one file.
type unreadable struct {
	fs.FS
	name string
}

func (u unreadable) Open(name string) (fs.File, error) {
	if name == u.name {
		return nil, errDisk
	}
	return u.FS.Open(name)
}

func TestWindowsAreBounded(t *testing.T) {
	t.Parallel()
	_, err := parse(t, "[window: {allow: ["+strings.Repeat("Mon 09:00-16:00,", 101)+"]}]", nil)
	if err == nil || !strings.Contains(err.Error(), "window.allow: 101 entries, at most 100 are read") {
		t.Errorf("got %v", err)
	}
}

// examples has a gate of each kind.
const examples = `
soak: {stage: test, for: 2h, healthy: true}
attestation: {type: https://acme.dev/ui-tests/v1, subject: image, by: [ci], where: 'predicate.result == "PASSED"', maxAge: 72h, count: 1}
approval: {by: [manager, sre], count: 2}
reproduced: {by: [ci]}
image: {by: [ci], provenance: true}
file: "merged/{stage}/{release}.yaml"
window: {allow: ["Mon-Thu 09:00-16:00"], deny: ["2026-12-20/2027-01-03"], timezone: America/Los_Angeles}
cel: 'objects.filter(o, o.kind == "Deployment").all(o, o.spec.replicas >= 2)'
rego: policies
review: {by: [lead-developer, acme/platform-team, manager], count: 1}
source: {by: [ci]}
weekday: {of: release, not: [Friday]}
`

// weekday is another kind of gate: it needs what is here, and a line in a list of kinds.
type weekday struct{ not []string }

func (weekday) Signers() pipeline.Signers { return pipeline.Signers{Names: []string{"calendar"}} }

func (weekday) Need(n *policy.Needs) { n.Files = append(n.Files, "holidays.yaml") }

func (g weekday) Judge(f policy.Facts) policy.GateResult {
	today := f.Now.Weekday().String()
	if slices.Contains(g.not, today) || f.Exists["holidays.yaml"] {
		return policy.GateResult{Result: policy.Fail, Reason: "it is " + today}
	}
	return policy.GateResult{Result: policy.Pass, Reason: "it is " + today}
}

func kindsAndWeekday() []pipeline.GateKind {
	type declared struct {
		Of  string   `yaml:"of,required" json:"of,omitempty"`
		Not []string `yaml:"not" json:"not,omitempty"`
	}
	return append(policy.Kinds(), pipeline.NewGateKind("weekday", "No Fridays.", func(declared declared, d *pipeline.Declaration) pipeline.Condition {
		d.Rule("not", func(day string) string {
			if day == "Funday" {
				return "is not a day"
			}
			return ""
		})
		return weekday{declared.Not}
	}))
}

// TestEveryKind takes each kind of gate, and one that is declared in this file alone, from a pipeline file to a verdict.
func TestEveryKind(t *testing.T) {
	t.Parallel()
	var gates strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(examples, "\n")) {
		gates.WriteString("      - " + line)
	}
	files := fstest.MapFS{"policies/main.rego": {Data: []byte("package main\ndeny contains \"no\" if input.kind == \"Pod\"")}, "a.yaml": {Data: []byte(pipelineHead +
		"sourceRepo: https://git.example/app\nrender: {kubeVersion: \"1.34\"}\nidentities: {ci: {key: k}, sre: {key: s}, manager: {key: m}}\n" +
		"stages:\n  - name: test\n  - name: production\n    waivers: {by: [sre]}\n    gates:\n" + gates.String())}}
	pipelines, err := pipeline.Load(files, kindsAndWeekday(), "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	expanded, err := pipelines[0].Expand("production", lock.Lock{ReleaseID: release, GitCommit: sourceCommit}, files)
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsAndWeekday()
	if len(expanded.Gates) != len(kinds) {
		t.Fatalf("%d examples of %d kinds", len(expanded.Gates), len(kinds))
	}
	d := newGateScene(t)
	results := policy.Gates(expanded.Gates, expanded.Waivers, d.f)
	digests := make(map[digest.Digest]bool)
	var signers []string
	for i, g := range expanded.Gates {
		if g.Kind != kinds[i].Name || results[i].Gate != g.Kind {
			t.Errorf("gate %d is of kind %s, and its result of %s; want %s", i, g.Kind, results[i].Gate, kinds[i].Name)
		}
		if strings.Contains(results[i].Reason, "that this version knows") || results[i].Reason == "" {
			t.Errorf("%s is not judged: %+v", g.Kind, results[i])
		}
		signers = append(signers, g.Condition.Signers().Names...)
		digests[policy.GateDigest(g)] = true
		d.waive("sre", d.waiver(g.Kind, g))
	}
	if len(digests) != len(kinds) {
		t.Errorf("%d digests of %d gates", len(digests), len(kinds))
	}
	if diff := cmp.Diff([]string{"promoter", "ci", "manager", "sre", "ci", "ci", "manager", "ci", "calendar"}, signers); diff != "" {
		t.Error(diff)
	}
	needs := policy.Needs{
		Statements: true, Images: []string{""}, Signatures: true, Spans: []string{"test"}, Health: []string{"test"},
		Files: []string{"holidays.yaml", "merged/production/" + release + ".yaml"}, Seen: policy.Seen{Objects: true}, Source: true,
		Review: true, Reviewers: []string{"acme/platform-team", "lead-developer"},
	}
	if diff := cmp.Diff(needs, policy.NeedsOf(expanded.Gates)); diff != "" {
		t.Error(diff)
	}
	d.f.Exists = map[string]bool{"holidays.yaml": true}
	for i, r := range policy.Gates(expanded.Gates, expanded.Waivers, d.f) {
		if results[i].Result != policy.Pass && r.Result != policy.Waived || kinds[i].Name == "weekday" && r.Result != policy.Waived {
			t.Errorf("%s is not waived: %+v", r.Gate, r)
		}
	}
}

// TestKindReportsMistakes holds that another kind's mistakes have their place.
func TestKindReportsMistakes(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"a.yaml": {Data: []byte(pipelineHead + "stages: [{name: s, gates: [{weekday: {nott: [x]}}, {weekday: {of: x, not: [Friday, Funday]}}, {name: weekday, file: x}]}]\n")}}
	_, err := pipeline.Load(files, kindsAndWeekday(), "a.yaml")
	want := `a.yaml:6:38: stages[0].gates[0].weekday.of is missing
a.yaml:6:39: unknown key "nott" in stages[0].gates[0].weekday (did you mean "not"?)
a.yaml:6:84: gates[1].weekday.not: "Funday" is not a day
a.yaml:6:102: gate name "weekday" has a meaning of its own: say what this gate asks for`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
}

var update = flag.Bool("update", false, "write the generated JSON Schema")

const schemaFile = "../docs/lockage.schema.json"

func TestSchema(t *testing.T) {
	t.Parallel()
	got, err := pipeline.Schema(policy.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/lockage.schema.json is out of date: run go test ./policy -update\n%s", diff)
	}
	more, err := pipeline.Schema(kindsAndWeekday())
	if err != nil || !strings.Contains(string(more), `"weekday": {`) {
		t.Errorf("another kind is not in the schema: %v", err)
	}
}

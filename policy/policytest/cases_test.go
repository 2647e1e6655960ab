package policytest

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/internal/strictyaml"
	"github.com/lockage/lockage/policy"
)

func folder(pairs ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return files
}

func run(t *testing.T, text string, files fs.FS) []Report {
	t.Helper()
	reports, err := Run(t.Context(), "a.yaml", []byte(text), files)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		if r.Result != policy.Pass {
			t.Errorf("%s: %s", r.Case, strings.Join(r.Problems, "\n"))
		}
	}
	return reports
}

const everyGate = `gates:
  - {soak: {stage: test, for: 2h}}
  - {attestation: {type: "https://acme.dev/ui/v1", subject: image, by: [ci], where: 'predicate.passed >= 3', maxAge: 24h}}
  - {approval: {by: [sre, manager], count: 2}}
  - {image: {by: [ci], provenance: true}}
  - {file: "merged/{release}"}
  - {window: {allow: ["Mon-Fri 09:00-16:00"]}}
  - {cel: 'objects.all(o, o.kind != "Deployment" || o.spec.replicas >= 2) && diff.counts.added == 1'}
  - {rego: policies}
  - {name: healthy, soak: {stage: test, for: 30m, healthy: true}}
waivers: {by: [sre, ci]}
cases:
`

const nothingThere = `  - name: nothing is there
    now: 2026-01-04T12:00:00Z
    objects: [{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 1}}]
    expect:
      soak: {result: fail, reason: was never live}
      attestation: fail
      approval: fail
      image: fail
      file: fail
      window: {result: pending, retryAfter: 2026-01-05T09:00:00Z}
      cel: fail
      rego: {result: fail, reason: one is few (Deployment web)}
      healthy: fail
    result: fail
`

func TestRun(t *testing.T) {
	t.Parallel()
	files := folder(
		"policies/main.rego", "package main\ndeny contains \"one is few\" if input.spec.replicas < 2\n",
		"rendered/deployment-web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 2\n")
	reports := run(t, everyGate+nothingThere+`  - name: everything is there
    tree: rendered
    files: [merged/git-1111111111111111111111111111111111111111]
    live: {test: [{from: 2026-01-05T09:00:00Z, until: 2026-01-05T11:30:00Z}, {commit: "2222222222222222222222222222222222222222", from: 2026-01-05T11:30:00Z}]}
    statements:
      - {type: "https://acme.dev/ui/v1", by: ci, on: image, predicate: {passed: 3, time: 2026-01-05T11:00:00Z}}
      - {type: approval, by: sre}
      - {type: approval, by: manager}
      - {type: "https://sigstore.dev/cosign/sign/v1", by: ci, on: image}
      - {type: "https://slsa.dev/provenance/v1", by: ci, on: image, predicate: {buildDefinition: {resolvedDependencies: [{digest: {gitCommit: "1111111111111111111111111111111111111111"}}]}}}
      - {type: health, by: promoter, on: stage:test, predicate: {time: 2026-01-05T11:00:00Z}}
    expect: {soak: pass, attestation: pass, approval: pass, image: pass, file: pass, window: pass, cel: pass, rego: pass, healthy: pass}
    result: pass
  - name: what does not count
    liveObjects: [{apiVersion: v1, kind: Service, metadata: {name: web}}]
    live: {test: [{from: 2026-01-05T11:00:00Z}]}
    statements:
      - {type: "https://acme.dev/ui/v1", by: ci, on: image, predicate: {passed: 2, time: 2026-01-05T11:00:00Z}}
      - {type: approval, by: sre}
      - {type: approval, by: sre, predicate: {comment: again}}
      - {type: approval, by: manager, about: "sha256:2222222222222222222222222222222222222222222222222222222222222222"}
      - {type: waiver, by: ci, predicate: {gate: file, reason: the merge is late}}
      - {type: waiver, by: manager, predicate: {gate: image}}
      - {type: waiver, by: sre, predicate: {gate: cel, expires: 2026-01-05T11:59:59Z}}
    expect:
      soak: {result: pending, reason: 1h of 2h, retryAfter: 2026-01-05T13:00:00Z}
      attestation: {result: fail, reason: where is false}
      approval: {result: fail, reason: "statement is not about"}
      file: {result: waived, reason: the merge is late}
      image: {result: fail, reason: a waiver by manager}
      cel: {result: fail, reason: it expired at}
  - name: content is live already
    unchanged: true
    expect: {soak: pass, attestation: pass, approval: pass, image: fail, healthy: pass}
`, files)
	if len(reports) != 4 || reports[1].Verdict != policy.Pass || len(reports[1].Gates) != 9 {
		t.Errorf("%+v", reports)
	}
	again := run(t, everyGate+nothingThere, files)
	if diff := cmp.Diff(reports[0], again[0]); diff != "" {
		t.Errorf("the same file gives other results: %s", diff)
	}
}

const declared = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: app
lock: locks
artifacts: ghcr.io/acme/app
render: {kubeVersion: "1.34"}
identities: {sre: {key: keys/sre.pub}, oncall: {key: keys/sre.pub}, manager: {key: keys/manager.pub}}
stages:
  - name: production
    gates: [{approval: {by: [sre, oncall, manager], count: 2}}, {rego: "oci://ghcr.io/acme/p@sha256:1111111111111111111111111111111111111111111111111111111111111111"}]
    waivers: {by: [manager]}
`

func TestRunPipeline(t *testing.T) {
	t.Parallel()
	files := folder("lockage.yaml", declared, "p/main.rego", "package main\ndeny contains \"no\" if input.kind == \"Pod\"")
	head := "pipeline: lockage.yaml\nstage: production\npolicies: {\"oci://ghcr.io/acme/p@sha256:1111111111111111111111111111111111111111111111111111111111111111\": p}\ncases:\n"
	run(t, head+`  - name: two
    statements: [{type: approval, by: sre}, {type: approval, by: manager}]
    expect: {approval: pass, rego: pass}
  - name: one key under two names
    statements: [{type: approval, by: sre}, {type: approval, by: oncall}]
    expect: {approval: {result: fail, reason: "1 of 2"}}
`, files)
	_, err := Run(t.Context(), "a.yaml", []byte(head+"  - {name: x, statements: [{type: approval, by: nobody}], result: pass}\n"), files)
	if err == nil || err.Error() != `a.yaml:5:49: identity "nobody" is not declared in lockage.yaml` {
		t.Error(err)
	}
}

// TestRunFails has cases that expect something else than what comes.
func TestRunFails(t *testing.T) {
	t.Parallel()
	reports, err := Run(t.Context(), "a.yaml", []byte(`gates: [{file: x}, {window: {deny: ["Mon 00:00-24:00"]}}]
cases:
  - {name: result, expect: {file: pass}}
  - {name: reason, expect: {file: {result: fail, reason: "moon\x1b[2J"}}}
  - {name: time, expect: {window: {result: pending, retryAfter: 2026-01-06T00:00:01Z}}}
  - {name: no time, expect: {file: {result: fail, retryAfter: 2026-01-06T00:00:01Z}}}
  - {name: together, result: pass}
  - {name: right, expect: {file: fail, window: {result: pending, retryAfter: 2026-01-06T00:00:00Z}}, result: fail}
`), folder())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"file: got fail, want pass: x does not", `the reason does not say "moon`, "got retryAfter 2026-01-06T00:00:00Z, want", "got retryAfter none", "all gates together: got fail, want pass"} {
		if r := reports[i]; r.Result != policy.Fail || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], want) {
			t.Errorf("%s: %s, %v", r.Case, r.Result, r.Problems)
		}
	}
	if r := reports[5]; r.Result != policy.Pass {
		t.Errorf("%s: %v", r.Case, r.Problems)
	}
	wantText := "fail  a.yaml: together\n  all gates together: got fail, want pass\n  fail     file    x does not exist on the policy ref: commit it there\n" +
		"  pending  window  denied Mon 00:00-24:00; it is Mon 2026-01-05 12:00 UTC, and the window opens Tue 2026-01-06 00:00 UTC (ask again at 2026-01-06 00:00:00 UTC)\n" +
		"pass  a.yaml: right\n1 of 2 cases came out as expected\n"
	if diff := cmp.Diff(wantText, Text(reports[4:], Options{})); diff != "" {
		t.Error(diff)
	}
	wantMarkdown := "#### ❌ `a.yaml`: `together`\n\n- `all gates together: got fail, want pass`\n\nGates: **fail**\n\n- ❌ fail `file`: `x does not exist on the policy ref: commit it there`\n" +
		"- ⏳ pending `window`: `denied Mon 00:00-24:00; it is Mon 2026-01-05 12:00 UTC, and the window opens Tue 2026-01-06 00:00 UTC (ask again at 2026-01-06 00:00:00 UTC)`\n\n" +
		"#### ✅ `a.yaml`: `right`\n\n1 of 2 cases came out as expected\n"
	if diff := cmp.Diff(wantMarkdown, Text(reports[4:], Options{Markdown: true})); diff != "" {
		t.Error(diff)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	files := folder("lockage.yaml", declared, "broken.yaml", "apiVersion: x\n")
	for text, want := range map[string]string{
		"cases: []": "a.yaml:1:1: there is nothing to test: write gates, or pipeline and stage\na.yaml:1:8: 0 cases: from 1 to 1000 are read",
		"gates: [{cel: 'true'}]\npipeline: lockage.yaml\ncases: [{name: a, result: pass}]": "a.yaml:2:11: gates and waivers are those of the pipeline: write either",
		"pipeline: none.yaml\nstage: s\ncases: [{name: a, result: pass}]":                  "a.yaml:1:11: there is no pipeline file none.yaml",
		"pipeline: lockage.yaml\nstage: s\ncases: [{name: a, result: pass}]":               `a.yaml:2:8: pipeline app has no stage "s": it has production`,
		"pipeline: broken.yaml\nstage: s\ncases: [{name: a, result: pass}]":                "broken.yaml:1:1: ",
		"gates: [{cell: x}]\ncases: [{name: a, result: pass}]":                             `a.yaml:1:10: unknown key "cell" in gates[0] (did you mean "cel"?)`,
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: maybe, nwo: x}]":                `a.yaml:2:34: unknown key "nwo" in cases[0] (did you mean "now"?)`,
		"gates: [{cel: 'true'}]\ncases: [{name: a}, {name: a, result: pass}]":              `a.yaml:2:27: case name "a" is empty or given twice`,
		"gates: [{cel: 'true'}]\ncases: [{name: a}, {name: b, expect: {cell: good}}]": `a.yaml:2:9: case "a" expects nothing, and would never fail: write expect or result
a.yaml:2:45: expect.cell: "good" is not known: write pass, fail, pending or waived
a.yaml:2:45: there is no gate "cell": there are cel`,
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: waived, now: noon, commit: abc, image: app}]": `a.yaml:2:27: result: "waived" is not known: write pass, fail or pending
a.yaml:2:40: "noon" is not a time: write one like 2026-01-05T12:00:00Z
a.yaml:2:54: commit: "abc" is not 40 lower-case hex digits
a.yaml:2:66: image: "app" is not written REPOSITORY@sha256:<64 hex>`,
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: pass, statements: [{type: x, by: b}, {type: approval, by: b, on: moon}, {type: 'a:b', by: b, about: x}, {type: waiver, by: b, predicate: {gate: y}}, {type: 'a:b', by: b, predicate: 1}]}]": `a.yaml:2:53: type: "x" is not a predicate type: write a URI, or approval, waiver, health or rebuilt
a.yaml:2:92: on: "moon" is not known: write artifact, image or stage:NAME
a.yaml:2:127: about: "x" is not a digest: write sha256:<64 hex>
a.yaml:2:171: a waiver names one of the gates: cel
a.yaml:2:208: predicate: expected a map`,
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: pass, objects: [{kind: Pod}], liveTree: none}]":                                               `a.yaml:2:42: objects cannot be read: `,
		"gates: [{rego: none}]\ncases: [{name: a, result: pass}]":                                                                                        "a.yaml:1:16: gates[0].rego: none: ",
		"gates: [{rego: 'oci://a.example/b@sha256:1111111111111111111111111111111111111111111111111111111111111111'}]\ncases: [{name: a, result: pass}]": "tests read no registry",
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: pass, live: {test: [{from: x, commit: y}]}}]":                                                 `"x" is not a time`,
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: pass, live: {test: [{until: 2026-01-05T12:00:00Z}]}}]":                                        "a.yaml:2:47: from is missing",
		"gates: [{cel: 'true'}]\ncases: [{name: a, result: pass, objects: [{a: .inf, b: 99999999999999999999}]}]":                                        "has no form in JSON",
		"": "is empty",
	} {
		_, err := Run(t.Context(), "a.yaml", []byte(text), files)
		var problems strictyaml.Problems
		if err == nil || !errors.As(err, &problems) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func FuzzRun(f *testing.F) {
	f.Add([]byte(everyGate + nothingThere))
	f.Add([]byte("pipeline: lockage.yaml\nstage: production\ncases: [{name: a, result: pass, statements: [{type: waiver, by: manager, predicate: {gate: approval}}]}]"))
	files := folder("lockage.yaml", declared, "policies/main.rego", "package main\ndeny contains \"x\" if input.kind == \"Pod\"")
	f.Fuzz(func(t *testing.T, data []byte) {
		reports, err := Run(t.Context(), "a.yaml", data, files)
		if err == nil && len(reports) == 0 {
			t.Error("neither reports nor an error")
		}
	})
}

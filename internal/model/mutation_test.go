package model

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations take single checks out of the program. With each of them, some history must fail.
var mutations = []struct{ file, from, to string }{
	// What is live.
	{"promote/live/witness.go", "v.Claim() != claim || r.Claim != claim || v.SubjectName() != claim.Repository || r.Release == \"\"", "false && claim.Release == \"\""},
	{"promote/live/witness.go", "p.Sequence < sequence || p.Sequence == sequence && p.Record == newest", "true || newest == \"\" && sequence == 0"},
	{"promote/live/live.go", "again.Head == state.Head", "again.Head != state.Head"},

	// Candidates.
	{"policy/verify/candidate.go", `check := policy.Check{Check: "candidate", Result: policy.Fail}`, `check := policy.Check{Check: "candidate", Result: policy.Pass}`},
	{"policy/verify/verify.go", "err == nil && !proven && len(h.Statements) > 0", "false && !proven"},
	{"policy/verify/entry.go", "stated.Claim != e.Claim || ", ""},
	{"publish/hydration.go", "claim.Release = e.Release; e.Claim != claim", "claim.Release = e.Release; false && e.Claim != claim"},
	{"publish/hydration.go", "return h, ok && policy.SignedBy", "return h, true || policy.SignedBy"},
	{"publish/tag.go", "case named == s.entry.Digest:", "case named != \"\":"},

	// Order and holds.
	{"policy/order.go", "p.RolledBack || !p.Is && !p.Was", "p.RolledBack"},
	{"policy/order.go", "p.RolledBack || !p.Is && !p.Was", "!p.Is && !p.Was && !p.RolledBack"},
	{"promote/visit.go", "delete(open, p.To.Digest)\n", "clear(open)\n"},
	{"promote/visit.go", "case own, !again && v.undone.To.Release != release:\n\t\t\treturn true", "case own, !again && v.undone.To.Release != release:\n\t\t\treturn false"},
	{"promote/newest.go", "left[j.artifact.Content]", "false && left[j.artifact.Content]"},
	{"promote/newest.go", "err != nil || id == release {\n\t\t\treturn i, err", "err != nil {\n\t\t\treturn i, err"},
	{"promote/rollback.go", "case left:\n", "case false:\n"},

	// Approvals.
	{"policy/approval.go", "if f.Unchanged {", "if true || f.Unchanged {"},
	{"policy/gate.go", "!f.RolledBack.IsZero() &&", "false && !f.RolledBack.IsZero() &&"},

	// The stage branch.
	{"ledger/check.go", "differences := compare(there, itemsOf(files))", "differences := compare(there[:0], itemsOf(files)[:0])"},

	// What makes a run whole.
	{"promote/stage.go", "s.state.Live == nil || !s.state.Drift()", "true"},
	{"promote/live/follow.go", "own = append(own, v.Bundle())", "_ = v"},
}

// TestMutations builds this test once a mutation, which takes hours on few processors: LOCKAGE_SOAK=1 does that. Without it, it
// makes sure that the program has the checks that the mutations take out.
func TestMutations(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		t.Run(m.file+": "+m.from, func(t *testing.T) {
			file := filepath.Join(root, filepath.FromSlash(m.file))
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(text), m.from) != 1 {
				t.Fatalf("%s has %q %d times", m.file, m.from, strings.Count(string(text), m.from))
			}
			if os.Getenv("LOCKAGE_SOAK") != "1" {
				return
			}
			dir := t.TempDir()
			mutated, overlay := filepath.Join(dir, "mutated.go"), filepath.Join(dir, "overlay.json")
			replaced, err := json.Marshal(map[string]any{"Replace": map[string]string{file: mutated}})
			if err != nil {
				t.Fatal(err)
			}
			for name, data := range map[string][]byte{mutated: []byte(strings.Replace(string(text), m.from, m.to, 1)), overlay: replaced} {
				if err := os.WriteFile(name, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-count=1", "-failfast", "-run", "^TestHistories$", ".", "-args", "-histories", "1000")
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("no history fails without this check")
			case !strings.Contains(string(out), "--- FAIL: TestHistories/"):
				t.Fatalf("%v\n%.4000s", err, out)
			default:
				_, first, _ := strings.Cut(string(out), "--- FAIL: TestHistories/")
				t.Logf("%.400s", first)
			}
		})
	}
}

package repair_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/promote"
)

// TestHolds holds what was promoted or left after the promotion that a new beginning is at, and nothing from before it.
func TestHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	second := s.next()
	third := s.next()
	s.must(promote.Rollback, "")
	// Another hydration takes the place of the candidate: only the rollback names what it left.
	values := filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/staging/values.yaml")
	text, err := os.ReadFile(values)
	if err != nil {
		t.Fatal(err)
	}
	testworld.Write(t, filepath.Dir(values), map[string]string{"values.yaml": strings.Replace(string(text), "staging.acme", "next.acme", 1)})
	testworld.Commit(t, s.demo.GitOpsDir, "Other values")
	testworld.Git(t, s.demo.GitOpsDir, "push", "-q", "origin", "HEAD")
	s.hydrate()
	testworld.Git(t, s.demo.GitOpsDir, "fetch", "-q", "origin", second.Commit)
	testworld.Git(t, s.demo.GitOpsDir, "push", "-q", "-f", "origin", second.Commit+":refs/heads/live/codeai/staging")
	r := s.repair(false, "incident 4711")
	if want := "begin anew at " + second.Release + ", with number 5; held: " + third.Release; r.Err != nil || r.Findings[0].Mend != want {
		t.Errorf("%+v, want %s", r, want)
	}
}

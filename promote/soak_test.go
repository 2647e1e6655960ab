package promote_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

const soaking = mirrored + head + `    gates: [soak: {stage: staging, for: 2h}]
`

func newSoakingScene(t *testing.T) *scene {
	return newScene(t, true, strings.Replace(soaking, "{name: production, auto: true, after: [staging]}",
		"name: production\n    auto: true\n    after: [staging]", 1))
}

// A soak is one stay, without a break: stays do not add up, nor does promoting again begin one, or make one longer.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	first, second := s.releases[0], s.releases[1]
	pending := func(release string) {
		t.Helper()
		if r, err := s.try(promote.Promote, release, production); !errors.Is(err, promote.ErrPending) {
			t.Errorf("%s: %s, %v", s.clock.read().Format(time.TimeOnly), r.Action, err)
		}
	}
	s.must(promote.Promote, first, "staging")
	pending(first)
	s.clock.add(time.Hour + 50*time.Minute)
	s.must(promote.Promote, first, "staging")
	pending(first)
	s.must(promote.Promote, second, "staging")
	s.clock.add(5 * time.Minute)
	s.must(promote.Rollback, "", "staging")
	s.clock.add(time.Hour + 50*time.Minute)
	pending(first)
	s.clock.add(10 * time.Minute)
	s.must(promote.Promote, first, production)

	// What was decided, and could not be pushed for an hour, soaks from the push on.
	s.faults.refuse("POST /gitops.git/git-receive-pack")
	if _, err := s.try(promote.Promote, second, "staging"); err == nil {
		t.Fatal("pushed all the same")
	}
	s.faults.fail(0, "")
	s.clock.add(time.Hour)
	s.must(promote.Promote, second, "staging")
	s.clock.add(time.Hour + 10*time.Minute)
	pending(second)
	s.clock.add(50 * time.Minute)
	s.must(promote.Promote, second, production)
}

// The time that staging ran other values does not count for a candidate with changed ones.
func TestSoakOfValues(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	release := s.releases[1]
	s.must(promote.Promote, release, "staging")
	s.clock.add(3 * time.Hour)
	for _, stage := range []string{"staging", production} {
		s.write("apps/codeai/deployments/"+stage+"/values.yaml", "migrations: {backoffLimit: 7}\n")
	}
	s.push("changed values")
	s.hydrate()
	if r, err := s.try(promote.Promote, release, production); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "other content") {
		t.Fatalf("%s, %v", r.Action, err)
	}
	// Somebody writes to the ledger that the new hydration has the content that soaked.
	_, history := s.sound("staging")
	s.forge("staging/"+release+".jsonl", func(e *ledger.Entry) { e.Content = history[0].Content })
	if r, err := s.try(promote.Promote, release, production); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "not hydrated there since") {
		t.Fatalf("%s, %v", r.Action, err)
	}
	s.hydrate()
	s.must(promote.Promote, release, "staging")
	s.clock.add(time.Hour)
	if r, err := s.try(promote.Promote, release, production); !errors.Is(err, promote.ErrPending) {
		t.Fatalf("%s, %v", r.Action, err)
	}
	s.clock.add(time.Hour)
	s.must(promote.Promote, release, production)
}

// Values of staging that came and went while only production was hydrated change nothing: no hydration would.
func TestSoakOfValuesThatCameBack(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	release := s.releases[1]
	values := func(stage string) string { return "apps/codeai/deployments/" + stage + "/values.yaml" }
	s.must(promote.Promote, release, "staging")
	s.clock.add(3 * time.Hour)
	before, err := os.ReadFile(filepath.Join(s.demo.GitOpsDir, values("staging")))
	if err != nil {
		t.Fatal(err)
	}
	waits := func() {
		t.Helper()
		if r, err := s.try(promote.Promote, release, production); err == nil || !strings.Contains(err.Error(), "not hydrated there since") {
			t.Fatalf("%s, %v", r.Action, err)
		}
	}
	s.write(values("staging"), "migrations: {backoffLimit: 7}\n")
	s.write(values(production), "migrations: {backoffLimit: 7}\n")
	s.push("changed values")
	s.hydrate(production)
	waits()
	s.write(values("staging"), string(before))
	s.write(values(production), "migrations: {backoffLimit: 8}\n")
	s.push("values of before in staging")
	waits()
	s.write(values(production), "migrations: {backoffLimit: 7}\n")
	s.push("what production was hydrated with")
	s.hydrate()
	s.must(promote.Promote, release, production)
}

// A clock that is behind that of the last promotion signs nothing: a soak that it began would be too long.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	s.must(promote.Promote, s.releases[0], "staging")
	s.clock.add(-time.Hour)
	if r, err := s.try(promote.Promote, s.releases[1], "staging"); err == nil || !strings.Contains(err.Error(), "clock skew") {
		t.Errorf("%s, %v", r.Action, err)
	}
	s.clock.add(time.Hour)
	s.must(promote.Promote, s.releases[1], "staging")
}

// forge changes a file of the candidates branch.
func (s *scene) forge(name string, change func(e *ledger.Entry)) {
	s.t.Helper()
	dir := testworld.Clone(s.t, filepath.Join(s.now().root, "gitops.git"), "-b", "candidates/codeai")
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := ledger.ParseEntry(text)
	if err != nil {
		s.t.Fatal(err)
	}
	change(&e)
	if text, err = e.Encode(); err != nil {
		s.t.Fatal(err)
	}
	testworld.Write(s.t, dir, map[string]string{name: string(text)})
	testworld.Commit(s.t, dir, "forged")
	testworld.Git(s.t, dir, "push", "-q", "origin", "HEAD")
}

// ready promotes what is ready, as a job does now and then.
func (s *scene) ready() {
	s.t.Helper()
	o := s.options("")
	o.Ready = true
	results, err := promote.Promote(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil && !errors.Is(r.Err, promote.ErrPending) && r.Action != promote.Denied {
			s.t.Fatalf("%s: %v", r.Stage, r.Err)
		}
	}
}

// A release that is older than what a later stage has soaks for nobody, and what is ready replaces it. The later stage is not auto, and gets
// nothing without its name.
func TestSoakForNobody(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, strings.Replace(soaking, "{name: production, auto: true, after: [staging]}", "name: production\n    after: [staging]", 1))
	older, newer := s.releases[0], s.releases[1]
	s.must(promote.Promote, newer, "staging")
	s.clock.add(3 * time.Hour)
	s.ready()
	if state, _ := s.sound(production); state.Live != nil {
		t.Errorf("production is not auto, and got %s", state.Live.To.Release)
	}
	s.must(promote.Promote, newer, production)
	s.must(promote.Promote, older, "staging")
	newest := testworld.DemoRelease(t, s.demo)
	s.hydrate()
	s.ready()
	if state, _ := s.sound("staging"); state.Live.To.Release != newest {
		t.Errorf("staging keeps %s, which production left behind", state.Live.To.Release)
	}
}

// A pipeline with releases more often than they soak promotes all the same, with a job that runs now and then; and what
// was rolled back does not come back by itself.
func TestCadence(t *testing.T) {
	t.Parallel()
	s := newSoakingScene(t)
	newest := s.releases[1]
	var promoted []string
	for range 7 {
		for range 2 {
			s.ready()
			s.clock.add(20 * time.Minute)
		}
		if _, history := s.sound(production); len(history) > len(promoted) {
			promoted = append(promoted, history[0].Release)
		}
		newest = testworld.DemoRelease(t, s.demo)
		s.hydrate()
	}
	if len(promoted) < 2 {
		t.Errorf("in four hours and more, with a soak of two, production got %v", promoted)
	}
	if _, err := s.try(promote.Rollback, "", "staging"); err != nil {
		t.Fatal(err)
	}
	_, history := s.sound("staging")
	left := history[1].Release
	for range 7 {
		s.ready()
		s.clock.add(25 * time.Minute)
	}
	state, history := s.sound("staging")
	if state.Live.To.Release != newest {
		t.Errorf("staging has %s, and %s is newer", state.Live.To.Release, newest)
	}
	if history[0].Release == left || left == newest {
		t.Errorf("%s came back by itself", left)
	}
	if state, _ := s.sound(production); state.Live.To.Release == left {
		t.Errorf("%s was rolled back in staging, and came to production", left)
	}
}

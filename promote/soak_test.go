package promote_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockage/lockage/promote"
)

const soaking = mirrored + head + `    gates: [soak: {stage: staging, for: 2h}]
`

// clock is a time that only the test moves on.
type clock struct{ time.Time }

func (c *clock) add(d time.Duration) { c.Time = c.Add(d) }

// at is what is promoted, by a clock.
func (s *scene) at(c *clock, do verb, release, stage string) (promote.Result, error) {
	s.t.Helper()
	o := s.options(release, stage)
	o.Now = func() time.Time { return c.Time }
	results, err := do(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	return results[0], results[0].Err
}

func newSoakingScene(t *testing.T) *scene {
	return newScene(t, true, strings.Replace(soaking, "{name: production, auto: true, after: [staging]}",
		"name: production\n    auto: true\n    after: [staging]", 1))
}

// A soak is one stay, without a break: stays do not add up, nor does promoting again begin one, or make one longer.
func TestSoak(t *testing.T) {
	s := newSoakingScene(t)
	first, second := s.releases[0], s.releases[1]
	c := &clock{time.Now()}
	must := func(do verb, release, stage string) {
		t.Helper()
		if _, err := s.at(c, do, release, stage); err != nil {
			t.Fatal(err)
		}
	}
	pending := func(release string) {
		t.Helper()
		if r, err := s.at(c, promote.Promote, release, production); !errors.Is(err, promote.ErrPending) {
			t.Errorf("%s: %s, %v", c.Format(time.TimeOnly), r.Action, err)
		}
	}
	must(promote.Promote, first, "staging")
	pending(first)
	c.add(time.Hour + 50*time.Minute)
	must(promote.Promote, first, "staging")
	pending(first)
	must(promote.Promote, second, "staging")
	c.add(5 * time.Minute)
	must(promote.Rollback, "", "staging")
	c.add(time.Hour + 50*time.Minute)
	pending(first)
	c.add(10 * time.Minute)
	must(promote.Promote, first, production)

	// What was decided, and could not be pushed for an hour, soaks from the push on.
	s.faults.refuse("POST /gitops.git/git-receive-pack")
	if _, err := s.at(c, promote.Promote, second, "staging"); err == nil {
		t.Fatal("pushed all the same")
	}
	s.faults.fail(0, "")
	c.add(time.Hour)
	must(promote.Promote, second, "staging")
	c.add(time.Hour + 10*time.Minute)
	pending(second)
	c.add(50 * time.Minute)
	must(promote.Promote, second, production)
}

// A pipeline with releases more often than they soak promotes all the same, with a job that runs now and then; and what
// was rolled back does not come back by itself.
func TestCadence(t *testing.T) {
	s := newSoakingScene(t)
	c := &clock{time.Now()}
	ready := func() {
		t.Helper()
		o := s.options("")
		o.Ready, o.Now = true, func() time.Time { return c.Time }
		results, err := promote.Promote(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil && !errors.Is(r.Err, promote.ErrPending) && r.Action != promote.Denied {
				t.Fatalf("%s: %v", r.Stage, r.Err)
			}
		}
	}
	newest := s.releases[1]
	var promoted []string
	for range 7 {
		for range 4 {
			ready()
			c.add(10 * time.Minute)
		}
		if _, history := s.sound(production); len(history) > len(promoted) {
			promoted = append(promoted, history[0].Release)
		}
		newest = s.release()
		s.hydrate()
	}
	if len(promoted) < 2 {
		t.Errorf("in four hours and more, with a soak of two, production got %v", promoted)
	}
	if _, err := s.at(c, promote.Rollback, "", "staging"); err != nil {
		t.Fatal(err)
	}
	_, history := s.sound("staging")
	left := history[1].Release
	for range 15 {
		ready()
		c.add(10 * time.Minute)
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

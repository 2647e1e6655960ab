package promote_test

import (
	"errors"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

// The search for the newest release that passes ends at one that does not verify, at one that was rolled back from, and at what is live,
// whatever gates say of that by now. It passes over what was rolled back from under another name.
func TestSearchEnds(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	first, second := s.releases[0], s.releases[1]
	third := testworld.DemoRelease(t, s.demo)
	s.hydrate()
	s.must(promote.Promote, first, "staging")

	candidate := oci.CandidateTag("staging", third)
	s.retag("right", candidate)
	artifact := testworld.Push(t, s.tags(), fstest.MapFS{"app.yaml": {Data: []byte("kind: ConfigMap\n")}}, nil)
	s.retag(candidate, artifact.Descriptor.Digest.String())
	if r, err := s.try(promote.Promote, "", "staging"); !errors.Is(err, policy.ErrDenied) || r.Release != third {
		t.Errorf("not as it was hydrated: %s %s, %v", r.Action, r.Release, err)
	}
	s.retag(candidate, "right")

	s.must(promote.Promote, third, "staging")
	s.must(promote.Rollback, "", "staging")
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged {
		t.Errorf("%s is older than what was rolled back from, and %s %s", second, r.Release, r.Action)
	}

	testworld.Write(t, s.demo.SourceDir, map[string]string{"notes": "This is not rendered.\n"})
	same := testworld.DemoCommit(t, s.demo)
	s.hydrate()
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged {
		t.Errorf("%s has the content that was rolled back from, and %s %s", same, r.Release, r.Action)
	}

	s.must(promote.Promote, same, "staging")
	s.edit("lockage.yaml", "{name: staging, auto: true}", "{name: staging, auto: true, gates: [file: absent]}")
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged || r.Release != same {
		t.Errorf("live: %s %s", r.Action, r.Release)
	}
	s.retag(oci.CandidateTag("staging", same), artifact.Descriptor.Digest.String())
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged || r.Release != same {
		t.Errorf("live, and its candidate's tag names another artifact: %s %s", r.Action, r.Release)
	}
}

// What was rolled back from stays held when another release is promoted.
func TestHeldOn(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, head)
	third := testworld.DemoRelease(t, s.demo)
	s.hydrate()
	s.must(promote.Promote, s.releases[0], "staging")
	s.must(promote.Promote, third, "staging")
	s.must(promote.Rollback, "", "staging")
	s.must(promote.Promote, s.releases[1], "staging")
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged {
		t.Errorf("%s was rolled back from, and %s %s", third, r.Release, r.Action)
	}
}

// Another hydration of what is live is promoted like a newer release.
func TestHydratedAgain(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, head)
	s.must(promote.Promote, "", "staging")
	s.edit("apps/codeai/deployments/staging/values.yaml", "staging.acme", "next.acme")
	s.hydrate()
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Promoted || r.Release != s.releases[1] {
		t.Errorf("%s %s", r.Action, r.Release)
	}
}

// What was rolled back from counts for no later stage, also where another hydration of the same release is live.
func TestHydrationLeft(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, head)
	s.must(promote.Promote, "", "staging")
	s.edit("apps/codeai/deployments/staging/values.yaml", "staging.acme", "next.acme")
	s.edit("apps/codeai/deployments/production/values.yaml", "codeai.acme", "www.acme")
	s.hydrate()
	s.must(promote.Promote, "", "staging")
	if r := s.must(promote.Rollback, "", "staging"); r.Release != s.releases[1] {
		t.Fatalf("back at %s", r.Release)
	}
	if r, err := s.try(promote.Promote, s.releases[1], production); err == nil {
		t.Errorf("%s %s", r.Action, r.Release)
	}
}

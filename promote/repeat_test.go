package promote_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

// A Git server that takes no pushes does not fill the artifact with statements, run by run, until it bears no more.
func TestRefusedPushes(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	release := s.releases[1]
	s.must(promote.Promote, release, "staging")
	attached := func() int {
		desc, err := s.tags().Resolve(t.Context(), production+"."+release)
		if err != nil {
			t.Fatal(err)
		}
		referrers, err := s.tags().Referrers(t.Context(), desc, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(referrers)
	}
	before := attached()
	for i := range 2 {
		s.faults.refuse("POST /gitops.git/git-receive-pack")
		_, err := s.try(promote.Promote, release, production)
		if err == nil || !strings.Contains(err.Error(), "live ref") {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	s.faults.fail(0, "")
	if after := attached(); before == 0 || after != before {
		t.Errorf("%d statements were attached, and %d are", before, after)
	}
	s.must(promote.Promote, release, production)
	if _, history := s.sound(production); len(history) != 1 {
		t.Errorf("history %v", history)
	}
}

// What is live is promoted again over what somebody pushed by hand, also by the second attempt.
func TestOverUnpromoted(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	older := s.releases[0]
	for _, stage := range []string{"staging", production} {
		s.must(promote.Promote, older, stage)
	}
	clone := t.TempDir()
	testworld.Git(t, clone, "clone", "-q", "-b", "live/codeai/production", s.now().root+"/gitops.git", ".")
	testworld.Git(t, clone, "rm", "-q", "-r", "apps/codeai/production/deploy")
	testworld.Git(t, clone, "commit", "-q", "-m", "all gone")
	testworld.Git(t, clone, "push", "-q", "origin", "HEAD")

	s.faults.refuse("POST /gitops.git/git-receive-pack")
	if _, err := s.try(promote.Promote, older, production); err == nil {
		t.Fatal("pushed all the same")
	}
	s.faults.fail(0, "")
	if r := s.must(promote.Promote, older, production); r.Action != promote.Noop {
		t.Errorf("action %s", r.Action)
	}
	if _, history := s.sound(production); len(history) != 2 {
		t.Errorf("history %v", history)
	}
}

// A second rollback does not return to what the first one left, although that was live earlier, too.
func TestRollbackTwice(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	for _, release := range []string{s.releases[0], s.releases[1], s.releases[0]} {
		s.must(promote.Promote, release, "staging")
	}
	if r := s.must(promote.Rollback, "", "staging"); r.Release != s.releases[1] {
		t.Fatalf("rolled back to %s", r.Release)
	}
	if r, err := s.try(promote.Rollback, "", "staging"); err == nil || !strings.Contains(err.Error(), "nothing else was live") {
		t.Fatalf("rolled back to %s, %v", r.Release, err)
	}
	if r := s.must(promote.Rollback, s.releases[0], "staging"); r.Release != s.releases[0] {
		t.Fatalf("rolled back by name to %s", r.Release)
	}
	if r := s.must(promote.Rollback, s.releases[0], "staging"); r.Action != promote.Unchanged {
		t.Errorf("%s to what is live", r.Action)
	}
	_, other := testworld.KeyFile(t)
	s.write("keys/hydrator.pub", other)
	s.push("another hydrator")
	if r, err := s.try(promote.Rollback, s.releases[1], "staging"); !errors.Is(err, policy.ErrDenied) || !strings.Contains(err.Error(), "signature") {
		t.Errorf("nobody trusts who signed it: %s, %v", r.Action, err)
	}
}

// A rollback past a release holds that one too: it does not come back by itself, and is promoted to no other stage.
func TestRollbackPast(t *testing.T) {
	t.Parallel()
	s := newScene(t, true, mirrored+head)
	third := testworld.DemoRelease(t, s.demo)
	s.hydrate()
	first, second := s.releases[0], s.releases[1]
	for _, r := range []string{first, second, third} {
		s.must(promote.Promote, r, "staging")
	}
	s.must(promote.Promote, first, production)
	s.must(promote.Rollback, first, "staging")
	if r := s.must(promote.Promote, "", "staging"); r.Action != promote.Unchanged {
		t.Errorf("%s %s came back", r.Action, r.Release)
	}
	for _, r := range []string{second, third} {
		if _, err := s.try(promote.Promote, r, production); err == nil || !strings.Contains(err.Error(), "rolled back") {
			t.Errorf("%s: %v", r, err)
		}
	}
	s.must(promote.Promote, second, "staging")
	s.must(promote.Promote, second, production)
}

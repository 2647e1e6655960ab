package live_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/promote/live"
)

func TestNothingYet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if state := s.read(); state != (live.State{}) || state.Drift() {
		t.Errorf("state %+v", state)
	}
	if numbers, err := s.history(); err != nil || numbers != nil {
		t.Errorf("history %v, %v", numbers, err)
	}
	// Somebody tags a candidate by hand: drift, and nothing is live.
	s.tag(s.release(1))
	if state := s.read(); state.Live != nil || !state.Drift() {
		t.Errorf("state %+v", state)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(3)
	state := s.read()
	want := *all[3]
	if got := state.Live; got == nil || got.Sequence != 3 || got.To != want.To || *got.From != all[2].To || got.Referrer != want.Referrer ||
		got.Commit != want.Commit || got.Key != want.Key || !got.Time.Equal(want.Time) {
		t.Fatalf("live %+v, want %+v", got, want)
	}
	if string(state.Head) != want.Commit || string(state.Tree) != testworld.Git(t, s.bare, "rev-parse", branch+":"+path) ||
		state.Tag != want.To.Digest || state.Drift() || state.Unpromoted != nil {
		t.Errorf("state %+v", state)
	}
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{3, 2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}

	// The tag moves by hand to a candidate: drift.
	s.tag(s.release(9))
	if state := s.read(); !state.Drift() || state.Live.Sequence != 3 {
		t.Errorf("state %+v", state)
	}
	// And back to what was live before: drift, not more.
	s.tag(s.release(2))
	if state := s.read(); !state.Drift() || state.Live.Sequence != 3 {
		t.Errorf("state %+v", state)
	}
}

// Reading costs few requests, however long the history is.
func TestReadIsCheap(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.chain(12)
	s.stage.Remote = s.remote()
	s.registry.Forget()
	s.read()
	// The tag, two records with manifest and bundle, and the list for the tag's artifact with its record once more.
	if got := len(s.registry.Requests("")); got > 8 {
		t.Errorf("%d requests of the registry", got)
	}
	// References, two fetches, and what the server can do.
	if got := s.stage.Remote.Stats().RoundTrips; got > 4 {
		t.Errorf("%d requests of the forge", got)
	}
}

func TestHistoryEndsEarly(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.chain(6)
	for want := 1; want <= 6; want++ {
		seen := 0
		for _, err := range live.History(t.Context(), s.stage) {
			if err != nil {
				t.Error(err)
			}
			if seen++; seen == want {
				break
			}
		}
		if seen != want {
			t.Errorf("%d promotions instead of %d", seen, want)
		}
	}
}

// An artifact that goes live a second time carries two records.
func TestRollback(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	first, second := s.release(1), s.release(2)
	one := s.promote(s.next(nil, first))
	two := s.promote(s.next(one, second))
	s.promote(s.next(two, first))
	if state := s.read(); state.Live.Sequence != 3 || state.Live.To != first.Artifact {
		t.Errorf("live %+v", state.Live)
	}
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{3, 2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}
	// Set back by two, the tag is right and the ref is not.
	testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, one.Commit)
	wantBroken(t, s, "was set back", "carries promotion 3")
}

// A run is cut short after the record was written, and after the live ref moved.
func TestCutShort(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	one := s.promote(s.next(nil, s.release(1)))
	second := s.release(2)
	p := s.next(one, second)
	s.record(p)
	state := s.read()
	if state.Live.Sequence != 1 || state.Drift() {
		t.Errorf("only recorded: %+v", state)
	}
	if err := live.CheckArtifact(t.Context(), s.stage, state, second.Digest); err != nil {
		t.Errorf("what was only recorded: %v", err)
	}
	// The next run records it anew: two records with one number, and the commit says which counts.
	again := s.record(p)
	s.show(p, again.Referrer)
	if state = s.read(); state.Live.Referrer != again.Referrer || !state.Drift() {
		t.Errorf("not tagged yet: %+v", state)
	}
	s.tag(second)
	if state = s.read(); state.Drift() {
		t.Errorf("done: %+v", state)
	}
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}

	// The ref is set back: the tag does not know, the artifact does. Without the tag, one record may be unfinished.
	testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, one.Commit)
	wantBroken(t, s, "was set back", "carries promotion 2")
	s.tag(s.release(1))
	state = s.read()
	if err := live.CheckArtifact(t.Context(), s.stage, state, second.Digest); err != nil {
		t.Errorf("like one that was not finished: %v", err)
	}
	third := s.release(3)
	ahead := s.next(again, third)
	s.record(ahead)
	if err := live.CheckArtifact(t.Context(), s.stage, state, third.Digest); !errors.Is(err, live.ErrBroken) {
		t.Errorf("two ahead: %v", err)
	}
}

// wantBroken reads a state that is broken; its reason has the words.
func wantBroken(t *testing.T, s *scene, words ...string) {
	t.Helper()
	_, err := live.Read(t.Context(), s.stage)
	if !errors.Is(err, live.ErrBroken) {
		t.Errorf("got %v", err)
		return
	}
	for _, word := range append(words, "stage production of pipeline web") {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v, does not say %q", err, word)
		}
	}
	if _, err := s.history(); !errors.Is(err, live.ErrBroken) {
		t.Errorf("history: %v", err)
	}
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *scene, p *promotion, all []*live.Promotion)
		words  string
	}{
		"by another key":           {func(_ *scene, p *promotion, _ []*live.Promotion) { p.key = testworld.Key(t) }, "not signed by promoter"},
		"of another stage":         {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Stage = "staging" }, "in stage staging of pipeline web"},
		"of another pipeline":      {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Pipeline = "other" }, "of pipeline other"},
		"of another repository":    {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Repository = "example.com/other" }, "repository example.com/other"},
		"shown as another stage's": {func(_ *scene, p *promotion, _ []*live.Promotion) { p.stage = "staging" }, "web/staging"},
		"of other content":         {func(_ *scene, p *promotion, _ []*live.Promotion) { p.To.Content = digest.FromString("other") }, "is forged"},
		"forked":                   {func(_ *scene, p *promotion, all []*live.Promotion) { p.Previous = all[1].Referrer }, "there is a fork"},
		"with the same number": {func(_ *scene, p *promotion, all []*live.Promotion) {
			p.Sequence, p.Previous = 2, all[1].Referrer
		}, "are both promotion 2"},
		"begun anew":  {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Sequence, p.Previous = 1, "" }, "is a replay"},
		"with a gap":  {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Sequence = 5 }, "there is a gap"},
		"no sequence": {func(_ *scene, p *promotion, _ []*live.Promotion) { p.Sequence = 0 }, "has number 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			all := s.chain(2)
			p := s.next(all[2], s.release(3))
			test.change(s, p, all)
			s.promote(p)
			wantBroken(t, s, test.words)
		})
	}
}

// A commit names as its record something that is none.
func TestNoRecord(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(1)
	p := s.next(all[1], s.release(2))
	for referrer, words := range map[digest.Digest]string{
		"production":                "which is not a sha256 digest",
		digest.FromString("absent"): "its manifest is gone",
		s.release(1).Digest:         "signed statement",
		all[1].Referrer:             "proves nothing about " + p.release.Digest.String(), // the record of another artifact
	} {
		s.show(p, referrer)
		wantBroken(t, s, words)
		testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, all[1].Commit)
	}
}

// An old record comes back on a new commit; then the branch is set back to it.
func TestReplayAndTruncation(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(3)
	testworld.Git(t, s.bare, "branch", "kept", branch)
	for n := 1; n <= 2; n++ {
		old := s.next(nil, s.release(n))
		old.Promotion = all[n].Promotion
		s.show(old, all[n].Referrer)
		wantBroken(t, s, fmt.Sprintf("shows promotion %d again", n), "set the branch back to commit "+all[3].Commit)
		s.tag(s.release(n))
		wantBroken(t, s, "is a replay")
		s.tag(s.release(3))
		testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, "kept")
		testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, all[n].Commit)
		wantBroken(t, s, "was set back", fmt.Sprintf("knows promotions up to %d", n))
		testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, "kept")
	}
	testworld.Git(t, s.bare, "update-ref", "-d", "refs/heads/"+branch)
	wantBroken(t, s, "was set back", "knows no promotion")
	testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, "kept")
	s.read()
	// What is cut off at the other end: history says so, and what is newer is visited.
	orphan := testworld.Git(t, s.bare, "commit-tree", "-m", "cut", all[2].Commit+"^{tree}")
	newest := testworld.Git(t, s.bare, "commit-tree", "-p", orphan, "-m", "cut", all[3].Commit+"^{tree}")
	testworld.Git(t, s.bare, "update-ref", "refs/heads/"+branch, newest)
	if numbers, err := s.history(); !errors.Is(err, live.ErrBroken) || !slices.Equal(numbers, []int{3, 2}) || !strings.Contains(err.Error(), "nothing before it") {
		t.Errorf("history %v, %v", numbers, err)
	}
}

// Somebody pushes or merges by hand: a candidate without a record, a removal, an edit.
func TestByHand(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(2)
	candidate := s.next(all[2], s.release(3))
	s.show(candidate, "")
	state := s.read()
	if state.Unpromoted == nil || state.Unpromoted.Digest() != candidate.To.Digest || state.Live.Sequence != 2 || state.Drift() ||
		string(state.Tree) != testworld.Git(t, s.bare, "rev-parse", branch+":"+path) {
		t.Errorf("a candidate: %+v", state)
	}
	dir := s.clone()
	file := filepath.Join(dir, path, "configmap-web.yaml")
	if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte("theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.push(dir, "remove")
	if state = s.read(); state.Unpromoted == nil || state.Unpromoted.DrySHA != "" || state.Live.Sequence != 2 || state.Tree != "" {
		t.Errorf("removed: %+v", state)
	}

	// Promoted over it: the chain goes on.
	three := s.promote(candidate)
	if state = s.read(); state.Unpromoted != nil || state.Live.Sequence != 3 || state.Live.Commit != three.Commit {
		t.Errorf("promoted: %+v", state)
	}

	// An edit is broken until it is mended, and then it is as if it had not been.
	testworld.Git(t, dir, "pull", "-q")
	if err := os.WriteFile(file, []byte("kind: ConfigMap # edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	edit := s.push(dir, "edit")
	wantBroken(t, s, "changed files", edit)
	if numbers, _ := s.history(); !slices.Equal(numbers, []int{3, 2, 1}) {
		t.Errorf("history %v", numbers)
	}
	testworld.Git(t, dir, "revert", "--no-edit", "HEAD")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	if state = s.read(); state.Live.Sequence != 3 || state.Live.Commit != three.Commit {
		t.Errorf("mended: %+v", state.Live)
	}
	// On top of an edit that nobody mended, a promotion goes on too.
	testworld.Git(t, dir, "revert", "--no-edit", "HEAD")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	s.promote(s.next(three, s.release(4)))
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{4, 3, 2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}
}

// The first commit that shows a promotion has other files: nothing of it is as it was promoted.
func TestNeverIntact(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(1)
	dir := s.clone()
	file := filepath.Join(dir, path, "configmap-web.yaml")
	if err := os.WriteFile(file, []byte("kind: ConfigMap # edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, dir, "commit", "-q", "-a", "--amend", "-m", "edited")
	testworld.Git(t, dir, "push", "-q", "-f", "origin", "HEAD")
	wantBroken(t, s, "changed files")
	s.promote(s.next(all[1], s.release(2)))
	if numbers, err := s.history(); !errors.Is(err, live.ErrBroken) || !slices.Equal(numbers, []int{2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}
}

// Without a mirror, the tag leads to the chain.
func TestWithoutMirror(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.stage.Remote = nil
	if state := s.read(); state != (live.State{}) {
		t.Errorf("state %+v", state)
	}
	var before *live.Promotion
	promote := func(n int) *live.Promotion {
		p := s.next(before, s.release(n))
		before = s.record(p)
		s.tag(p.release)
		return before
	}
	one := promote(1)
	promote(2)
	third := promote(1) // back to it
	state := s.read()
	if state.Live == nil || state.Live.Referrer != third.Referrer || state.Live.Commit != "" || state.Drift() {
		t.Errorf("state %+v", state)
	}
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{3, 2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}
	// Recorded twice, since the first run was cut short: the later one.
	p := s.next(third, s.release(4))
	s.record(p)
	p.Reason = "again"
	p.Time = p.Time.AddDate(0, 0, 1)
	again := s.record(p)
	s.tag(p.release)
	if state := s.read(); state.Live.Referrer != again.Referrer {
		t.Errorf("live %+v", state.Live)
	}
	// One number, on top of two others: a fork.
	forked := s.next(one, s.release(4))
	forked.Sequence = 4
	s.record(forked)
	wantBroken(t, s, "there is a fork")
	// A record that names one as the one before that is not.
	gone := s.next(third, s.release(5))
	gone.Previous = one.Referrer
	s.record(gone)
	s.tag(gone.release)
	wantBroken(t, s, "there is a gap")
	lost := s.next(third, s.release(6))
	lost.Previous = digest.FromString("lost")
	s.record(lost)
	s.tag(lost.release)
	wantBroken(t, s, "is gone")
}

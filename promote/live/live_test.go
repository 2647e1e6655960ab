package live_test

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

func TestNothingYet(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if state := s.read(); state.Live != nil || state.Head != "" || state.Unpromoted != nil || state.Drift() {
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
	if got := state.Live; got == nil || got.Sequence != 3 || got.To != want.To || *got.From != all[2].To || got.Record != want.Record ||
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

// Reading costs few requests, however long the history is, and all of the history a few more: not some for each promotion.
func TestReadsAreCheap(t *testing.T) {
	t.Parallel()
	const length = 16
	s := newScene(t)
	s.chain(length)
	s.stage.Remote = s.remote()
	s.registry.Forget()
	s.read()
	// The tag, and the list for its artifact with one record.
	if got := len(s.registry.Requests("")); got > 4 {
		t.Errorf("%d requests of the registry", got)
	}
	// References, two fetches, and what the server can do.
	if got := s.stage.Remote.Stats().RoundTrips; got > 4 {
		t.Errorf("%d requests of the forge", got)
	}
	s.stage.Remote = s.remote()
	if numbers, err := s.history(); err != nil || len(numbers) != length {
		t.Fatalf("history %v, %v", numbers, err)
	}
	if got := s.stage.Remote.Stats().RoundTrips; got > 12 {
		t.Errorf("%d requests of the forge for the history", got)
	}
}

// The history of a state that was read is that of its head: the newest promotion is known, nobody is asked, and what is promoted since is
// not in it.
func TestHistoryOfState(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	chain := s.chain(3)
	s.stage.Remote = s.remote()
	state := s.read()
	s.promote(s.next(chain[2], s.release(4)))
	s.registry.Forget()
	asked := s.stage.Remote.Stats().RoundTrips
	for p, err := range live.HistoryOf(t.Context(), s.stage, state) {
		if err != nil || p.Sequence != 3 {
			t.Fatalf("%d, %v", p.Sequence, err)
		}
		break
	}
	if got := s.stage.Remote.Stats().RoundTrips - asked + int64(len(s.registry.Requests(""))); got != 0 {
		t.Errorf("%d requests for what is known", got)
	}
	var numbers []int
	for p, err := range live.HistoryOf(t.Context(), s.stage, state) {
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, p.Sequence)
	}
	if !slices.Equal(numbers, []int{3, 2, 1}) || len(s.registry.Requests("")) != 0 {
		t.Errorf("history %v, requests %v", numbers, s.registry.Requests(""))
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
	s.setBack(one.Commit)
	wantBroken(t, s, "has promotion 3", "lacks")
}

// A run is cut short after the live ref moved: the record in the commit counts, and the registry follows later.
func TestCutShort(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	one := s.promote(s.next(nil, s.release(1)))
	p := s.next(one, s.release(2))
	two := s.commit(p)
	if state := s.read(); state.Live.Record != two.Record || !state.Drift() {
		t.Errorf("not attached yet: %+v", state)
	}
	if err := live.Attach(t.Context(), s.repository, p.release.desc, two.Statements.Bundles, s.stage.Identities()); err != nil {
		t.Fatal(err)
	}
	if state := s.read(); state.Live.Record != two.Record || !state.Drift() {
		t.Errorf("not tagged yet: %+v", state)
	}
	s.tag(p.release)
	if state := s.read(); state.Drift() {
		t.Errorf("done: %+v", state)
	}
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}
}

// Of what a commit holds, that of the given identities is attached, and what is named by its digest, each once.
func TestAttach(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	desc := s.release(1).desc
	signed := func(key *sign.Key, release int) sign.Bundle {
		bundle, err := sign.Sign(t.Context(), key, sign.NewSignature(desc.Digest, sign.Claim{Pipeline: "web", Release: testworld.Release(release)}))
		if err != nil {
			t.Fatal(err)
		}
		return bundle
	}
	unknownKey := testworld.Key(t)
	own, foreign, named := signed(s.key, 1), signed(unknownKey, 2), signed(unknownKey, 3)
	bundles := []sign.Bundle{own, foreign, own, named}
	if err := live.Attach(t.Context(), s.repository, desc, bundles, []*sign.Verifier{s.promoter(s.key).Verifier}, named.Digest()); err != nil {
		t.Fatal(err)
	}
	referrers, err := s.repository.Referrers(t.Context(), desc, "")
	if err != nil {
		t.Fatal(err)
	}
	attached, err := sign.Read(t.Context(), s.repository, desc.Digest, referrers)
	if err != nil {
		t.Fatal(err)
	}
	var got []digest.Digest
	for _, bundle := range attached {
		got = append(got, bundle.Digest())
	}
	if want := []digest.Digest{own.Digest(), named.Digest()}; !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
		t.Errorf("attached %v, want %v", got, want)
	}
}

// A promotion is made between the look at Git and that at the registry: nothing is broken, and it is what is live.
func TestReadMeanwhile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	one := s.promote(s.next(nil, s.release(1)))
	next := s.next(one, s.release(2))
	var once sync.Once
	s.registry.Before(func(*http.Request) {
		once.Do(func() {
			s.registry.Intercept(nil)
			s.promote(next)
		})
	})
	if state := s.read(); state.Live.Sequence != 2 || state.Drift() {
		t.Errorf("state %+v", state)
	}
}

// The registry follows what is live, though the run that made it follow promoted something that is not live any more.
func TestFollowMeanwhile(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	one := s.promote(s.next(nil, s.release(1)))
	s.commit(s.next(one, s.release(2)))
	if err := s.stage.Follow(t.Context(), *one, git.Hash(one.Commit)); err != nil {
		t.Fatal(err)
	}
	if state := s.read(); state.Live.Sequence != 2 || state.Drift() {
		t.Errorf("state %+v", state)
	}
	s.setBack(one.Commit)
	wantBroken(t, s, "has promotion 2") // whose record was attached, too
}

// Records by any key are numbered as they claim, but for one that would leave no number above it.
func TestClaimed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(2)
	for _, test := range []struct{ number, highest int }{{3, 3}, {math.MaxInt32, 3}, {math.MaxInt, 3}, {7, 7}} {
		p := s.next(all[2], s.release(3))
		p.key, p.Sequence = testworld.Key(t), test.number
		s.commit(p)
		claimed, highest, err := s.stage.Claimed(t.Context())
		if err != nil || highest != test.highest || claimed[0].Sequence != test.number {
			t.Errorf("%d: %d records, the highest %d, %v", test.number, len(claimed), highest, err)
		}
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

// A commit with a record that does not count is one that somebody made by hand.
func TestForgeries(t *testing.T) {
	t.Parallel()
	late := func(change func(r *predicate.Promotion)) func(*scene, *promotion, []*live.Promotion) {
		return func(_ *scene, p *promotion, _ []*live.Promotion) { p.late = change }
	}
	for name, change := range map[string]func(s *scene, p *promotion, all []*live.Promotion){
		"by another key":        func(_ *scene, p *promotion, _ []*live.Promotion) { p.key = testworld.Key(t) },
		"of another stage":      func(_ *scene, p *promotion, _ []*live.Promotion) { p.Stage = "staging" },
		"of no release":         func(_ *scene, p *promotion, _ []*live.Promotion) { p.To.Release, p.Release = "", "" },
		"of another pipeline":   func(_ *scene, p *promotion, _ []*live.Promotion) { p.Pipeline = "other" },
		"of another repository": func(_ *scene, p *promotion, _ []*live.Promotion) { p.Repository = "example.com/other" },
		"after another commit": func(_ *scene, p *promotion, all []*live.Promotion) {
			p.late = func(r *predicate.Promotion) { r.Parent = all[1].Commit }
		},
		"after no commit":         late(func(r *predicate.Promotion) { r.Parent = "" }),
		"of another tree":         late(func(r *predicate.Promotion) { r.Tree = strings.Repeat("1", 40) }),
		"of no tree":              late(func(r *predicate.Promotion) { r.Tree = "" }),
		"without a random number": late(func(r *predicate.Promotion) { r.Nonce = "" }),
		"beside other statements": late(func(r *predicate.Promotion) { r.Beside = digest.FromString("what was taken away") }),
		"without a number":        func(_ *scene, p *promotion, _ []*live.Promotion) { p.Sequence = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			all := s.chain(2)
			p := s.next(all[2], s.release(3))
			change(s, p, all)
			forged := s.commit(p)
			state := s.read()
			if state.Live == nil || state.Live.Record != all[2].Record || state.Unpromoted == nil || string(state.Head) != forged.Commit {
				t.Errorf("state %+v", state)
			}
			if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{2, 1}) {
				t.Errorf("history %v, %v", numbers, err)
			}
			// What is promoted next follows on what counts.
			s.promote(s.next(all[2], s.release(4)))
			if state := s.read(); state.Live.To.Release != testworld.Release(4) || state.Unpromoted != nil {
				t.Errorf("promoted over it: %+v", state)
			}
		})
	}
}

// An old tree with its old record comes back in a new commit; then the branch is set back.
func TestReplayAndTruncation(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(3)
	for n := 1; n <= 2; n++ {
		replayed := testworld.Git(t, s.bare, "commit-tree", "-p", all[3].Commit, "-m", "replay", all[n].Commit+"^{tree}")
		s.setBack(replayed)
		if state := s.read(); state.Live.Record != all[3].Record || state.Unpromoted == nil {
			t.Errorf("replayed %d: %+v", n, state)
		}
		s.setBack(all[n].Commit)
		wantBroken(t, s, "has promotion 3", "was set back")
		s.setBack(all[3].Commit)
	}
	// With the tag at the older one too, the record of the one that was live since proves nothing: no reader is led to it.
	testworld.Git(t, s.bare, "update-ref", "-d", "refs/heads/"+branch)
	wantBroken(t, s, "has promotion 3", "was set back")
	s.setBack(all[3].Commit)
	s.read()
	// The newest promotion on another history follows no commit that it names.
	orphan := testworld.Git(t, s.bare, "commit-tree", "-m", "cut", all[2].Commit+"^{tree}")
	s.setBack(testworld.Git(t, s.bare, "commit-tree", "-p", orphan, "-m", "cut", all[3].Commit+"^{tree}"))
	wantBroken(t, s, "has promotion 3")
}

// The branch was set back, and another promotion has the number that the registry knows.
func TestAnotherOfTheSameNumber(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(2)
	s.setBack(all[1].Commit)
	s.commit(s.next(all[1], s.release(3)))
	wantBroken(t, s, "has promotion 2")
}

// A new beginning leaves what lies there as it is: that was not promoted, though the record is the newest.
func TestAnew(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	candidate := s.next(nil, s.release(1))
	s.show(candidate, nil)
	p := s.next(nil, release{})
	p.Action = predicate.Restarted
	change := ledger.Change{
		Artifact: ledger.Artifact{Claim: p.Claim}, Place: s.stage.Place, Time: p.Time,
		Promotion: &ledger.Promotion{
			Attest: func(ctx context.Context, parent, tree git.Hash) (ledger.Statements, error) {
				return s.attest(ctx, p, parent, tree)
			},
			Expected: s.read().Tree, Bare: true,
		},
	}
	if _, err := ledger.NewWriter(s.remote(), nil).Write(t.Context(), []ledger.Change{change}); err != nil {
		t.Fatal(err)
	}
	state := s.read()
	if state.Live != nil || state.Anew == nil || state.Unpromoted == nil || state.Unpromoted.Digest() != candidate.To.Digest {
		t.Errorf("state %+v", state)
	}
	one := s.promote(s.next(state.Anew, s.release(1)))
	if state = s.read(); state.Live.Record != one.Record || state.Unpromoted != nil {
		t.Errorf("promoted: %+v", state)
	}
}

// Somebody pushes or merges by hand: a candidate without a record, a removal, an edit, an edit in the commit itself.
func TestByHand(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(2)
	candidate := s.next(all[2], s.release(3))
	s.show(candidate, nil)
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

	// An edit counts for nothing until it is reverted, and then it is as if it had not been.
	testworld.Git(t, dir, "pull", "-q")
	if err := os.WriteFile(file, []byte("kind: ConfigMap # edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.push(dir, "edit")
	if state = s.read(); state.Unpromoted == nil || state.Live.Commit != three.Commit {
		t.Errorf("edited: %+v", state)
	}
	testworld.Git(t, dir, "revert", "--no-edit", "HEAD")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	if state = s.read(); state.Unpromoted != nil || state.Live.Commit != three.Commit {
		t.Errorf("reverted: %+v", state)
	}
	// On top of an edit that nobody reverted, a promotion goes on too.
	testworld.Git(t, dir, "revert", "--no-edit", "HEAD")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	s.promote(s.next(three, s.release(4)))
	if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{4, 3, 2, 1}) {
		t.Errorf("history %v, %v", numbers, err)
	}

	// The commit of a promotion is replaced by one with its record and other files: the registry knows the promotion.
	testworld.Git(t, dir, "fetch", "-q")
	testworld.Git(t, dir, "reset", "-q", "--hard", "origin/"+branch)
	if err := os.WriteFile(file, []byte("kind: ConfigMap # edited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	testworld.Git(t, dir, "commit", "-q", "-a", "--amend", "-m", "edited")
	testworld.Git(t, dir, "push", "-q", "-f", "origin", "HEAD")
	wantBroken(t, s, "has promotion 4")
}

// Somebody pushes a folder that has a name twice, which servers do not all refuse. What is live stays known, and what is pushed above it counts.
func TestFolderWithTwoEntriesOfOneName(t *testing.T) {
	t.Parallel()
	for _, at := range []string{path, path + "/sub", filepath.Dir(path)} {
		s := newScene(t)
		all := s.chain(2)
		dir := s.clone()
		object := func(content string) string {
			t.Helper()
			name := filepath.Join(t.TempDir(), "object")
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return testworld.Git(t, dir, "hash-object", "-w", "-t", "tree", "--literally", name)
		}
		raw := func(id string) string {
			data, err := hex.DecodeString(id)
			if err != nil {
				t.Fatal(err)
			}
			return string(data)
		}
		file := "100644 a\x00" + raw(testworld.Git(t, dir, "rev-parse", "HEAD:"+path+"/hydrator.metadata"))
		id := object(file + file)
		for _, name := range slices.Backward(strings.Split(at, "/")) {
			id = object("40000 " + name + "\x00" + raw(id))
		}
		commit := testworld.Git(t, dir, "commit-tree", "-p", "HEAD", "-m", "Twice", id)
		testworld.Git(t, dir, "push", "-q", "origin", commit+":refs/heads/"+branch)
		state := s.read()
		if state.Live == nil || state.Live.Record != all[2].Record || state.Unpromoted == nil {
			t.Errorf("%s: %+v", at, state)
		}
		testworld.Git(t, dir, "reset", "-q", "--hard", "HEAD")
		revert := testworld.Git(t, dir, "commit-tree", "-p", commit, "-m", "Put it back", "HEAD^{tree}")
		testworld.Git(t, dir, "push", "-q", "origin", revert+":refs/heads/"+branch)
		next := s.next(all[2], s.release(3))
		s.promote(next)
		if state = s.read(); state.Live == nil || state.Live.Sequence != 3 {
			t.Errorf("%s: %+v", at, state)
		}
		if numbers, err := s.history(); err != nil || !slices.Equal(numbers, []int{3, 2, 1}) {
			t.Errorf("%s: history %v, %v", at, numbers, err)
		}
	}
}

package live_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// rotated is a scene with three policy commits, in which the promoter's key is first the scene's, then next, and last newest.
type rotated struct {
	*scene
	next, newest *sign.Key
	at           []string // policy commits: at 1 the first key is the scene's, at 2 next, at 3 newest
}

func newRotated(t *testing.T) rotated {
	t.Helper()
	r := rotated{scene: newScene(t), next: testworld.Key(t), newest: testworld.Key(t), at: []string{policy}}
	ref := testworld.Files{History: testworld.History{policy}, At: map[string]fs.FS{}}
	for i, keys := range [][]*sign.Key{{r.key}, {r.next, r.key}, {r.newest, r.next, r.key}} {
		files := fstest.MapFS{
			"lockage.yaml": {Data: []byte(testworld.Pipeline("web", "registry.example.com", "promoter"))},
		}
		var text []byte
		for _, key := range keys {
			text = append(text, key.PublicKey().PEM()...)
		}
		files["keys/promoter.pub"] = &fstest.MapFile{Data: text}
		testworld.AddLock(files, "locks/web", testworld.Lock(strings.Repeat("1", 40)))
		commit := testworld.CommitID(i + 1)
		r.at, ref.History, ref.At[commit] = append(r.at, commit), append(ref.History, commit), files
	}
	r.stage.PolicyRef = ref
	r.trust(r.key)
	return r
}

// trust makes keys those of the policy ref's tip, the current one first.
func (r rotated) trust(keys ...*sign.Key) { r.stage.Promoter = r.promoter(keys...) }

// by promotes a release after another promotion, signed by a key and judged by a policy commit.
func (r rotated) by(key *sign.Key, at int, after *live.Promotion, n int) *live.Promotion {
	r.Helper()
	p := r.scene.next(after, r.release(n))
	p.key, p.Policy.Commit = key, r.at[at]
	return r.promote(p)
}

// counts reads a history that has the numbers, and what is live.
func (r rotated) counts(want ...int) {
	r.Helper()
	state := r.read()
	switch {
	case state.Live == nil:
		r.Error("nothing is live")
	case state.Live.Sequence != want[0]:
		r.Errorf("promotion %d is live instead of %d: %s", state.Live.Sequence, want[0], state.Refused)
	}
	if numbers, err := r.history(); err != nil || !slices.Equal(numbers, want) {
		r.Errorf("history %v, %v", numbers, err)
	}
}

// A key that was replaced counts for what it signed while it was the first one.
func TestRotation(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.key, 1, nil, 1)
	two := r.by(r.key, 1, one, 2)
	r.trust(r.next, r.key)
	r.counts(2, 1)
	// A run that began before the rotation ends after it.
	three := r.by(r.key, 1, two, 3)
	r.counts(3, 2, 1)
	four := r.by(r.next, 2, three, 4)
	r.counts(4, 3, 2, 1)
	r.trust(r.newest, r.next, r.key)
	r.counts(4, 3, 2, 1)
	five := r.by(r.newest, 3, four, 5)
	// The chain holds without the old keys.
	r.trust(r.newest)
	r.counts(5, 4, 3, 2, 1)
	if promotions := r.all(); promotions[4].Key != one.Key || promotions[4].Record != one.Record || five.Record != promotions[0].Record {
		t.Errorf("promotions %+v", promotions)
	}
}

// all returns the promotions, the newest first.
func (r rotated) all() []live.Promotion {
	r.Helper()
	var all []live.Promotion
	for p, err := range live.History(r.Context(), r.stage) {
		if err != nil {
			r.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// A key that was put away signs nothing more, whatever policy commit it names.
func TestKeyThatWasPutAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at    int // the policy commit that it names
		twice bool
		why   string
	}{
		"names the commit that put it away": {at: 2, why: "it was not the first there"},
		"names the tip":                     {at: 3, why: "it was not the first there"},
		"names the time when it was first":  {at: 1, why: "does not contain"},
		"so twice":                          {at: 1, twice: true, why: "does not contain"},
		"names a commit that is not there":  {at: 0, why: "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotated(t)
			one := r.by(r.key, 1, nil, 1)
			two := r.by(r.next, 2, one, 2)
			r.trust(r.next, r.key)
			forged := r.by(r.key, c.at, two, 3)
			if c.twice {
				r.by(r.key, c.at, forged, 4)
			}
			state := r.read()
			if state.Live == nil || state.Live.Record != two.Record || state.Unpromoted == nil || !strings.Contains(state.Refused, c.why) {
				t.Errorf("live %+v, refused %q", state.Live, state.Refused)
			}
			// A third key has not signed yet: the second one's promotion stands.
			r.trust(r.newest, r.next, r.key)
			r.counts(2, 1)
			// What is promoted next follows on what counts.
			r.by(r.newest, 3, two, 5)
			r.counts(3, 2, 1)
		})
	}
}

// Two keys that were put away do not vouch for each other: what one signed is judged by what lies below it, and not by itself.
func TestKeysThatWerePutAway(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.next, 2, nil, 1)
	forged := r.by(r.key, 1, one, 2)
	r.by(r.next, 3, forged, 3)
	r.trust(r.newest, r.next, r.key)
	r.counts(1)
}

// A history of nothing but what does not count is not an empty one.
func TestNothingButWhatDoesNotCount(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	r.by(r.key, 2, nil, 1)
	r.trust(r.newest, r.next, r.key)
	if _, err := live.ReadGit(t.Context(), r.stage); !errors.Is(err, live.ErrBroken) || !strings.Contains(err.Error(), "and nothing else does") {
		t.Errorf("got %v", err)
	}
}

// A key that was taken out of the file: what nobody built on since has no force.
func TestKeyThatWasTakenOut(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.key, 1, nil, 1)
	two := r.by(r.next, 2, one, 2)
	stolen := r.by(r.next, 2, two, 3)
	r.by(r.next, 2, stolen, 4)
	r.trust(r.newest)
	for _, read := range []func() error{
		func() error { _, err := live.ReadGit(t.Context(), r.stage); return err },
		func() error { _, err := r.history(); return err },
	} {
		if err := read(); !errors.Is(err, live.ErrBroken) || !strings.Contains(err.Error(), "put it back below the new one") || !strings.Contains(err.Error(), "lockage repair production") {
			t.Errorf("nothing that is trusted follows: %v", err)
		}
	}
	// A commit that only claims to be a promotion takes nothing from anybody.
	r.by(testworld.Key(t), 2, nil, 5)
	if _, err := live.ReadGit(t.Context(), r.stage); !errors.Is(err, live.ErrBroken) || !strings.Contains(err.Error(), "promotion 4") {
		t.Errorf("with junk on top: %v", err)
	}
	other := newRotated(t)
	other.by(testworld.Key(t), 1, nil, 1)
	if state, err := live.ReadGit(t.Context(), other.stage); err != nil || state.Live != nil {
		t.Errorf("only junk: %+v, %v", state, err)
	}

	// With the key of the promotion below in the file, that one is live, and what follows it goes on.
	r.trust(r.newest, r.key)
	r.counts(1)
	r.by(r.newest, 3, one, 6)
	r.counts(2, 1)
	r.trust(r.newest)
	r.counts(2, 1)
}

// The registry witnesses by keys that count alone.
func TestWitnessByKeyThatWasPutAway(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.key, 1, nil, 1)
	r.trust(r.next, r.key)
	forge := func(at int) {
		p := r.scene.next(one, r.release(1))
		p.Sequence, p.Policy.Commit = 9, r.at[at]
		statements, err := r.attest(t.Context(), p, "", "1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sign.Attach(t.Context(), r.repository, p.release.desc, statements.Bundles...); err != nil {
			t.Fatal(err)
		}
	}
	forge(2)
	r.counts(1)
	forge(1)
	wantBroken(t, r.scene, "has promotion 9")
}

// A key that was put away does not sign over what its successor promoted, whatever number it gives itself, after the branch was set back.
func TestKeyThatWasPutAwayOnABranchThatWasSetBack(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.key, 1, nil, 1)
	two := r.by(r.next, 2, one, 2)
	r.trust(r.next, r.key)
	r.setBack(one.Commit)
	forged := r.scene.next(one, r.release(1))
	forged.Sequence, forged.Policy.Commit = 9, r.at[1]
	r.commit(forged)
	wantBroken(t, r.scene, "has promotion 2")
	r.setBack(two.Commit)
	r.counts(2, 1)
}

// The chain goes through records of a key that was taken out, also while its head is by one that was put away.
func TestRotationOverAKeyThatWasTakenOut(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	one := r.by(r.next, 2, nil, 1)
	two := r.by(r.key, 1, one, 2)
	r.by(testworld.Key(t), 1, two, 9)
	three := r.by(r.key, 1, two, 3)
	r.trust(r.newest, r.key)
	r.counts(3, 2, 1)
	r.by(r.newest, 3, three, 4)
	r.counts(4, 3, 2, 1)
}

// A record that is named and missing ends the history.
func TestChainThatIsCut(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	all := s.chain(2)
	p := s.next(all[2], s.release(3))
	p.late = func(r *predicate.Promotion) { r.Previous = all[2].To.Digest }
	s.promote(p)
	if numbers, err := s.history(); !errors.Is(err, live.ErrBroken) || !slices.Equal(numbers, []int{3}) {
		t.Errorf("history %v, %v", numbers, err)
	}
}

// What nobody can prove any more, since the key was taken out, is not forgotten where the live ref is deleted besides: the registry shows that
// the promoter of that time signed it. A key that never was the promoter's stops nobody, and nothing that was taken out stops a stage that
// has begun anew.
func TestDeletedAfterKeyWasTakenOut(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	forged := r.next
	p := r.scene.next(nil, r.release(1))
	p.key, p.Policy.Commit = forged, r.at[1] // at which another one was the first
	r.promote(p)
	testworld.Git(t, r.bare, "update-ref", "-d", "refs/heads/"+branch)
	r.trust(r.newest)
	if state := r.read(); state.Newest() != nil {
		t.Errorf("live %+v", state.Live)
	}
	one := r.by(r.key, 1, nil, 2)
	r.by(r.key, 1, one, 3)
	testworld.Git(t, r.bare, "update-ref", "-d", "refs/heads/"+branch)
	if _, err := live.Read(t.Context(), r.stage); !errors.Is(err, live.ErrBroken) || !strings.Contains(err.Error(), "--reason TEXT") {
		t.Errorf("got %v", err)
	}
	r.by(r.newest, 3, nil, 3)
	r.counts(1)
}

// A record that nobody trusts and that names what no pipeline file can be stops nobody.
func TestRecordThatNamesNoPipelineFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "keys", "../lockage.yaml", "/lockage.yaml", "no\x00name", "keys/promoter.pub", "lockage.yaml/x", strings.Repeat("x", 5000)} {
		r := newRotated(t)
		p := r.scene.next(nil, r.release(1))
		p.key, p.Policy.Commit, p.Policy.File = testworld.Key(t), r.at[1], name
		statements, err := r.attest(t.Context(), p, "", "1")
		if err != nil {
			t.Fatal(err)
		}
		r.attach(p, &live.Promotion{Statements: statements})
		r.tag(p.release)
		if _, err := live.Read(t.Context(), r.stage); err != nil {
			t.Errorf("%.30q: %v", name, err)
		}
	}
}

// Records that nobody proves name one commit of the policy ref after the other: so many are not asked.
func TestRecordsOfVeryManyPolicyCommits(t *testing.T) {
	t.Parallel()
	r := newRotated(t)
	unknown, artifact := testworld.Key(t), r.release(1)
	var last *live.Promotion
	add := func(n int) {
		p := r.scene.next(last, artifact)
		p.key, p.Policy.Commit = unknown, testworld.CommitID(1000+n)
		last = r.promote(p)
	}
	for n := range 50 {
		add(n)
	}
	if state := r.read(); state.Newest() != nil {
		t.Errorf("live %+v", state.Live)
	}
	add(50)
	if _, err := live.ReadGit(t.Context(), r.stage); !errors.Is(err, live.ErrBroken) || !strings.Contains(err.Error(), "remove their commits from the branch, or `lockage repair") {
		t.Errorf("got %v", err)
	}
}

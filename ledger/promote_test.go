package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign"
)

// promotion is a change that puts a tree into force, over what the place has.
func promotion(t *testing.T, n int, over git.Hash, files ...string) ledger.Change {
	t.Helper()
	e := entry(t, "production", n, tree(files...))
	e.Branch = "live/web/production"
	e.Time = time.Date(2026, 4, 1, n, 0, 0, 0, time.UTC)
	e.Promotion = &ledger.Promotion{Attest: statements(n), Expected: over}
	return e
}

// statements are those of a promotion.
func statements(n int) func(context.Context, git.Hash, git.Hash) (ledger.Statements, error) {
	return func(_ context.Context, parent, tree git.Hash) (ledger.Statements, error) {
		record := sign.Bundle{JSON: fmt.Appendf(nil, `{"record":%d,"parent":%q,"tree":%q}`, n, parent, tree)}
		image := sign.ImageSignature{Payload: []byte("payload")}
		return ledger.Statements{Record: record.Digest(), Bundles: []sign.Bundle{record}, Images: []sign.ImageSignature{image}}, nil
	}
}

// record returns the record of a version.
func record(t *testing.T, r *git.Remote, v ledger.Version) string {
	t.Helper()
	s, err := v.Statements(t.Context(), r)
	if err != nil || len(s.Bundles) != 1 || len(s.Images) != 1 || string(s.Images[0].Payload) != "payload" {
		t.Fatalf("statements %+v, %v", s, err)
	}
	return string(s.Bundles[0].JSON)
}

// versions are all versions of a place, and where its branch stands.
func versions(t *testing.T, r *git.Remote, at ledger.Place) ([]ledger.Version, git.Hash) {
	t.Helper()
	var all []ledger.Version
	tips, err := r.Tips(t.Context(), at.Branch)
	if err == nil {
		err = ledger.History(t.Context(), r, tips[at.Branch], at.Path, func(v ledger.Version) (bool, error) {
			all = append(all, v)
			return true, nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return all, tips[at.Branch]
}

func TestPromotion(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	first := promotion(t, 1, "", "a.yaml", "one\n")
	write(t, f.writer(t), first)
	if got, want := testworld.Git(t, f.bare, "log", "-1", "--format=%B", first.Branch), "Promote web/production "+first.Release; !strings.HasPrefix(got, want+"\n\n") {
		t.Errorf("message:\n%s", got)
	}
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%(trailers:key=Lockage-Record,valueonly) %cI", first.Branch); !strings.HasPrefix(got, "sha256:") || !strings.HasSuffix(got, "\n 2026-04-01T01:00:00+00:00") {
		t.Errorf("trailer and time: %q", got)
	}
	standing := git.Hash(testworld.Git(t, f.bare, "rev-parse", first.Branch+":"+first.Path))

	// The same artifact by a newer record, from an older GitOps commit at that: written all the same.
	again := promotion(t, 1, standing, "a.yaml", "one\n")
	again.Promotion.Attest, again.Promotion.Verb, again.GitOps.Commit = statements(7), "Roll back", testworld.CommitID(0)
	if got := write(t, f.writer(t), again); !got[0].Written {
		t.Errorf("a new record: %+v", got)
	}
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%s", first.Branch); got != "Roll back web/production "+first.Release {
		t.Errorf("subject %q", got)
	}

	// What was decided over the first one comes too late.
	late := promotion(t, 2, standing, "a.yaml", "two\n")
	_, err := f.writer(t).Write(t.Context(), []ledger.Change{late})
	if !errors.Is(err, ledger.ErrMoved) || !strings.Contains(err.Error(), string(standing)) {
		t.Errorf("got %v", err)
	}
	empty := promotion(t, 2, "", "a.yaml", "two\n")
	if _, err := f.writer(t).Write(t.Context(), []ledger.Change{empty}); !errors.Is(err, ledger.ErrMoved) {
		t.Errorf("got %v", err)
	}
	if got := check(t, f.remote(t), again); got != "[]" {
		t.Errorf("check: %s", got)
	}
}

// Somebody pushes between our look and our push: that matters at our place only.
func TestPromotionRace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, path string
		err        error
	}{{"outside", "apps/web/other", nil}, {"here", "apps/web/production", ledger.ErrMoved}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			write(t, f.writer(t), promotion(t, 1, "", "a.yaml", "one\n"))
			e := promotion(t, 2, "", "a.yaml", "two\n")
			e.Promotion.Expected = git.Hash(testworld.Git(t, f.bare, "rev-parse", e.Branch+":"+e.Path))
			theirs := entry(t, "production", 3, tree("b.yaml", "theirs\n"))
			theirs.Branch, theirs.Path = e.Branch, test.path
			var lost atomic.Bool
			f.Before(func(r *http.Request) {
				if pushes(r) && lost.CompareAndSwap(false, true) {
					write(t, f.writer(t), theirs)
				}
			})
			_, err := f.writer(t).Write(t.Context(), []ledger.Change{e})
			if !errors.Is(err, test.err) || !lost.Load() {
				t.Errorf("got %v", err)
			}
			if got := check(t, f.remote(t), theirs); got != "[]" {
				t.Errorf("theirs: %s", got)
			}
		})
	}
}

// The answer to the push of a promotion is lost: it is recognised as done, though its record names the commit before.
func TestPromotionLostAnswer(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	var lost atomic.Bool
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !pushes(r) || !lost.CompareAndSwap(false, true) {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
	})
	e := promotion(t, 1, "", "a.yaml", "one\n")
	if got := write(t, f.writer(t), e)[0]; !lost.Load() || got.Commit != rev(t, f, e.Branch) {
		t.Errorf("%+v", got)
	}
	if got := testworld.Git(t, f.bare, "rev-list", "--count", e.Branch); got != "1" {
		t.Errorf("%s commits", got)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	first := promotion(t, 1, "", "a.yaml", "one\n")
	write(t, f.writer(t), first)
	testworld.Git(t, f.bare, "branch", "review", first.Branch)
	reviewed := entry(t, "production", 2, tree("a.yaml", "two\n"))
	reviewed.Branch = "review"
	head := write(t, f.writer(t), reviewed)[0].Commit
	e := promotion(t, 2, git.Hash(testworld.Git(t, f.bare, "rev-parse", first.Branch+":"+first.Path)), "a.yaml", "two\n")
	e.Promotion.Merge = git.Hash(head)
	base := testworld.Git(t, f.bare, "rev-parse", first.Branch)
	got := write(t, f.writer(t), e)[0].Commit
	if parents := testworld.Git(t, f.bare, "log", "-1", "--format=%P", got); parents != base+" "+head {
		t.Errorf("parents %s", parents)
	}
	testworld.Git(t, f.bare, "fsck", "--strict", "--no-dangling")
	// First parents tell the history: the reviewed commit is not one of its versions.
	all, _ := versions(t, f.remote(t), e.Place)
	if len(all) != 2 || string(all[0].Commit) != got || !strings.HasPrefix(record(t, f.remote(t), all[1]), `{"record":1,"parent":""`) {
		t.Errorf("versions %+v", all)
	}
}

func TestHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	at := promotion(t, 1, "", "a.yaml", "a\n").Place
	if all, head := versions(t, f.remote(t), at); len(all) != 0 || head != "" {
		t.Errorf("of nothing: %v at %q", all, head)
	}
	var over git.Hash
	var commits []string
	w := f.writer(t)
	const promotions = 30
	for n := 1; n <= promotions; n++ {
		e := promotion(t, n, over, "a.yaml", fmt.Sprint(n, "\n"), "folder/b.yaml", "b\n")
		commits = append(commits, write(t, w, e)[0].Commit)
		over = git.Hash(testworld.Git(t, f.bare, "rev-parse", e.Branch+":"+e.Path))
		if n%3 == 0 { // commits outside the place are not versions
			other := entry(t, "production", n, tree("a.yaml", fmt.Sprint(n, "\n")))
			other.Branch, other.Path = e.Branch, "apps/other"
			write(t, w, other)
		}
	}
	r := f.remote(t)
	all, head := versions(t, r, at)
	if len(all) != promotions || string(head) != testworld.Git(t, f.bare, "rev-parse", at.Branch) {
		t.Fatalf("%d versions, head %s", len(all), head)
	}
	for i, v := range all {
		n := promotions - i
		if string(v.Commit) != commits[n-1] || !v.Ours || v.Files == "" || !strings.HasPrefix(record(t, r, v), fmt.Sprintf(`{"record":%d,"parent":%q,"tree":%q`, n, v.Parent, v.Promoted)) ||
			string(v.Tree) != testworld.Git(t, f.bare, "rev-parse", commits[n-1]+":"+at.Path) {
			t.Errorf("version %d: %+v", n, v)
		}
	}

	// What people do by hand: an edit, foreign metadata, a file in the place of the folder, nothing at all.
	dir := f.clone(t, at.Branch)
	here := filepath.Join(dir, at.Path)
	put := func(name, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(at.Path+"/a.yaml", "edited\n")
	commitAndPush(t, dir, "edited")
	put(at.Path+"/hydrator.metadata", "{}\n")
	commitAndPush(t, dir, "not ours")
	if err := os.RemoveAll(here); err != nil {
		t.Fatal(err)
	}
	commitAndPush(t, dir, "gone")
	put(at.Path, "a file\n")
	commitAndPush(t, dir, "a file")
	all, _ = versions(t, r, at)
	var got []string
	for _, v := range all[:5] {
		got = append(got, fmt.Sprintf("%s %t %t", testworld.Git(t, f.bare, "log", "-1", "--format=%s", string(v.Commit)), v.Tree != "", v.Ours))
	}
	want := "[a file true false|gone false false|not ours true false|edited true true|Promote web/production " + all[4].Metadata.Lockage.Release + " true true]"
	if "["+strings.Join(got, "|")+"]" != want {
		t.Errorf("got  %s\nwant [%s]", strings.Join(got, "|"), want)
	}
}

// The newest versions cost three requests, however long the history is; all of them, not many more.
func TestHistoryRoundTrips(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	w := f.writer(t)
	var at ledger.Place
	for n := range 40 {
		e := entry(t, "production", n, tree("a.yaml", fmt.Sprint(n, "\n")))
		write(t, w, e)
		at = e.Place
	}
	for _, test := range []struct{ versions, trips int }{{2, 3}, {40, 12}} {
		r := f.remote(t)
		seen := 0
		tips, err := r.Tips(t.Context(), at.Branch)
		if err == nil {
			err = ledger.History(t.Context(), r, tips[at.Branch], at.Path, func(ledger.Version) (bool, error) {
				seen++
				return seen < test.versions, nil
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		// One request more asks what the server can do.
		if got := r.Stats().RoundTrips; seen != test.versions || got > int64(test.trips)+1 {
			t.Errorf("%d versions in %d round trips", seen, got)
		}
	}
}

package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
)

const reviewBranch = "review/web/production"

// proposal proposes a tree for the branch stage/production.
func proposal(t *testing.T, n int, tree fstest.MapFS) ledger.Change {
	t.Helper()
	e := entry(t, "production", n, tree)
	e.Review = reviewBranch
	return e
}

func parents(t *testing.T, f *forge, commit string) string {
	t.Helper()
	return testworld.Git(t, f.bare, "log", "-1", "--format=%P", commit)
}

func rev(t *testing.T, f *forge, branch string) string {
	t.Helper()
	return testworld.Git(t, f.bare, "rev-parse", "refs/heads/"+branch)
}

func TestProposal(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := proposal(t, 1, tree("a.yaml", "one\n"))

	// A stage branch that does not exist begins empty, or there is nothing to open a pull request into.
	first := write(t, f.writer(t), e)[0]
	base := rev(t, f, e.Branch)
	if got := testworld.Git(t, f.bare, "ls-tree", "-r", "--name-only", base); got != "" || parents(t, f, base) != "" {
		t.Errorf("the stage branch begins with %q, parents %q", got, parents(t, f, base))
	}
	if !first.Written || first.Commit != rev(t, f, reviewBranch) || first.Base != base || parents(t, f, first.Commit) != base {
		t.Errorf("%+v, on %s", first, base)
	}
	if got := testworld.Git(t, f.bare, "log", "-1", "--format=%(trailers:key=Lockage-Base,valueonly)", first.Commit); got != base {
		t.Errorf("Lockage-Base: %q", got)
	}
	if got := write(t, f.writer(t), e)[0]; got.Written || got.Commit != first.Commit || got.Base != base || got.Landed {
		t.Errorf("again: %+v", got)
	}

	// Others write outside the path on the stage branch: what the reviewer saw still holds.
	other := entry(t, "test", 1, tree("b.yaml", "theirs\n"))
	other.Branch = e.Branch
	write(t, f.writer(t), other)
	if got := write(t, f.writer(t), e)[0]; got.Written || got.Commit != first.Commit {
		t.Errorf("outside the path: %+v", got)
	}

	// Somebody merged another release: one more commit, on the new base, with their files.
	newer := entry(t, "production", 0, tree("a.yaml", "zero\n"))
	newer.Branch, newer.Release = e.Branch, testworld.Release(2)
	write(t, f.writer(t), newer)
	p, err := ledger.Proposed(t.Context(), f.remote(t), reviewBranch, e.Place)
	if err != nil || p.Current || p.Landed || string(p.Head) != first.Commit || string(p.Base) != base {
		t.Errorf("%+v, %v", p, err)
	}
	second := write(t, f.writer(t), e)[0]
	moved := rev(t, f, e.Branch)
	if !second.Written || second.Base != moved || parents(t, f, second.Commit) != moved {
		t.Errorf("%+v, parents %s", second, parents(t, f, second.Commit))
	}
	if got := testworld.Git(t, f.bare, "diff", "--name-only", moved, second.Commit); got != e.Path+"/a.yaml\n"+e.Path+"/hydrator.metadata" {
		t.Errorf("a merge would change\n%s", got)
	}

	// Merged, by fast-forward: nothing is left to propose.
	testworld.Git(t, f.bare, "update-ref", "refs/heads/"+e.Branch, second.Commit)
	if got := write(t, f.writer(t), e)[0]; got.Written || !got.Landed || got.Commit != second.Commit {
		t.Errorf("merged: %+v", got)
	}
	if p, err = ledger.Proposed(t.Context(), f.remote(t), reviewBranch, e.Place); err != nil || !p.Landed {
		t.Errorf("%+v, %v", p, err)
	}
}

// A live branch names records, and shows what is proposed all the same.
func TestProposalOfWhatIsLive(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	live := promotion(t, 1, "", "a.yaml", "one\n")
	live.Branch = "stage/production"
	at := write(t, f.writer(t), live)[0].Commit
	if got := write(t, f.writer(t), proposal(t, 1, tree("a.yaml", "one\n")))[0]; !got.Landed || got.Written || got.Commit != at {
		t.Errorf("%+v", got)
	}
}

// A commit by hand on the review branch is put right by a commit that takes its place.
func TestProposalEdited(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	e := proposal(t, 1, tree("a.yaml", "one\n"))
	write(t, f.writer(t), e)
	dir := t.TempDir()
	testworld.Git(t, dir, "clone", "-q", "-b", reviewBranch, f.bare, "clone")
	testworld.Git(t, dir+"/clone", "rm", "-q", e.Path+"/a.yaml")
	testworld.Git(t, dir+"/clone", "commit", "-q", "-m", "by hand")
	testworld.Git(t, dir+"/clone", "push", "-q", "origin", "HEAD")
	p, err := ledger.Proposed(t.Context(), f.remote(t), reviewBranch, e.Place)
	if err != nil || p.Current {
		t.Errorf("a commit on top of ours is a current proposal: %+v, %v", p, err)
	}
	got := write(t, f.writer(t), e)[0]
	if !got.Written || parents(t, f, got.Commit) != rev(t, f, e.Branch) {
		t.Errorf("%+v, parents %s", got, parents(t, f, got.Commit))
	}
	if got := testworld.Git(t, f.bare, "show", reviewBranch+":"+e.Path+"/a.yaml"); got != "one" {
		t.Errorf("the file is %q", got)
	}
}

// What somebody else made of the branches is not a proposal of the change, though it has its files: it is proposed anew.
func TestProposalByOthers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		arrange func(t *testing.T, f *forge, e ledger.Change, head string)
		current bool
	}{
		"merged, and reverted": {arrange: func(t *testing.T, f *forge, e ledger.Change, head string) {
			before := rev(t, f, e.Branch) + "^{tree}"
			reverted := testworld.Git(t, f.bare, "commit-tree", "-p", head, "-m", "Revert", before)
			testworld.Git(t, f.bare, "update-ref", "refs/heads/"+e.Branch, reverted)
		}},
		"on a commit of their own": {arrange: func(t *testing.T, f *forge, e ledger.Change, head string) {
			base := testworld.Git(t, f.bare, "commit-tree", "-m", "Another beginning", rev(t, f, e.Branch)+"^{tree}")
			own := testworld.Git(t, f.bare, "commit-tree", "-p", base, "-m", "Propose", head+"^{tree}")
			testworld.Git(t, f.bare, "update-ref", "refs/heads/"+e.Review, own)
		}},
		"of another release": {current: true, arrange: func(t *testing.T, f *forge, e ledger.Change, head string) {
			dir := f.clone(t, e.Review)
			metadata := filepath.Join(e.Path, ledger.MetadataFile)
			text := strings.ReplaceAll(testworld.Git(t, f.bare, "show", head+":"+metadata), e.Release, testworld.Release(9))
			testworld.Write(t, dir, map[string]string{metadata: text + "\n"})
			testworld.Git(t, dir, "commit", "-q", "-a", "--amend", "-m", "Propose")
			testworld.Git(t, dir, "push", "-q", "-f", "origin", "HEAD")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			e := proposal(t, 1, tree("a.yaml", "one\n"))
			first := write(t, f.writer(t), e)[0]
			test.arrange(t, f, e, first.Commit)
			p, err := ledger.Proposed(t.Context(), f.remote(t), e.Review, e.Place)
			if err != nil || p.Current != test.current || p.Landed {
				t.Errorf("%+v, %v", p, err)
			}
			got := write(t, f.writer(t), e)[0]
			if want := rev(t, f, e.Branch); !got.Written || parents(t, f, got.Commit) != want {
				t.Errorf("%+v, parents %s, want %s", got, parents(t, f, got.Commit), want)
			}
			if again := write(t, f.writer(t), e)[0]; again.Written || again.Commit != got.Commit {
				t.Errorf("again: %+v", again)
			}
		})
	}
}

// The next proposal takes the place of the one before, and a folder of another stage is not written to.
func TestProposalNext(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	write(t, f.writer(t), proposal(t, 1, tree("a.yaml", "one\n")))
	second := write(t, f.writer(t), proposal(t, 2, tree("a.yaml", "two\n")))[0]
	if !second.Written || parents(t, f, second.Commit) != rev(t, f, "stage/production") || rev(t, f, reviewBranch) != second.Commit {
		t.Errorf("%+v, parents %s", second, parents(t, f, second.Commit))
	}
	if p, err := ledger.Proposed(t.Context(), f.remote(t), reviewBranch, proposal(t, 2, nil).Place); err != nil || p.Shows.Lockage.Release != proposal(t, 2, nil).Release {
		t.Errorf("%+v, %v", p, err)
	}
	taken := proposal(t, 1, tree("a.yaml", "one\n"))
	testworld.Git(t, f.bare, "update-ref", "refs/heads/"+taken.Branch, second.Commit) // merged
	taken.Stage, taken.Review = "other", "review/web/other"
	if got := write(t, f.writer(t), taken)[0]; !errors.Is(got.Err, ledger.ErrTaken) || got.Written {
		t.Errorf("%+v", got)
	}
}

// Many proposals for one branch move in one push, and do not disturb each other.
func TestManyProposals(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	var entries []ledger.Change
	for i := range 20 {
		e := entry(t, fmt.Sprint("stage-", i), 1, tree("a.yaml", fmt.Sprintln(i)))
		e.Branch, e.Review = "env", fmt.Sprintf("review/web/stage-%d", i)
		entries = append(entries, e)
	}
	for i, want := range []int{2, 0} { // one more for the branch that they are for
		f.Forget()
		for _, result := range write(t, f.writer(t), entries...) {
			if result.Written != (i == 0) || result.Base != rev(t, f, "env") {
				t.Errorf("%+v", result)
			}
		}
		if got := len(f.Requests("POST /repo.git/git-receive-pack")); got != want {
			t.Errorf("%d pushes, want %d", got, want)
		}
	}
	testworld.Git(t, f.bare, "update-ref", "refs/heads/env", entries[0].Review)
	if got := write(t, f.writer(t), entries[1])[0]; got.Written {
		t.Errorf("another stage was merged, and it is proposed anew: %+v", got)
	}
}

func TestProposedNothing(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	p, err := ledger.Proposed(t.Context(), f.remote(t), reviewBranch, ledger.Place{Branch: "stage/production", Path: "apps"})
	if err != nil || p.Head != "" || p.Current || p.Landed || p.Shows.Digest() != "" {
		t.Errorf("%+v, %v", p, err)
	}
}

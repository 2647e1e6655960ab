package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign"
)

// nameOf names the entry of a change.
func nameOf(c ledger.Change) ledger.Candidate {
	return ledger.Candidate{Branch: "candidates/" + c.Pipeline, Claim: c.Claim}
}

// candidate is the entry that the ledger has in the place of a change's.
func candidate(t *testing.T, r *git.Remote, c ledger.Change) (*ledger.Candidates, ledger.Entry, bool) {
	t.Helper()
	all, err := ledger.ReadCandidates(t.Context(), r, nameOf(c))
	if err != nil {
		t.Fatal(err)
	}
	e, ok, err := all.Entry(t.Context(), nameOf(c))
	if err != nil {
		t.Fatal(err)
	}
	return all, e, ok
}

func TestEntriesAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	c := entry(t, "staging", 1, tree("a.yaml", "a\n"))
	if _, _, ok := candidate(t, f.remote(t), c); ok {
		t.Error("an empty repository has an entry")
	}
	write(t, f.writer(t), c)
	_, got, ok := candidate(t, f.remote(t), c)
	if want := hydrated(c).Hydration.Entry; !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("entry: %v\n%+v, want\n%+v", ok, got, want)
	}
	if tip := testworld.Git(t, f.bare, "ls-tree", "-r", "--name-only", "candidates/web"); tip != "staging/"+c.Release+".jsonl" {
		t.Errorf("files: %s", tip)
	}
}

// A stage without a mirror has nothing but its entry.
func TestEntryWithoutPlace(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	c := entry(t, "staging", 1, tree("a.yaml", "a\n"))
	c.Place = ledger.Place{}
	c.Tree = func(context.Context) (fs.FS, error) { return nil, errors.New("asked for the tree") }
	if got := write(t, f.writer(t), c)[0]; !got.Recorded || got.Written || got.Commit != "" {
		t.Errorf("%+v", got)
	}
	if got := write(t, f.writer(t), c)[0]; got.Recorded || got.Entry.Digest != c.Digest {
		t.Errorf("again: %+v", got)
	}
	if got := testworld.Git(t, f.bare, "for-each-ref", "--format=%(refname)"); got != "refs/heads/candidates/web" {
		t.Errorf("branches: %s", got)
	}
}

// One fetch reads an entry of a history with many.
func TestEntriesCostWhatIsWanted(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	var last ledger.Change
	for n := range 12 {
		last = entry(t, "staging", n, tree("a.yaml", fmt.Sprintln(n)))
		last.Release = testworld.Release(n)
		write(t, f.writer(t), last)
	}
	r := f.remote(t)
	if _, e, ok := candidate(t, r, last); !ok || e.Digest != last.Digest {
		t.Errorf("%v %+v", ok, e)
	}
	if trips := r.Stats().RoundTrips; trips > 5 {
		t.Errorf("%d round trips", trips)
	}
}

// knew reports whether an entry named an artifact at any time.
func knew(t *testing.T, all *ledger.Candidates, name ledger.Candidate, artifact digest.Digest) (bool, error) {
	t.Helper()
	return all.Had(t.Context(), name, func(e ledger.Entry) (bool, error) { return e.Digest == artifact, nil })
}

// What the tip replaced is known, and what never was there is not.
func TestKnew(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	first := entry(t, "staging", 1, tree("a.yaml", "one\n"))
	second := entry(t, "staging", 2, tree("a.yaml", "two\n"))
	other := entry(t, "test", 3, tree("a.yaml", "three\n"))
	write(t, f.writer(t), first)
	write(t, f.writer(t), second, other)
	all, _, _ := candidate(t, f.remote(t), first)
	for name, test := range map[string]struct {
		artifact digest.Digest
		want     bool
	}{"the tip's": {second.Digest, true}, "what it replaced": {first.Digest, true}, "another stage's": {other.Digest, false}} {
		if got, err := knew(t, all, nameOf(first), test.artifact); err != nil || got != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// Of many releases, those stay that the caller keeps; the history has the others.
func TestOldEntriesLeaveTheTip(t *testing.T) {
	if testing.Short() {
		t.Skip("many commits")
	}
	t.Parallel()
	f := newForge(t)
	asked := 0
	var first ledger.Change
	for n := range ledger.MaxCandidates + 2 {
		c := entry(t, "staging", n, tree("a.yaml", fmt.Sprintln(n)))
		c.Release = testworld.Release(n)
		if n == 0 {
			first = c
		}
		c = hydrated(c)
		c.Hydration.Keep = func(_ context.Context, releases []string) ([]string, error) {
			asked++
			slices.Sort(releases)
			return releases[1:], nil
		}
		if _, err := f.writer(t).Write(t.Context(), []ledger.Change{c}); err != nil {
			t.Fatal(err)
		}
	}
	all, _, ok := candidate(t, f.remote(t), first)
	if ok || asked != 2 {
		t.Errorf("the oldest is there: %v; asked %d times", ok, asked)
	}
	if releases, err := all.Releases(t.Context(), "candidates/web", "staging"); err != nil || len(releases) != ledger.MaxCandidates {
		t.Errorf("%d releases, %v", len(releases), err)
	}
	if knew, err := knew(t, all, nameOf(first), first.Digest); err != nil || !knew {
		t.Errorf("forgotten: %v", err)
	}
}

// What somebody else wrote in an entry's place does not count, and hydration writes the entry again. Where it cannot be one of
// another pipeline file either, it is an error for readers.
func TestEntryForged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forge func(e *ledger.Entry)
		want  error
	}{
		"of another stage":      {func(e *ledger.Entry) { e.Stage = "test" }, ledger.ErrEntry},
		"of another release":    {func(e *ledger.Entry) { e.Release = testworld.Release(2) }, ledger.ErrEntry},
		"of another pipeline":   {func(e *ledger.Entry) { e.Pipeline = "infra" }, nil},
		"of another repository": {func(e *ledger.Entry) { e.Repository = "registry.example.com/other" }, nil},
		"a space":               {nil, ledger.ErrEntry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			c := entry(t, "staging", 1, tree("a.yaml", "a\n"))
			write(t, f.writer(t), c)
			e, space := hydrated(c).Hydration.Entry, " "
			if test.forge != nil {
				test.forge(&e)
				space = ""
			}
			text, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			dir := f.clone(t, "candidates/web")
			testworld.Write(t, dir, map[string]string{"staging/" + c.Release + ".jsonl": strings.Replace(string(text), "{", "{"+space, 1)})
			commitAndPush(t, dir, name)
			all, err := ledger.ReadCandidates(t.Context(), f.remote(t), nameOf(c))
			if err != nil {
				t.Fatal(err)
			}
			_, ok, err := all.Entry(t.Context(), nameOf(c))
			if ok || !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), "candidates/web") {
				t.Errorf("%v, %v", ok, err)
			}
			if got := write(t, f.writer(t), c)[0]; !got.Recorded || got.Written {
				t.Errorf("%+v", got)
			}
		})
	}
}

// Reasons show the fields of an entry to people, and paths and requests are made of them, before anything is proven.
func TestHostileEntry(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(e *ledger.Entry){
		"escapes in a URL":         func(e *ledger.Entry) { e.GitOps.URL = "https://g.example/\x1b[2K" },
		"two lines in a stage":     func(e *ledger.Entry) { e.Stage = "staging\nproduction: promoted" },
		"a release without end":    func(e *ledger.Entry) { e.Release = strings.Repeat("a", 5000) },
		"a commit that is none":    func(e *ledger.Entry) { e.Source.Commit = "--all" },
		"a tree that is none":      func(e *ledger.Entry) { e.Files = "HEAD" },
		"an artifact without bits": func(e *ledger.Entry) { e.Digest = "sha256:" },
		"an image that is a tag":   func(e *ledger.Entry) { e.Image = "latest" },
	} {
		e := hydrated(entry(t, "staging", 1, tree("a.yaml", "a\n"))).Hydration.Entry
		forge(&e)
		text, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.ParseEntry(text); !errors.Is(err, ledger.ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Metadata that somebody wrote to fit what he edited does not keep the branch from being put right.
func TestForgedMetadataIsMended(t *testing.T) {
	t.Parallel()
	newer := func(m *ledger.Metadata) { m.DrySHA, m.Lockage.Release = testworld.CommitID(9), testworld.Release(9) }
	for name, test := range map[string]struct {
		forge func(*ledger.Metadata)
		file  string
	}{
		"as it was":             {func(*ledger.Metadata) {}, "edited\n"},
		"a newer GitOps commit": {func(m *ledger.Metadata) { m.DrySHA = testworld.CommitID(9) }, "edited\n"},
		"a newer release":       {newer, "edited\n"},
		"of the same files":     {newer, "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newForge(t)
			c := entry(t, "production", 1, tree("a.yaml", "a\n"))
			write(t, f.writer(t), c)
			dir := f.clone(t, c.Branch)
			file := filepath.Join(dir, c.Path, ledger.MetadataFile)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m, _ := ledger.ParseMetadata(data)
			test.forge(&m)
			m.Lockage.Repository = ""
			if data, err = json.MarshalIndent(m, "", "  "); err != nil {
				t.Fatal(err)
			}
			testworld.Write(t, dir, map[string]string{c.Path + "/a.yaml": test.file, c.Path + "/" + ledger.MetadataFile: string(data) + "\n"})
			commitAndPush(t, dir, "forged")
			if got := write(t, f.writer(t), c)[0]; !got.Written || got.Superseded {
				t.Errorf("%+v", got)
			}
			if got := check(t, f.remote(t), c); got != "[]" {
				t.Errorf("check: %s", got)
			}
		})
	}
}

// A late run neither replaces the entry of a newer one nor shows an older release on the branch.
func TestOlderRelease(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	newer := entry(t, "staging", 5, tree("a.yaml", "newer\n"))
	newer.Release = testworld.Release(2)
	write(t, f.writer(t), newer)
	got := write(t, f.writer(t), entry(t, "staging", 4, tree("a.yaml", "older\n")))[0]
	if !got.Recorded || got.Written || !got.Superseded {
		t.Errorf("%+v", got)
	}
	if got := check(t, f.remote(t), newer); got != "[]" {
		t.Error(got)
	}
}

// A folder that belongs to another pipeline or stage is refused, and so is one above or below it. Other changes go on.
func TestFolderOfAnother(t *testing.T) {
	t.Parallel()
	f := newForge(t)
	first := entry(t, "staging", 1, tree("a.yaml", "a\n"))
	write(t, f.writer(t), first)
	for _, path := range []string{"apps/web/staging", "apps/web", "apps/web/staging/infra"} {
		second := entry(t, "staging", 2, tree("b.yaml", "b\n"))
		second.Pipeline, second.Path = "infra", path
		third := entry(t, "test", 2, tree("c.yaml", "c\n"))
		results := write(t, f.writer(t), second, third)
		if err := results[0].Err; !errors.Is(err, ledger.ErrTaken) || !strings.Contains(err.Error(), "stage staging of pipeline web") || !strings.Contains(err.Error(), "stage staging of pipeline infra") {
			t.Errorf("%s: %v", path, err)
		}
		if results[0].Recorded || results[0].Written || results[1].Err != nil {
			t.Errorf("%s: %+v", path, results)
		}
	}
	if got := check(t, f.remote(t), first); got != "[]" {
		t.Error(got)
	}
}

func FuzzParseEntry(f *testing.F) {
	e := ledger.Entry{
		Artifact: ledger.Artifact{
			Claim:  sign.Claim{Pipeline: "web", Stage: "test", Release: testworld.Release(1), Repository: "r.example/web"},
			Files:  git.Hash(testworld.CommitID(3)),
			Source: ledger.Origin{Commit: testworld.CommitID(1)}, GitOps: ledger.Origin{Commit: testworld.CommitID(2), URL: "https://g.example"},
		},
		Input:      digest.FromString("input"),
		Statements: ledger.Statements{Bundles: []sign.Bundle{{JSON: []byte("{}")}}, Images: []sign.ImageSignature{{Payload: []byte("x")}}},
	}
	e.Digest, e.Content = digest.FromString("a"), digest.FromString("b")
	text, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := ledger.ParseEntry(text); err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := ledger.ParseEntry(data)
		if err != nil {
			if !errors.Is(err, ledger.ErrEntry) {
				t.Error(err)
			}
			return
		}
		if again, err := e.Encode(); err != nil || string(again) != string(data) {
			t.Errorf("written again: %q, %v", again, err)
		}
	})
}

package board

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
)

// large returns a board of pipelines with so many stages each: a first stage, and all others after it or one after the other.
func large(pipelines, stages int, row bool) *Board {
	now := time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)
	b := &Board{PolicyRef: "origin@main at 46bcb3f", Time: now, Status: []byte("{}\n")}
	for i := range pipelines {
		p := &Pipeline{Name: fmt.Sprintf("app-%d", i)}
		for j := range stages {
			artifact := func(n int) *Artifact {
				return &Artifact{Release: fmt.Sprintf("git-%040x", n), Digest: digest.FromString(fmt.Sprint(i, j, n))}
			}
			s := &Stage{Name: fmt.Sprintf("stage-%d", j), Live: artifact(1), Since: now.Add(-time.Hour), Candidate: artifact(1)}
			if j > 0 {
				s.After = []string{p.Stages[0].Name}
				if row {
					s.After = []string{p.Stages[j-1].Name}
				}
			}
			if j%3 == 1 {
				s.Candidate = artifact(2)
				retry := now.Add(time.Hour)
				s.verdict = &promote.Result{Release: s.Candidate.Release, Action: promote.Pending, Gates: []policy.GateResult{
					{Gate: "soak", Result: policy.Pending, Reason: "live in staging for 1h, and has to be for 2h", RetryAfter: &retry},
				}}
			}
			p.Stages = append(p.Stages, s)
		}
		p.releases = []*release{{ID: p.Stages[0].Live.Release}, {ID: fmt.Sprintf("git-%040x", 2)}}
		b.Pipelines = append(b.Pipelines, p)
	}
	return b
}

// index renders the first page.
func index(t testing.TB, b *Board) string {
	t.Helper()
	var page bytes.Buffer
	err := b.files(func(name string, render func(io.Writer) error) error {
		if name != indexFile {
			return nil
		}
		return render(&page)
	})
	if err != nil {
		t.Fatal(err)
	}
	return page.String()
}

// A thousand stages are less than a megabyte, however they are spread over pipelines, and each of them can be found.
func TestLarge(t *testing.T) {
	t.Parallel()
	for _, b := range []*Board{large(1, 1000, false), large(125, 8, true), large(250, 4, false)} {
		page := index(t, b)
		if len(page) > 1e6 {
			t.Errorf("%d pipelines: %d bytes", len(b.Pipelines), len(page))
		}
		if n := strings.Count(page, "<article class=\"stage ") - strings.Count(page, "stage several"); n != 1000 {
			t.Errorf("%d pipelines: %d stages", len(b.Pipelines), n)
		}
		for _, p := range b.Pipelines {
			for _, s := range p.Stages {
				if !strings.Contains(page, s.Live.Digest.Encoded()) || !strings.Contains(page, ">"+s.Name+"<") {
					t.Fatalf("%s/%s is not on the page", p.Name, s.Name)
				}
			}
		}
		for _, want := range []string{"<b>333</b> waiting", "<b>667</b> up to date"} {
			if len(b.Pipelines) == 1 && !strings.Contains(page, want) {
				t.Errorf("the page lacks %q", want)
			}
		}
	}
}

// The graph has a stage to the right of those that it follows, one edge for each of these, and no two cards in one place.
func TestGraph(t *testing.T) {
	t.Parallel()
	stages := []*Stage{
		{Name: "staging"}, {Name: "test", After: []string{"staging"}}, {Name: "load", After: []string{"staging"}},
		{Name: "production", After: []string{"test", "load"}}, {Name: "other"},
	}
	for i := range maxColumn + 1 {
		stages = append(stages, &Stage{Name: fmt.Sprintf("fleet-%d", i), After: []string{"production"}})
	}
	g := newGraph(stages)
	var got []string
	for _, n := range g.Nodes {
		name := ""
		if n.Stage == nil {
			name = n.Title()
		} else {
			name = n.Name
		}
		got = append(got, fmt.Sprintf("%s %d/%d", name, n.Column, n.Row))
	}
	want := "staging 1/1, other 1/2, test 2/1, load 2/2, production 3/1, fleet-… (7 stages) 4/1"
	if list := strings.Join(got, ", "); list != want {
		t.Errorf("got %s\nwant %s", list, want)
	}
	if len(g.Edges) != 5 {
		t.Errorf("%d edges: %q", len(g.Edges), g.Edges)
	}
}

// Everything that other people wrote is text on the pages.
func TestHostile(t *testing.T) {
	t.Parallel()
	const hostile = `</script><img src=x onerror=alert(1)> javascript:alert(1) "onmouseover=x ` + "\u202e"
	b := large(1, 2, true)
	s := b.Pipelines[0].Stages[1]
	b.PolicyRef, s.Name, s.Note, s.Error, s.problems = hostile, hostile, hostile, hostile, []string{hostile}
	s.Candidate.Release, b.Pipelines[0].releases[1].ID = hostile, hostile
	s.verdict.Release, s.verdict.Gates[0].Gate, s.verdict.Gates[0].Reason = hostile, hostile, hostile+" https://example.com/?a=b'\"><b>"
	s.verdict.Gates[0].RetryAfter = nil
	b.Pipelines[0].Notes = []string{hostile}
	pages := 0
	script := regexp.MustCompile(`(?s)<script>.*?</script>|<style>.*?</style>`)
	err := b.files(func(name string, render func(io.Writer) error) error {
		pages++
		if strings.ContainsAny(name, `<>" `) {
			t.Errorf("a file is named %q", name)
		}
		var page bytes.Buffer
		if err := render(&page); err != nil {
			return err
		}
		text := script.ReplaceAllString(page.String(), "")
		for _, bad := range []string{"<img", "</script", "\u202e", `href="javascript`, `"onmouseover`} {
			if strings.Contains(text, bad) {
				t.Errorf("%s holds %q:\n%s", name, bad, text)
			}
		}
		return nil
	})
	if err != nil || pages != 4 {
		t.Errorf("%d files: %v", pages, err)
	}
}

// A folder with something else is refused; that of an earlier run gets the new files, and loses the old ones alone.
func TestWrite(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "site")
	if err := large(2, 2, true).Write(dir); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "app-1", "theirs.txt")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := large(1, 2, true).Write(dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, strings.TrimPrefix(name, dir+string(filepath.Separator)))
		}
		return err
	})
	want := fmt.Sprintf(".lockage-board app-0/git-%040x.html app-0/git-%040x.html app-1/theirs.txt index.html status.json", 1, 2)
	if list := filepath.ToSlash(strings.Join(got, " ")); err != nil || list != want {
		t.Errorf("the folder has %s\nwant %s, %v", list, want, err)
	}
	if err := os.Remove(filepath.Join(dir, listFile)); err != nil {
		t.Fatal(err)
	}
	if err := large(1, 2, true).Write(dir); !errors.Is(err, ErrFolder) {
		t.Errorf("a folder without a list: %v", err)
	}
}

func BenchmarkIndex(b *testing.B) {
	board := large(125, 8, true)
	for b.Loop() {
		index(b, board)
	}
}

// TestManyChanges has more candidates than the board compares: the pages say so of the others.
func TestManyChanges(t *testing.T) {
	t.Parallel()
	b := large(1, 12, false)
	var all []*declared
	for _, s := range b.Pipelines[0].Stages {
		d := &declared{Stage: s}
		d.as.Pipeline = b.Pipelines[0].Name
		all = append(all, d)
	}
	if some := changing(all, 2); len(some) != 2 || some[0].Name != "stage-1" || some[1].Name != "stage-4" || some[1].change != nil {
		t.Errorf("compared are %d stages", len(some))
	}
	shown := 0
	err := b.files(func(_ string, render func(io.Writer) error) error {
		var page bytes.Buffer
		err := render(&page)
		shown += strings.Count(page.String(), "lockage diff live:app-0/stage-7 candidate:app-0/stage-7 shows this one")
		return err
	})
	if err != nil || shown != 1 {
		t.Errorf("%d pages say what is not compared: %v", shown, err)
	}
}

package stagediff_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
)

// side makes a side of "pipeline/stage" names.
func side(name string, complete bool, versions ...string) stagediff.Side {
	s := stagediff.Side{Name: name, Complete: complete}
	for _, version := range versions {
		pipeline, stage, _ := strings.Cut(version, "/")
		s.Versions = append(s.Versions, stagediff.Version{Pipeline: pipeline, Stage: stage, Label: name, Files: files(version)})
	}
	return s
}

// files is a tree with one object that says its name.
func files(value string) func(context.Context) (fs.FS, error) {
	return func(context.Context) (fs.FS, error) {
		return fstest.MapFS{"c.yaml": {Data: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: %q}\n", value)}}, nil
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	release := []string{"web/staging", "web/production"}
	for _, test := range []struct {
		name          string
		before, after stagediff.Side
		want          string // "before>after" of each comparison, or of the error
	}{
		{"two stages", side("staging", false, "web/staging"), side("production", false, "web/production"), "web/staging>web/production"},
		{"two stages in two pipelines", side("a", false, "web/a", "api/a"), side("b", false, "api/b", "web/b"), "api/a>api/b web/a>web/b"},
		{"a stage that one of two pipelines has", side("a", false, "web/a", "api/a"), side("b", false, "web/b"), "web/a>web/b"},
		{"two releases", side("r1", true, release...), side("r2", true, release...), "web/staging>web/staging web/production>web/production"},
		{"a new and a removed stage", side("r1", true, "web/a", "web/b"), side("r2", true, "web/b", "web/c"), "web/b>web/b >web/c web/a>"},
		{"a release and a stage", side("r1", true, release...), side("live:production", false, "web/production"), "web/production>web/production"},
		{"a stage and a release", side("live:staging", false, "web/staging"), side("r1", true, release...), "web/staging>web/staging"},
		{"an artifact and a stage", side("r:t", false, "/"), side("staging", false, "web/staging"), "/>web/staging"},
		{"an artifact and a release", side("r:t", false, "/"), side("r1", true, release...), "r:t is one artifact, and r1 is 2 stages: web/staging, web/production"},
		{"a release and an artifact", side("r1", true, release...), side("r:t", false, "/"), "r:t is one artifact, and r1 is 2 stages"},
		{"nothing in common", side("r1", true, release...), side("r2", false, "api/x", "api/y"), "no pipeline has both"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			comparisons, err := stagediff.Match(test.before, test.after)
			if err != nil {
				if !errors.Is(err, stagediff.ErrNoMatch) || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v; want %q", err, test.want)
				}
				return
			}
			name := func(s *stagediff.Version) string {
				if s == nil {
					return ""
				}
				return s.Pipeline + "/" + s.Stage
			}
			var got []string
			for _, c := range comparisons {
				got = append(got, name(c.Before)+">"+name(c.After))
			}
			if d := cmp.Diff(test.want, strings.Join(got, " ")); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	version := func(stage, label string, value string) *stagediff.Version {
		return &stagediff.Version{Pipeline: "web", Stage: stage, Label: label, Files: files(value)}
	}
	lost := &stagediff.Version{Pipeline: "web", Stage: "lost", Label: "git-1", Files: func(context.Context) (fs.FS, error) { return nil, fs.ErrNotExist }}
	got, err := stagediff.Compare(t.Context(), []stagediff.Comparison{
		{Before: version("a", "git-1", "x"), After: version("a", "git-2", "y")},
		{Before: version("b", "git-1", "x"), After: version("b", "git-2", "x")},
		{Before: lost, After: version("lost", "git-2", "x")},
		{Before: version("a", "git-1", "x"), After: version("c", "git-1", "y")},
		{Before: &stagediff.Version{Pipeline: "web", Stage: "d", Label: "live"}, After: version("d", "git-2", "x")},
		{Before: version("e", "git-1", "x")},
	}, diff.Options{})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(fmt.Sprint(err), "web/lost, git-1") {
		t.Errorf("a stage that cannot be read is %v", err)
	}
	var titles []string
	for _, s := range got {
		titles = append(titles, fmt.Sprintf("%s %d%d%d", s.Title(), s.Changes.Counts.Added, s.Changes.Counts.Removed, s.Changes.Counts.Changed))
	}
	want := []string{"web/a (git-1 to git-2) 001", "web/c (a git-1 to c git-1) 001", "web/d (new, git-2) 100", "web/e (gone) 010"}
	if d := cmp.Diff(want, titles); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

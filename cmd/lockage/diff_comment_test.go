package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
	"github.com/lockage/lockage/publish"
)

func TestPullRequestOfJob(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		env  map[string]string
		want int
	}{
		{map[string]string{"GITHUB_REF": "refs/pull/17/merge"}, 17},
		{map[string]string{"GITHUB_REF": "refs/pull/18/head"}, 18},
		{map[string]string{"GITHUB_REF": "refs/heads/pull/17/merge"}, 0},
		{map[string]string{"GITHUB_REF": "refs/pull/17/merge/x"}, 0},
		{map[string]string{"CI_MERGE_REQUEST_IID": "19"}, 19},
		{map[string]string{"CI_MERGE_REQUEST_IID": "-1"}, 0},
		{map[string]string{"CI_MERGE_REQUEST_IID": "x"}, 0},
		{nil, 0},
	} {
		if got := pullRequestOf(func(name string) string { return test.env[name] }); got != test.want {
			t.Errorf("%v is %d, want %d", test.env, got, test.want)
		}
	}
}

func TestCommentBody(t *testing.T) {
	t.Parallel()
	stages := []stagediff.Change{{Pipeline: "web", Stage: "production", Before: "git-1", After: "git-1",
		Changes: diff.Changes{Counts: diff.Counts{Removed: 1}, Objects: []diff.ObjectChange{{Change: diff.Removed, Kind: "Service", Name: "web"}}}}}
	failed := errors.New("templates/x.yaml: @everyone <img src=x>")
	for _, test := range []struct {
		name   string
		stages []stagediff.Change
		err    error
		want   []string
	}{
		{"nothing", nil, nil, []string{"No stage is affected."}},
		{"a stage", stages, nil, []string{"### `web/production (git-1)`", "1 removed", "`Service web`"}},
		{"some failed", stages, failed, []string{"could not be compared", "1 removed"}},
	} {
		got, err := commentBody(test.stages, test.err, "", 65_000)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", test.name, want, got)
			}
		}
		if strings.Contains(got, "@everyone") || test.err != nil && strings.Contains(got, "No stage") {
			t.Errorf("%s:\n%s", test.name, got)
		}
	}
}

func TestMarkerTellsQuestionsApart(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	met := map[string]bool{}
	for _, d := range []differ{
		{app: &app{dir: root}, base: "main"},
		{app: &app{dir: root}, commit: "c"},
		{app: &app{dir: root}, lock: "l.yaml"},
		{app: &app{dir: root, part: publish.Shard{Number: 1, Of: 2}}, base: "main"},
		{app: &app{dir: root, part: publish.Shard{Number: 2, Of: 2}}, base: "main"},
		{app: &app{dir: root + "/apps"}, base: "main"},
		{app: &app{dir: root, files: []string{"a.yaml"}}, base: "main"},
		{app: &app{dir: root}, base: "main", args: []string{"staging"}},
	} {
		met[d.marker(root)] = true
	}
	again := differ{app: &app{dir: root}, base: "another"}
	if met[again.marker(root)] = true; len(met) != 8 {
		t.Errorf("%d markers of 8 questions", len(met))
	}
}

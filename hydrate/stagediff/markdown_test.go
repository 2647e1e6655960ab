package stagediff_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate/diff"
	"github.com/lockage/lockage/hydrate/stagediff"
)

// TestMarkdownOfManyStages checks that the limit holds, however many stages there are, and that each of them is there.
func TestMarkdownOfManyStages(t *testing.T) {
	t.Parallel()
	for _, count := range []int{1, 3, 16, 17, 400} {
		var comparisons []stagediff.Comparison
		for i := range count {
			version := stagediff.Version{Pipeline: "web", Stage: fmt.Sprintf("s%d", i), Label: "branch `x`", Files: files(strings.Repeat(fmt.Sprintf("text %d\n", 1000+i), 200))}
			comparisons = append(comparisons, stagediff.Comparison{After: &version})
		}
		stages, err := stagediff.Compare(t.Context(), comparisons, diff.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := stagediff.WriteMarkdown(&b, stages, diff.MarkdownOptions{}); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if len(text) > diff.MarkdownLimit {
			t.Errorf("%d stages take %d bytes", count, len(text))
		}
		if detailed, more := strings.Count(text, "### `web/"), strings.Count(text, "\n- `web/"); detailed+more != count {
			t.Errorf("of %d stages %d are shown and %d named", count, detailed, more)
		}
		if strings.Contains(text, "branch `") {
			t.Errorf("a label ends its code span: %.200q", text)
		}
	}
}

// TestGroups checks that changes that differ by the names of their stages alone are shown once, and others are not.
func TestGroups(t *testing.T) {
	t.Parallel()
	var comparisons []stagediff.Comparison
	for _, c := range []struct{ stage, label, text string }{{"staging", "one", "of staging"}, {"test", "one", "of test"}, {"qa", "two", "of qa"}, {"prod", "one", "of staging"}} {
		version := stagediff.Version{Pipeline: "web", Stage: c.stage, Label: c.label, Files: files(c.text)}
		comparisons = append(comparisons, stagediff.Comparison{After: &version})
	}
	stages, err := stagediff.Compare(t.Context(), comparisons, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	groups := stagediff.Groups(stages)
	if len(groups) != 2 || groups[0].Stage != "staging" || groups[1].Stage != "prod" {
		t.Fatalf("groups are %+v", groups)
	}
	if got, want := groups[0].Others(9), "and alike, but for the names, in 2 more: web/test, web/qa (new, two)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := groups[0].Others(1), "and alike, but for the names, in 2 more: web/test, …"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := groups[1].Others(9); got != "" {
		t.Errorf("%q, want nothing", got)
	}
}

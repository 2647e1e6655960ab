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
			version := stagediff.Version{Pipeline: "web", Stage: fmt.Sprintf("s%d", i), Label: "branch `x`", Files: files(strings.Repeat("text\n", 300))}
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

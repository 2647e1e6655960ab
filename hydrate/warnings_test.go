package hydrate

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	var w Warnings
	if lines := w.Lines(); len(lines) > 0 {
		t.Errorf("%q of no warning", lines)
	}
	w.Add("web/test", "one", "two")
	w.Add("web/prod")
	w.Add("app/test", "one", "one")
	for i := range 10 {
		w.Add(fmt.Sprintf("fleet/%d", i), "many")
	}
	want := []string{
		"app/test, web/test: one",
		"fleet/0, fleet/1, fleet/2, fleet/3, fleet/4, fleet/5, fleet/6, fleet/7 and 2 more: many",
		"web/test: two",
	}
	if diff := cmp.Diff(want, w.Lines()); diff != "" {
		t.Error(diff)
	}
}

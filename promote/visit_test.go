package promote

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// past goes back through a stage's history, written oldest first: «a b <a» is a, then b, then a rollback to a. The second hydration of
// b is b2, or b2=a if it has the content of a; «!a:b,c» begins anew with a and holds b and c, and «~a» carries a over.
func past(history string) iter.Seq2[visit, error] {
	artifact := func(word string) predicate.Artifact {
		name, content, _ := strings.Cut(word, "=")
		return predicate.Artifact{Release: name[:1], Digests: oci.Digests{Digest: digest.FromString(name), Content: contentOf(cmp.Or(content, name))}}
	}
	var promotions []live.Promotion
	for i, word := range strings.Fields(history) {
		action := map[byte]predicate.Action{'<': predicate.RolledBack, '!': predicate.Restarted, '~': predicate.Carried}[word[0]]
		name, holds, _ := strings.Cut(strings.TrimLeft(word, "<!~"), ":")
		p := predicate.Promotion{
			Action: cmp.Or(action, predicate.Promoted), Sequence: i + 1, To: artifact(name), Time: time.Unix(int64(i+1), 0),
			Checks: []predicate.Check{{Evidence: []digest.Digest{digest.FromString(word)}}},
		}
		for _, held := range strings.FieldsFunc(holds, func(r rune) bool { return r == ',' }) {
			p.Holds = append(p.Holds, artifact(held))
		}
		promotions = append(promotions, live.Promotion{Promotion: p})
	}
	return visits(func(yield func(live.Promotion, error) bool) {
		for _, p := range slices.Backward(promotions) {
			if !yield(p, nil) {
				return
			}
		}
	})
}

func contentOf(name string) digest.Digest { return digest.FromString("content of " + name) }

// TestHeld asks whether a hydration may come back by itself.
func TestHeld(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]struct{ held, free string }{
		"a b":           {"", "a b c"},
		"a b <a":        {"b b2", "a c"},
		"a b <a b":      {"", "b a"},
		"a b <a b2":     {"b", "b2 b3"}, // the release was promoted again, and not that hydration
		"b b2 <b":       {"b2", "b b3"},
		"a b c <a":      {"b c", "a"},
		"a b !a:b":      {"b b2", "a c"},
		"a b !a:b b2":   {"b", "b2 b3"},
		"a b <a c":      {"b", "c a"},
		"a b !a:b ~a c": {"b", "a c"},
	} {
		var visited []visit
		for v := range past(history) {
			visited = append(visited, v)
		}
		for _, candidate := range strings.Fields(want.held + " " + want.free) {
			got := held(visited, candidate[:1], digest.FromString(candidate))
			if wanted := slices.Contains(strings.Fields(want.held), candidate); got != wanted {
				t.Errorf("%s: %s is held: %v", history, candidate, got)
			}
		}
	}
}

// TestLeftContents lists the contents that do not come back under another release's name.
func TestLeftContents(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]string{
		"":              "",
		"a b":           "",
		"a b <a":        "b",
		"a b c <a":      "b c",
		"b b2 <b":       "b2",
		"a b <a c":      "",
		"a b <a ~a":     "b",
		"a b c !a:b,c":  "b c",
		"a b !a:b ~a":   "b",
		"a b !a:b c":    "",
		"a b c <b d <b": "d",
	} {
		left, err := leftContents(past(history))
		if err != nil || len(left) != len(strings.Fields(want)) {
			t.Errorf("%s: %d contents, %v", history, len(left), err)
		}
		for _, name := range strings.Fields(want) {
			if !left[contentOf(name)] {
				t.Errorf("%s: %s is not left", history, name)
			}
		}
	}
}

// TestReturns says since when evidence about a release counts, and what was counted for it before that.
func TestReturns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		history, release string
		since            int64 // 0 for ever
		spent            string
	}{
		{"a b", "b", 0, ""},
		{"a b <a", "b", 3, "b"},
		{"a b <a", "a", 0, ""},
		{"a b c <a", "b", 4, "b"},
		{"a b b2 <a", "b", 4, "b2 b"},
		{"a b <a b", "b", 0, ""},
		{"a b !a:b", "b", 4, ""}, // a second later: both are whole seconds
		{"a b !a:b", "a", 0, ""},
		{"a b <a !a:b", "b", 5, "b"},
	} {
		var visited []visit
		for v := range past(test.history) {
			visited = append(visited, v)
		}
		var got policy.Facts
		returns(visited, test.release, &got)
		var since time.Time
		if test.since > 0 {
			since = time.Unix(test.since, 0)
		}
		var spent []digest.Digest
		for _, word := range strings.Fields(test.spent) {
			spent = append(spent, digest.FromString(word))
		}
		if !got.RolledBack.Equal(since) || !slices.Equal(got.Spent, spent) {
			t.Errorf("%s: %s counts since %v, and %d pieces of evidence are spent", test.history, test.release, got.RolledBack, len(got.Spent))
		}
	}
}

// TestBefore finds what a rollback returns to, of a release or of any.
func TestBefore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ history, release, want string }{
		{"a", "", ""},
		{"a b", "", "a"},
		{"a b", "a", "a"},
		{"a b c", "a", "a"},
		{"a b", "c", ""},
		{"a b2=b b", "", "a"},
		{"a b <a", "", ""},
		{"a b <a", "b", "b"},
		{"a b a <b", "", ""},     // a was left, and was live before that, too
		{"a b c <b", "", "a"},    // c was left
		{"a b <a b2=a", "", "b"}, // the release was promoted again
		{"a b <a b c", "", "b"},
	} {
		var live digest.Digest
		for v := range past(test.history) {
			live = v.To.Content
			break
		}
		p, err := before(past(test.history), "staging", test.release, live)
		switch {
		case test.want == "" && !errors.Is(err, errNothingBefore), test.want != "" && (err != nil || p.To.Digest != digest.FromString(test.want)):
			t.Errorf("%s: to %q of %q: %+v, %v", test.history, test.want, test.release, p, err)
		}
	}
}

// TestRollbacks goes back through stages' histories.
func TestRollbacks(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]string{
		"a b":              "",
		"a b <a":           "b",
		"a b c <a":         "b c",
		"a b <a c":         "b",
		"a b <a b":         "b", // the first time
		"a b c <b <a":      "c b",
		"a b c <b d <a":    "c b d",
		"a b c <a d e <d":  "b c e",
		"a b c d <b e <a":  "c d e b",
		"a b c <b d <b":    "c d",
		"a b <a c <a d <c": "a b c d",
	} {
		wanted := map[string]bool{}
		for _, name := range strings.Fields(want) {
			wanted[name] = true
		}
		left := map[string]bool{}
		for v := range past(history) {
			if by := v.undone; by != nil {
				left[v.To.Release] = true
				if by.Action != predicate.RolledBack || by.Sequence <= v.Sequence {
					t.Errorf("%s: %d was left by %d", history, v.Sequence, by.Sequence)
				}
			}
		}
		for _, name := range strings.Split("a b c d e", " ") {
			if left[name] != wanted[name] {
				t.Errorf("%s: %s left: %t", history, name, left[name])
			}
		}
	}
}

// TestRollbackLooks distinguishes a release that was never live from one that is older than what is looked at.
func TestRollbackLooks(t *testing.T) {
	t.Parallel()
	for length, want := range map[int]string{
		maxLookback - 1: "release git-old was not live in staging",
		maxLookback:     "newest 500 promotions, and rollback looks at no older ones",
	} {
		past := func(yield func(visit, error) bool) {
			for range length {
				if !yield(visit{Promotion: live.Promotion{Promotion: predicate.Promotion{To: predicate.Artifact{Release: "git-live"}}}}, nil) {
					return
				}
			}
		}
		if _, err := before(past, "staging", "git-old", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("after %d promotions: %v", length, err)
		}
	}
}

package promote

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// past goes back through a stage's history, written oldest first: «a b <a» is a, then b, then a rollback to a. The second hydration of
// b is b2, or b2=a if it has the content of a; «!a:b,c» begins anew with a and holds b and c, and «~a» carries a over. Each promotion has
// an approval of its own.
func past(t *testing.T, history string) iter.Seq2[live.Promotion, error] {
	t.Helper()
	artifact := func(word string) predicate.Artifact {
		name, content, _ := strings.Cut(word, "=")
		return predicate.Artifact{Release: name[:1], Digests: oci.Digests{Digest: digest.FromString(name), Content: contentOf(cmp.Or(content, name))}}
	}
	var promotions []live.Promotion // the newest first
	all := func(yield func(live.Promotion, error) bool) {
		for _, p := range promotions {
			if !yield(p, nil) {
				return
			}
		}
	}
	for i, word := range strings.Fields(history) {
		action := map[byte]predicate.Action{'<': predicate.RolledBack, '!': predicate.Restarted, '~': predicate.Carried}[word[0]]
		name, anew, _ := strings.Cut(strings.TrimLeft(word, "<!~"), ":")
		p := predicate.Promotion{Action: cmp.Or(action, predicate.Promoted), Sequence: i + 1, To: artifact(name), Time: time.Unix(int64(i+1), 0)}
		if len(promotions) > 0 {
			p.Holds = promotions[0].Holds.After(p.Action, p.To)
		}
		var more predicate.Holds
		for _, held := range strings.FieldsFunc(anew, func(r rune) bool { return r == ',' }) {
			more = append(more, artifact(held).Hold())
		}
		if action == predicate.RolledBack {
			var err error
			if more, err = left(all, p.To); err != nil {
				t.Fatal(err)
			}
		}
		p.Holds = p.Holds.With(p.Time, more...)
		statements := ledger.Statements{Bundles: []sign.Bundle{statement(sign.PredicateProvenance, i), statement(predicate.TypeApproval, i)}}
		promotions = slices.Insert(promotions, 0, live.Promotion{Promotion: p, Statements: statements})
	}
	return all
}

func contentOf(name string) digest.Digest { return digest.FromString("content of " + name) }

// statement returns a bundle beside the n-th promotion of a history, whose payload says that it is of a type.
func statement(predicateType string, n int) sign.Bundle {
	payload := fmt.Sprintf(`{"predicateType":"%s","n":%d}`, predicateType, n)
	return sign.Bundle{JSON: fmt.Appendf(nil, `{"mediaType":"%s","verificationMaterial":{"publicKey":{"hint":""}},"dsseEnvelope":{"payload":"%s","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}}`,
		sign.BundleMediaType, base64.StdEncoding.EncodeToString([]byte(payload)))}
}

// holdsOf returns what is held after a history.
func holdsOf(t *testing.T, history string) predicate.Holds {
	t.Helper()
	for p := range past(t, history) {
		return p.Holds
	}
	return nil
}

// TestHeld asks whether a hydration may come back by itself.
func TestHeld(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]struct{ held, free string }{
		"a b":              {"", "a b c"},
		"a b <a":           {"b b2", "a c"},
		"a b <a b":         {"", "b a"},
		"a b <a <b":        {"a", "b c"},
		"a b <a b2":        {"b", "b2 b3"}, // the release was promoted again, and not that hydration
		"b b2 <b":          {"b2", "b b3"},
		"a b c <a":         {"b c", "a"},
		"a b !a:b":         {"b b2", "a c"},
		"a b !a:b b2":      {"b", "b2 b3"},
		"a b <a c":         {"b", "c a"},
		"a b !a:b ~a c":    {"b", "a c"},
		"a b c <b <a":      {"b c", "a"},
		"a b c <b d <a":    {"b c d", "a"},
		"a b c <a d e <d":  {"b c e", "a d"},
		"a b c d <b e <a":  {"b c d e", "a"},
		"a b <a c <a d <c": {"a b d", "c"},
	} {
		holds := holdsOf(t, history)
		for _, candidate := range strings.Fields(want.held + " " + want.free) {
			_, got := holds.Of(candidate[:1], digest.FromString(candidate))
			if wanted := slices.Contains(strings.Fields(want.held), candidate); got != wanted {
				t.Errorf("%s: %s is held: %v", history, candidate, got)
			}
		}
	}
}

// TestHeldContents asks which contents do not come back under another release's name.
func TestHeldContents(t *testing.T) {
	t.Parallel()
	for history, want := range map[string]string{
		"":              "",
		"a b":           "",
		"a b <a":        "b",
		"a b c <a":      "b c",
		"b b2 <b":       "b2",
		"a b <a c":      "",
		"a b=a c <a":    "c", // and not what is live
		"a b <a ~a":     "b",
		"a b c !a:b,c":  "b c",
		"a b !a:b ~a":   "b",
		"a b !a:b c":    "",
		"a b c <b d <b": "d",
	} {
		holds := holdsOf(t, history)
		for _, name := range []string{"a", "b", "b2", "c", "d"} {
			if got, wanted := holds.Content(contentOf(name)), slices.Contains(strings.Fields(want), name); got != wanted {
				t.Errorf("%s: the content of %s is held: %v", history, name, got)
			}
		}
	}
}

// TestReturns says since when evidence about a candidate counts, and what was counted for it before that.
func TestReturns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		history, candidate string
		since              int64 // 0 for ever
		spent              string
	}{
		{"a b", "b", 0, ""},
		{"a b <a", "b", 3, "b"},
		{"a b <a", "b3", 3, "b"},
		{"a b <a", "a", 0, ""},
		{"a b c <a", "b", 4, "b"},
		{"a b b2 <a", "b", 4, "b2 b"},
		{"a b <a b", "b", 0, ""},
		{"a b <a b2", "b", 3, "b"},
		{"a b <a b c <a", "b", 6, "b b"}, // also what it had when it was left before
		{"a b !a:b", "b", 3, ""},
		{"a b !a:b", "a", 0, ""},
		{"a b <a !a:b", "b", 4, "b"},
		{"a b <a c", "b", 3, "b"},
	} {
		hold, _ := holdsOf(t, test.history).Of(test.candidate[:1], digest.FromString(test.candidate))
		var since time.Time
		if test.since > 0 {
			since = time.Unix(test.since, 0)
		}
		if !hold.Since.Equal(since) || len(hold.Spent) != len(strings.Fields(test.spent)) {
			t.Errorf("%s: %s counts since %v, and %d approvals are spent", test.history, test.candidate, hold.Since, len(hold.Spent))
		}
		words := strings.Fields(test.history)
		for i, word := range words {
			spent := slices.Contains(strings.Fields(test.spent), word)
			if slices.Contains(hold.Spent, statement(predicate.TypeApproval, i).Payload()) != spent {
				t.Errorf("%s: the approval of %s is spent for %s: %v", test.history, word, test.candidate, !spent)
			}
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
		{"a b a <b", "", ""},    // a was left, and was live before that, too
		{"a b c <b", "", "a"},   // c was left
		{"a b <a b2=a", "", ""}, // the release was promoted again, and not that hydration
		{"c a d=c <a b", "", "a"},
		{"c a d=c <a b <a", "", ""}, // the content of c was left
		{"a b <a b c", "", "b"},
	} {
		var live digest.Digest
		for p := range past(t, test.history) {
			live = p.To.Content
			break
		}
		p, err := before(past(t, test.history), holdsOf(t, test.history), "staging", test.release, live)
		switch {
		case test.want == "" && !errors.Is(err, errNothingBefore), test.want != "" && (err != nil || p.To.Digest != digest.FromString(test.want)):
			t.Errorf("%s: to %q of %q: %+v, %v", test.history, test.want, test.release, p, err)
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
		past := func(yield func(live.Promotion, error) bool) {
			for range length {
				if !yield(live.Promotion{Promotion: predicate.Promotion{To: predicate.Artifact{Release: "git-live"}}}, nil) {
					return
				}
			}
		}
		if _, err := before(past, nil, "staging", "git-old", ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("after %d promotions: %v", length, err)
		}
	}
}

package promote

import (
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// TestRollbacks goes back through stages' histories, written oldest first: «a b <a» is a, then b, then a rollback to a.
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
		var promotions []live.Promotion
		for i, word := range strings.Fields(history) {
			name, back := strings.CutPrefix(word, "<")
			p := live.Promotion{Promotion: predicate.Promotion{Action: predicate.Promoted, Sequence: i + 1, To: predicate.Artifact{Release: name, Digests: oci.Digests{Digest: digest.FromString(name)}}}}
			if back {
				p.Action = predicate.RolledBack
			}
			promotions = append(promotions, p)
		}
		wanted := map[string]bool{}
		for _, name := range strings.Fields(want) {
			wanted[name] = true
		}
		left := map[string]bool{}
		for v := range visits(func(yield func(live.Promotion, error) bool) {
			for _, p := range slices.Backward(promotions) {
				yield(p, nil)
			}
		}) {
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

package predicate_test

import (
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// TestVoids asks whether an approval counts for an artifact that is held.
func TestVoids(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)
	v := verified(t, func(artifact digest.Digest) (sign.Statement, error) {
		return predicate.NewStatement(predicate.Approval{Claim: sign.Claim{Repository: "r"}, Time: now}, artifact)
	})
	for name, test := range map[string]struct {
		hold predicate.Hold
		want bool
	}{
		"not held":    {predicate.Hold{}, false},
		"held before": {predicate.Hold{Since: now, Spent: []digest.Digest{"sha256:1"}}, false},
		"held after":  {predicate.Hold{Since: now.Add(time.Second)}, true},
		"counted":     {predicate.Hold{Since: now, Spent: []digest.Digest{v.Bundle().Payload()}}, true},
	} {
		if got := test.hold.Voids(v, now); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

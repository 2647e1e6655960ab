package model

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lockage/lockage/internal/quirks"
)

var quirky = flag.Int("quirky", 50, "number of cycles over registries with three random quirks; a tenth of them if tests are short")

// TestQuirks hydrates, promotes, rolls back and repairs over registries with three random quirks at a time (package quirks), without
// an attacker: nothing may fail.
func TestQuirks(t *testing.T) {
	t.Parallel()
	n := *quirky
	if testing.Short() {
		n /= 10
	}
	s, names := newShared(t), quirks.Names()
	for i := range n {
		own := *seed + uint64(i)
		t.Run(fmt.Sprint("seed=", own), func(t *testing.T) {
			t.Parallel()
			var on []string
			for _, at := range rand.New(rand.NewPCG(own, 1)).Perm(len(names))[:3] {
				on = append(on, names[at])
			}
			h := newHistory(t, s, own, on...)
			h.thief = nobody
			h.begin()
			h.must(h.approve(production, 1))
			h.must(h.promote(production, 1, false, false, killing{}))
			h.must(h.promote(production, 0, true, false, killing{}))
			h.check()
			if h.random.IntN(2) == 0 {
				h.loseRegistry()
			}
			h.recover()
			if wrongs := h.store.front.Wrongs(); len(wrongs) > 0 {
				h.fail("with %v: %v", on, wrongs)
			}
		})
	}
}

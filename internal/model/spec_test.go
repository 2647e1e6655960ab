package model

import (
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/sign/predicate"
)

// artifact names what an artifact of a stage was made of. Two of them differ if and only if this does.
type artifact struct {
	release, values int
	as              string // names of pipeline and stage
}

// nothing is what is live after a new beginning at nothing.
var nothing = artifact{release: -1}

// promotion is a record that happened.
type promotion struct {
	artifact
	action predicate.Action
	branch string
	commit git.Hash      // on it
	path   string        // that shows it there
	digest digest.Digest // of the artifact
	record digest.Digest
	number int
	key    int  // of the promoter
	policy int  // the policy commit, by its place among the tips
	proven int  // that by which the artifact was verified last
	forged bool // by somebody who stole the key
	unmade bool // nothing in its commit says how the artifact was made: it is forged, or goes on with one that is
	// unnamed says that the policy commit of a forged one declares no such stage: then its key was nobody's there.
	unnamed bool
	// registry is the repository that has the record; "" if none does.
	registry string
	holds    []artifact // of a new beginning: what has to be held
	before   *promotion
}

// chain returns a promotion and those before it, the oldest first.
func (p *promotion) chain() []promotion {
	var all []promotion
	for ; p != nil; p = p.before {
		all = append(all, *p)
	}
	slices.Reverse(all)
	return all
}

// has reports whether a promotion is this one or comes before it.
func (p *promotion) has(other *promotion) bool {
	for ; p != nil; p = p.before {
		if p == other {
			return true
		}
	}
	return other == nil
}

// undone returns for each promotion of a chain the rollback that left or skipped it last; -1 for none. A record by a stolen key forgets all of
// that.
func undone(chain []promotion) []int {
	by := make([]int, len(chain))
	for i, p := range chain {
		by[i] = -1
		for j := 0; p.forged && j < i; j++ {
			by[j] = -1
		}
		for j := i - 1; p.action == predicate.RolledBack && j >= 0 && chain[j].artifact != p.artifact; j-- {
			by[j] = i
		}
	}
	return by
}

// last returns the newest promotion of a release in a chain, and the rollback that left it; -1 for none.
func last(chain []promotion, release int) (at, left int) {
	by := undone(chain)
	for i := len(chain) - 1; i >= 0; i-- {
		if chain[i].release == release {
			return i, by[i]
		}
	}
	return -1, -1
}

// left reports whether each promotion of an artifact in a chain was rolled back from, or past.
func left(chain []promotion, a artifact) bool {
	by := undone(chain)
	for i, p := range chain {
		if p.artifact == a && by[i] < 0 {
			return false
		}
	}
	return true
}

// passed reports whether a release is or was live in a stage, and was not rolled back from.
func passed(chain []promotion, release int) bool {
	at, left := last(chain, release)
	return at >= 0 && left < 0
}

// held reports whether a stage does not return to an artifact by itself, since it was rolled back from.
func held(chain []promotion, a artifact) bool {
	at, left := last(chain, a.release)
	if left >= 0 && (chain[at].artifact == a || chain[left].release != a.release) {
		return true
	}
	n := len(chain)
	for n > 0 && chain[n-1].action == predicate.Carried {
		n--
	}
	if n > 0 && chain[n-1].action == predicate.Restarted {
		return slices.ContainsFunc(chain[n-1].holds, func(o artifact) bool { return o.release == a.release || content(o) == content(a) })
	}
	if n == 0 || chain[n-1].action != predicate.RolledBack {
		return false
	}
	for i := n - 2; i >= 0 && chain[i].artifact != chain[n-1].artifact; i-- {
		if content(chain[i].artifact) == content(a) && content(a) != content(chain[n-1].artifact) {
			return true
		}
	}
	return false
}

// spec is what the model knows of a stage.
type spec struct {
	// candidates are the values of newest hydrations: several if a run of hydrate ended in the middle.
	candidates map[candidate]map[int]bool
	// sure are the releases whose candidates nobody touched since a run of hydrate that ended well.
	sure map[int]bool
	// approvals are, by artifact, how many promotions the stage had when it was approved.
	approvals map[artifact][]int
	// lost says that somebody may have removed approvals from the registry.
	lost bool
	made []*promotion // all that happened, in order, but for those that a new beginning left out
	// followed is the newest promotion after which a run ended well: the registry has it.
	followed *promotion
}

// candidate names a candidate of a stage.
type candidate struct {
	claim   string
	release int
}

func newSpec() *spec {
	return &spec{candidates: map[candidate]map[int]bool{}, sure: map[int]bool{}, approvals: map[artifact][]int{}}
}

// doubt says that somebody may have touched what is not protected.
func (s *spec) doubt() { clear(s.sure) }

// may returns why an artifact may not be promoted to a stage under a claim, nil if it may. Before is the chain of the stage before, nil for a
// first stage; approval says whether the stage asks for one.
func (s *spec) may(claim string, chain []promotion, a artifact, before *promotion, first, approval, unnamed bool) error {
	switch own := s.candidates[candidate{claim, a.release}]; {
	case !own[a.values]:
		return fmt.Errorf("its newest hydration has the values %v", own)
	case !first && !passed(before.chain(), a.release):
		return fmt.Errorf("the release did not go through the stage before")
	case unnamed && held(chain, a):
		return fmt.Errorf("it was rolled back from, and nobody named it")
	case approval && !s.approved(chain, a):
		return fmt.Errorf("nobody approved it")
	}
	return nil
}

// approved reports whether an artifact is approved, or needs no approval because its content is live. After a rollback from its
// release, or from it alone, only what was given later counts.
func (s *spec) approved(chain []promotion, a artifact) bool {
	if n := len(chain); n > 0 && chain[n-1].release >= 0 && content(chain[n-1].artifact) == content(a) {
		return true
	}
	_, left := last(chain, a.release)
	for i, by := range undone(chain) {
		if chain[i].artifact == a && !slices.ContainsFunc(chain[i+1:], func(p promotion) bool { return p.artifact == a }) {
			left = max(left, by)
		}
	}
	return slices.ContainsFunc(s.approvals[a], func(n int) bool { return n > left })
}

package promote

import (
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign/predicate"
)

// visit is a promotion of a stage.
type visit struct {
	live.Promotion
	undone *live.Promotion // the newest rollback that left or skipped it; nil for none
}

// visits goes back through the promotions of a stage, the newest first.
func visits(promotions iter.Seq2[live.Promotion, error]) iter.Seq2[visit, error] {
	return func(yield func(visit, error) bool) {
		open := map[digest.Digest]live.Promotion{} // rollbacks by the artifact that they return to, until that is reached
		for p, err := range promotions {
			delete(open, p.To.Digest)
			v := visit{Promotion: p}
			for _, rollback := range open {
				if v.undone == nil || v.undone.Sequence < rollback.Sequence {
					v.undone = &rollback
				}
			}
			if p.Action == predicate.RolledBack {
				open[p.To.Digest] = p
			}
			if err = denied(err); !yield(v, err) {
				return
			}
		}
	}
}

// held reports whether a rollback left a release, or this hydration of it, and nobody promoted it since.
func held(past []visit, release string, candidate digest.Digest) bool {
	again := false
	for _, v := range past {
		own := v.To.Digest == candidate
		switch {
		case v.holds(release, candidate, again):
			return true
		case v.To.Release != release:
		case v.undone == nil && own:
			return false
		case v.undone == nil:
			again = true
		case own, !again && v.undone.To.Release != release:
			return true
		}
	}
	return false
}

// holds reports whether a new beginning holds a release, or if the release was promoted again since, this hydration of it.
func (v visit) holds(release string, candidate digest.Digest, again bool) bool {
	return slices.ContainsFunc(v.Holds, func(h predicate.Artifact) bool {
		return h.Digest == candidate || !again && h.Release == release
	})
}

// leftContents returns the contents that the newest promotion left or skipped, if it is a rollback, or holds, if it is a new
// beginning: none comes back under the name of another release.
func leftContents(past iter.Seq2[visit, error]) (map[digest.Digest]bool, error) {
	left := map[digest.Digest]bool{}
	var newest *visit
	for v, err := range past {
		switch {
		case err != nil:
			return nil, err
		case newest == nil && v.Action == predicate.Carried: // what is live stayed
		case newest == nil && v.Action == predicate.Restarted:
			for _, h := range v.Holds {
				left[h.Content] = true
			}
			return left, nil
		case newest == nil && v.Action != predicate.RolledBack:
			return nil, nil
		case newest == nil:
			newest = &v
		case v.To.Digest == newest.To.Digest:
			return left, nil
		default:
			left[v.To.Content] = true
		}
	}
	return left, nil
}

package model

import (
	"slices"

	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/sign/predicate"
)

// judge fails if a promotion happened that may not.
func (h *history) judge(stage string, lived, p *promotion, release int) {
	h.t.Helper()
	if release >= 0 && p.release != release {
		h.fail("%s: release %d was asked for, and %d is live", stage, release, p.release)
	}
	at := h.stageBranch(stage)
	if v, err := ledger.Shown(h.t.Context(), h.remote, at); h.shows() && v.Ours && v.Metadata.Digest() == p.digest {
		h.must(err)
		shown, err := says(h.t.Context(), h.remote, at, h.head(at.Branch))
		h.must(err)
		if shown != content(p.artifact) {
			h.fail("%s: %+v was promoted, and its branch shows %q in its place", stage, p.artifact, shown)
		}
	}
	if release < 0 && lived != nil && slices.Index(h.order, p.release) < slices.Index(h.order, lived.release) {
		h.fail("%s: %+v was promoted: release %d is live, which is newer, and nobody named it", stage, p.artifact, lived.release)
	}
	first := stage == staging
	if err := h.specs[stage].may(h.claim(stage), lived.chain(), p.artifact, h.truth(staging), first, !first && h.approval, release < 0); err != nil {
		h.fail("%s: %+v was promoted: %v", stage, p.artifact, err)
	}
	for _, name := range stages[:slices.Index(stages, stage)+1] {
		if c := h.condition(name); c.unreadable(h.thief) {
			h.fail("%s: %+v was promoted, although %s is %+v", stage, p.artifact, name, c)
		}
	}
}

// judgeBack fails if a stage went back to what it never had.
func (h *history) judgeBack(stage string, lived, p *promotion, release int) {
	h.t.Helper()
	switch {
	case release >= 0 && p.release != release:
		h.fail("%s: a rollback to release %d was asked for, and %d is live", stage, release, p.release)
	case !slices.ContainsFunc(lived.chain(), func(o promotion) bool { return o.artifact == p.artifact }):
		h.fail("%s: it went back to %+v, which it never had", stage, p.artifact)
	case release < 0 && lived.release >= 0 && content(p.artifact) == content(lived.artifact):
		h.fail("%s: it went back to what is live", stage)
	}
	if release < 0 && left(lived.chain(), p.artifact) {
		h.fail("%s: it went back to %+v, which was rolled back from", stage, p.artifact)
	}
}

// mustPass reports whether a promotion or rollback has to pass: nobody touched what it needs.
func (h *history) mustPass(stage string, release int, back bool) bool {
	s, chain := h.specs[stage], h.truth(stage).chain()
	for _, name := range stages {
		if c := h.condition(name); c != (condition{}) {
			return false
		}
	}
	if release < 0 || h.lost {
		return false
	}
	if back {
		at, _ := last(chain, release)
		return at >= 0 && chain[at].proven >= h.unsure && !chain[at].unmade
	}
	own := s.candidates[candidate{h.claim(stage), release}]
	if !s.sure[release] || len(own) != 1 {
		return false
	}
	if stage == staging {
		return true
	}
	before, there := h.truth(staging).chain(), h.specs[staging]
	at, _ := last(before, release)
	if !there.sure[release] || at < 0 || before[at].values != only(there.candidates[candidate{h.claim(staging), release}]) {
		return false
	}
	a := artifact{release, only(own), h.as(stage)}
	anew := slices.ContainsFunc(chain, func(p promotion) bool { return p.action == predicate.Restarted })
	return !slices.Contains(h.revived, release) && passed(before, release) && before[at].values == h.values[staging] && (!h.approval || !s.lost && !anew && s.approved(chain, a))
}

// only returns the values of a newest hydration.
func only(values map[int]bool) int {
	for v := range values {
		return v
	}
	return -1
}

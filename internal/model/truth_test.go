package model

import (
	"slices"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
)

// truth returns the newest record of a stage that counts, where the pipeline file says; nil for none.
func (h *history) truth(stage string) *promotion {
	h.t.Helper()
	found, _ := h.truthAt(h.claim(stage), h.liveRef(stage))
	return found
}

// truthAt returns the newest record at a place that counts: what is below its commit is what was there, and nobody else's commits
// count. Records reports whether there are records by somebody who was the promoter.
func (h *history) truthAt(claim string, at ledger.Place) (found *promotion, records bool) {
	h.t.Helper()
	head := h.head(at.Branch)
	if head == "" {
		return nil, false
	}
	var all []*promotion
	h.must(h.remote.Log(h.t.Context(), head, func(c git.Commit) (bool, error) {
		p := h.made[h.placeOf(claim, at.Path, c)]
		if p == nil {
			return true, nil
		}
		all = append(all, p)
		return len(all) > 1 || p.key != h.promoter[0], nil // the newest one counts, if it is by the key of today
	}))
	for i, p := range all {
		if h.counts(p, all[i+1:]) {
			return p, true
		}
	}
	return nil, slices.ContainsFunc(all, func(p *promotion) bool { return !p.unnamed || slices.Contains(h.promoter, p.key) })
}

// counts reports whether a record counts by its key, above others. The first key of today counts. One that was put away does not sign
// over what another key of today signed under a later policy.
func (h *history) counts(p *promotion, below []*promotion) bool {
	if p.key == h.promoter[0] {
		return true
	}
	if !slices.Contains(h.promoter, p.key) || p.unnamed {
		return false
	}
	for _, other := range below {
		if other.key != p.key && slices.Contains(h.promoter, other.key) {
			return other.policy <= p.policy
		}
	}
	return true
}

// moved returns the newest record of a stage in a former place, if its history goes on there; nil for none. Unproven reports that there
// are only records that do not count.
func (h *history) moved(stage string, now *promotion) (then *promotion, unproven bool) {
	h.t.Helper()
	for _, d := range slices.Backward(h.past) {
		if d.claim(stage) == h.claim(stage) && d.liveRef(stage) == h.liveRef(stage) {
			continue
		}
		then, records := h.truthAt(d.claim(stage), d.liveRef(stage))
		switch {
		case now == nil && then == nil && records:
			return nil, true
		case then != nil && then != now && (now == nil || then.has(now)):
			return then, false
		}
	}
	return nil, false
}

// condition is what keeps a stage from being read. The zero value is a stage that can be.
type condition struct {
	moved    bool // its history is in a former place
	silent   bool // and nobody can know, since there are records here, and no registry has the one that went on there
	unproven bool // no key of today signed any of its records
	lacks    bool // the live ref lacks a promotion
	known    bool // and the registry knows that
}

// unreadable reports whether every reader has to say so.
func (c condition) unreadable(thief string) bool {
	return c.moved && !c.silent || c.unproven || c.known && thief != registryWriter
}

func (h *history) condition(stage string) condition {
	h.t.Helper()
	newest, records := h.truthAt(h.claim(stage), h.liveRef(stage))
	c, s := condition{unproven: newest == nil && records}, h.specs[stage]
	if !c.unproven {
		var former *promotion
		if former, c.unproven = h.moved(stage, newest); former != nil {
			went := slices.IndexFunc(former.chain(), func(p promotion) bool { return p.before == newest })
			c.moved, c.silent = true, newest != nil && (former.chain()[went].registry != h.repository || h.thief == registryWriter)
			newest = former
		}
	}
	lacks := func(p *promotion) bool {
		return p != nil && !newest.has(p) && (newest == nil ||
			(p.key != newest.key || p.number >= newest.number) && // else it is below
				(p.key == h.promoter[0] || slices.Contains(h.promoter, p.key) && newest.policy <= p.policy))
	}
	c.known = lacks(s.followed)
	c.lacks = c.known || slices.ContainsFunc(s.made, lacks)
	return c
}

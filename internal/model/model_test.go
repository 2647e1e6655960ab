// Package model runs random histories of a pipeline in process: releases, changes of values and of the policy, merges, approvals,
// promotions and rollbacks, processes that are killed at any of their writes, and the moves of an attacker with one foothold. A
// simple model ([spec]) says what may be live, which promotions have to pass, and when somebody has to say that the record is
// broken. After each history the people behind the pipeline do what the errors say, and the newest release must become live.
//
// Nothing is simulated but the renderer, which has one object: the registry is the embedded one, Git is git.
package model

import (
	"errors"
	"flag"
	"fmt"
	"regexp"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/promote/live"
)

var (
	histories = flag.Int("histories", 0, "number of random histories (default: as many as fit into a minute)")
	seed      = flag.Uint64("seed", 1, "seed of the first history; each other one has the next number")
	moves     = flag.Int("moves", 14, "moves of a history")
)

// TestHistories prints the seed of a history that fails: run it alone with -args -seed N -histories 1.
func TestHistories(t *testing.T) {
	t.Parallel()
	n := *histories
	switch {
	case n > 0:
	case testing.Short():
		n = 20
	default:
		n = 200
	}
	s := newShared(t)
	for i := range n {
		own := *seed + uint64(i)
		t.Run(fmt.Sprint("seed=", own), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, s, own)
			h.check()
			if h.random.IntN(3) > 0 {
				h.begin()
			}
			for range *moves {
				h.move()
			}
			h.recover()
		})
	}
}

// move does one random thing.
func (h *history) move() {
	h.t.Helper()
	k := killing{}
	if h.random.IntN(4) == 0 {
		k = killing{1 + h.random.IntN(14), h.random.IntN(2) == 0}
	}
	switch n := h.random.IntN(100); {
	case n < 8:
		h.newRelease()
	case n < 15:
		h.changeValues(h.head("main"))
	case n < 18:
		h.changeValues(oneOf(h, h.tips))
	case n < 21:
		h.approval = !h.approval
		h.declare("change the policy", h.pipelineNow())
	case n < 34:
		release, names := -1, stages
		if h.random.IntN(4) == 0 {
			release = h.random.IntN(h.current + 1)
		}
		if k.at > 0 { // in one order, so that the history can be repeated
			names = []string{oneOf(h, stages)}
		}
		_ = h.hydrate(release, names, k)
	case n < 42:
		_ = h.approve(production, h.someRelease())
	case n < 64:
		release := h.someRelease()
		if h.random.IntN(3) == 0 {
			release = -1
		}
		_ = h.promote(oneOf(h, stages), release, false, release < 0 && h.random.IntN(2) == 0, k)
		h.check()
	case n < 76:
		release := -1
		if h.random.IntN(2) == 0 {
			release = h.someRelease()
		}
		_ = h.promote(oneOf(h, stages), release, true, false, k)
		h.check()
	case h.thief != nobody:
		h.attack()
		h.check()
		if h.random.IntN(2) == 0 { // before anybody puts it right
			_ = h.promote(oneOf(h, stages), h.someRelease(), false, false, killing{})
			h.check()
		}
	}
}

// begin makes the first release live in both stages, and the second one in the first.
func (h *history) begin() {
	h.must(h.promote(staging, 0, false, false, killing{}))
	h.must(h.approve(production, 0))
	h.must(h.promote(production, 0, false, false, killing{}))
	h.newRelease()
	h.must(h.hydrate(-1, stages, killing{}))
	h.must(h.promote(staging, 1, false, false, killing{}))
}

// someRelease chooses a release, the current one in most cases.
func (h *history) someRelease() int {
	if h.random.IntN(3) > 0 {
		return h.current
	}
	return h.random.IntN(h.current + 1)
}

func (h *history) newRelease() {
	if h.current+1 == len(texts) {
		return
	}
	h.current++
	h.declare("release", h.locks(h.current))
}

// changeValues declares other values for stages: new ones, or some that they had. On an older commit it is merged, as `git pull` does.
func (h *history) changeValues(on git.Hash) {
	h.t.Helper()
	files := map[string]string{}
	for _, stage := range stages {
		if h.random.IntN(3) == 0 {
			continue
		}
		h.newest++
		version := h.newest
		if h.random.IntN(2) == 0 {
			version = h.random.IntN(h.newest)
		}
		h.values[stage] = version
		for name, text := range values(stage, version) {
			files[name] = text
		}
	}
	if len(files) == 0 {
		return
	}
	if on == h.head("main") {
		h.declare("values", files)
		return
	}
	h.say("values on %.8s, merged: %s", on, summary(files))
	h.tips = append(h.tips, h.merge(on, h.keep(files), h.files))
}

// ways are what errors say that has to be done. An error without one leaves people alone with it.
var ways = regexp.MustCompile(`run (it|hydrate) again|hydrate again|lockage hydrate|puts it right|delete the tag|restore it from a clone|` +
	`give it again|it takes 1 approval|promote it|order: |nothing to go back to|rolled back|merge its pull request|remove that folder|` +
	`run it again if|was not live in`)

// stuck fails if a run has to succeed, or if its error names no way on.
func (h *history) stuck(verb, stage string, err error, excused bool) {
	h.t.Helper()
	if !excused {
		h.fail("%s %s has to pass, and fails: %v", verb, stage, err)
	}
	h.readable(err)
}

func (h *history) readable(err error) {
	h.t.Helper()
	if !ways.MatchString(err.Error()) {
		h.fail("the error names no way on: %v", err)
	}
}

var deleteTag = regexp.MustCompile(`registry\.test/acme/web:(\S+) names \S+, which is another artifact, and the tag never moves`)

// recover does what people do after an attack, as the errors say it, and has the newest release promoted.
func (h *history) recover() {
	h.t.Helper()
	h.say("recover")
	for _, stage := range stages {
		if !h.restore(stage) {
			return
		}
	}
	for range 6 {
		err := h.hydrate(-1, stages, killing{})
		if err == nil {
			break
		}
		for _, m := range deleteTag.FindAllStringSubmatch(err.Error(), -1) {
			h.say("delete tag %s", m[1])
			h.must(h.repository().DeleteTag(h.t.Context(), m[1]))
		}
	}
	h.touched = false
	h.must(h.hydrate(-1, stages, killing{}))
	h.must(h.approve(production, h.current))
	for _, stage := range stages {
		h.must(h.promote(stage, h.current, false, false, killing{}))
	}
	h.check()
	for _, stage := range stages {
		want := artifact{h.current, h.values[stage]}
		if p := h.truth(stage); p == nil || p.artifact != want {
			h.fail("%s: %+v is live in the end, and not %+v", stage, p, want)
		}
		state, err := live.Read(h.t.Context(), h.reader(stage))
		if err != nil || state.Drift() || state.Unpromoted != nil {
			h.fail("%s: in the end: %v, drift %v, unpromoted %v", stage, err, state.Drift(), state.Unpromoted)
		}
	}
}

// restore brings back a live ref that was set back, from a clone. It returns false if none does: the registry has the records of
// two promotions that followed the same one.
func (h *history) restore(stage string) bool {
	h.t.Helper()
	all := h.specs[stage].made
	for i := len(all) - 1; ; i-- {
		_, err := live.Read(h.t.Context(), h.reader(stage))
		switch {
		case err == nil:
			return true
		case !errors.Is(err, live.ErrBroken):
			h.fail("%s cannot be read: %v", stage, err)
		case i < 0:
			return h.forked(stage)
		}
		h.say("restore %s to %.8s", stage, all[i].commit)
		setRef(h.t, h.bare, h.liveRef(stage).Branch, all[i].commit)
	}
}

// forked fails unless two promotions of a stage followed the same one.
func (h *history) forked(stage string) bool {
	h.t.Helper()
	after := map[*promotion]bool{}
	for _, p := range h.specs[stage].made {
		if after[p.before] {
			return false
		}
		after[p.before] = true
	}
	h.fail("%s: no clone brings back what the registry knows", stage)
	return false
}

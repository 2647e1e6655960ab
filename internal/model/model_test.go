// Package model runs random histories of a pipeline in process: releases, changes of values, of the policy, of places, names and
// keys, merges, approvals, promotions, rollbacks and repairs, a registry that is lost, processes that are killed at any of their
// writes, and the moves of an attacker with one foothold. A simple model ([spec]) says what may be live, which promotions have to
// pass, and when somebody has to say that the record is broken. After each history the people behind the pipeline do what the errors
// say, the newest release must become live, and what ever was live must come back from Git.
//
// Nothing is simulated but the renderer, which has one object: the registry is the embedded one, Git is git.
package model

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"testing"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/promote/repair"
)

var (
	histories = flag.Int("histories", 200, "number of random histories; a tenth of them if tests are short")
	seed      = flag.Uint64("seed", 1, "seed of the first history; each other one has the next number")
	moves     = flag.Int("moves", 8, "moves of a history")
)

// TestHistories prints the seed of a history that fails: run it alone with -args -seed N -histories 1.
func TestHistories(t *testing.T) {
	t.Parallel()
	n := *histories
	if testing.Short() {
		n = max(1, n/50)
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
	case n < 30:
		h.change()
	case n < 42:
		release, names := -1, stages
		if h.random.IntN(4) == 0 {
			release = h.random.IntN(len(h.order))
		}
		if k.at > 0 { // in one order, so that the history can be repeated
			names = []string{oneOf(h, stages)}
		}
		_ = h.hydrate(release, names, k)
		return // which moves no live ref
	case n < 49:
		_ = h.approve(production, h.someRelease())
		return
	case n < 67:
		release := h.someRelease()
		if h.random.IntN(3) == 0 {
			release = -1
		}
		_ = h.promote(oneOf(h, stages), release, false, release < 0 && h.random.IntN(2) == 0, k)
	case n < 78:
		release := -1
		if h.random.IntN(2) == 0 {
			release = h.someRelease()
		}
		_ = h.promote(oneOf(h, stages), release, true, false, k)
	case n < 84:
		if k.at > 0 {
			_ = h.repair([]string{oneOf(h, stages)}, "", k)
		} else {
			_ = h.repair(stages, "", k)
		}
	case h.thief != nobody:
		h.attack()
		h.check()
		if h.random.IntN(2) == 0 { // before anybody puts it right
			_ = h.promote(oneOf(h, stages), h.someRelease(), false, false, killing{})
		}
	}
	h.check()
}

// change changes what is declared, or loses the registry.
func (h *history) change() {
	h.t.Helper()
	switch n := h.random.IntN(30); {
	case n < 8:
		h.newRelease()
	case n < 14:
		h.changeValues(h.head("main"))
	case n < 17:
		h.changeValues(oneOf(h, h.tips[h.merges:]))
	case n < 20:
		h.approval = !h.approval
		h.declare("change the policy", h.file(h.keys))
	case n < 23:
		h.changePlace()
	case n < 26:
		h.changeKeys()
	case n < 28:
		h.loseRegistry()
	default:
		h.reviveRelease()
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
	return h.random.IntN(len(h.order))
}

func (h *history) newRelease() {
	if len(h.order) == len(texts) {
		return
	}
	h.current = len(h.order)
	h.order = append(h.order, h.current)
	h.declare("release", h.locks(h.current))
}

// reviveRelease deletes the lock of a release that a stage went back from, has the stage promote another one, and
// brings the lock back, in most cases as the current one: a writer of locks can do that. If the stage went back from none, it does before.
func (h *history) reviveRelease() {
	h.t.Helper()
	stage := oneOf(h, stages)
	n := h.wentBackFrom(stage)
	if n < 0 {
		_ = h.hydrate(-1, stages, killing{})
		_ = h.promote(staging, h.current, false, false, killing{})
		if stage == production {
			_ = h.approve(production, h.current)
			_ = h.promote(production, h.current, false, false, killing{})
		}
		_ = h.promote(stage, -1, true, false, killing{})
		h.check()
		if n = h.wentBackFrom(stage); n < 0 {
			n = h.someRelease()
		}
	}
	if n == h.current {
		h.newRelease()
	}
	if n < 0 || n == h.current {
		return
	}
	name := "locks/" + h.release(n) + ".yaml"
	h.say("delete the lock of %d", n)
	h.revived = append(h.revived, n)
	draft, err := h.remote.Draft(h.t.Context(), h.head("main"))
	h.must(err)
	h.must(draft.Remove(h.t.Context(), "locks", path.Base(name)))
	put(h.t, draft, git.NewCommit{Message: "delete a lock", When: h.tick()}, nil)
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: "main", Draft: draft}))
	h.tips, h.then = append(h.tips, draft.Head()), append(h.then, h.declared)
	_ = h.hydrate(-1, stages, killing{})
	_ = h.promote(stage, h.current, false, false, killing{})
	h.check()
	files := map[string]string{name: h.files[name]}
	if h.random.IntN(3) > 0 {
		files["locks/current.yaml"] = h.files[name]
		h.current = n
		h.order = append(slices.DeleteFunc(h.order, func(o int) bool { return o == n }), n)
	}
	h.declare("bring it back", files)
	h.merges = len(h.tips) - 1
	_ = h.hydrate(-1, stages, killing{})
	_ = h.promote(stage, -1, false, h.random.IntN(2) == 0, killing{})
}

// wentBackFrom returns the newest release that a stage was rolled back from; -1 for none.
func (h *history) wentBackFrom(stage string) int {
	h.t.Helper()
	chain, n := h.truth(stage).chain(), -1
	for i, left := range undone(chain) {
		if left >= 0 {
			n = chain[i].release
		}
	}
	return n
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
		maps.Copy(files, h.valuesFile(stage, version))
	}
	if len(files) == 0 {
		return
	}
	if on == h.head("main") {
		h.declare("values", files)
		return
	}
	h.say("values on %.8s, merged: %s", on, summary(files))
	h.tips, h.then = append(h.tips, h.merge(on, h.keep(files), h.files)), append(h.then, h.declared)
}

// ways are what errors say that has to be done. An error without one leaves people alone with it.
var ways = regexp.MustCompile(`run (it|hydrate) again|hydrate again|lockage hydrate|puts it right|delete the tag|restore it from a clone|` +
	`give it again|it takes 1 approval|promote it|order: |nothing to go back to|rolled back|merge its pull request|remove that folder|` +
	`run it again if|was not live in|lockage repair|cannot be put back|lockage promote`)

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

// removeFolder matches what an error names to do about a folder that is of another pipeline or stage.
var removeFolder = regexp.MustCompile(`\(git switch (\S+) && git rm -r (\S+)\)`)

// removeFolder removes a folder that nobody writes any more, in a commit.
func (h *history) removeFolder(branch, folder string) {
	h.t.Helper()
	head := h.head(branch)
	if head == "" {
		return
	}
	draft, err := h.remote.Draft(h.t.Context(), head)
	h.must(err)
	items, err := draft.Items(h.t.Context(), folder)
	h.must(err)
	if len(items) == 0 { // another stage's error said so, too
		return
	}
	h.say("remove %s on %s", folder, branch)
	for _, item := range items {
		h.must(draft.Remove(h.t.Context(), path.Join(folder, path.Dir(item.Path)), path.Base(item.Path)))
	}
	_, err = draft.Commit(git.NewCommit{By: git.Signature{Name: "Ada", Email: "ada@acme.example"}, Message: "remove a folder", When: h.tick()})
	h.must(err)
	h.must(h.remote.Push(h.t.Context(), git.Update{Branch: branch, Draft: draft}))
}

var deleteTag = regexp.MustCompile(`registry\.test/acme/web:(\S+) names \S+, which is another artifact, and the tag never moves`)

// recover does what people do after an attack, as the errors say it, and has the newest release promoted.
func (h *history) recover() {
	h.t.Helper()
	h.say("recover")
	for _, stage := range stages {
		h.restore(stage)
	}
	for range 6 {
		err := h.hydrate(-1, stages, killing{})
		if err == nil {
			break
		}
		for _, m := range deleteTag.FindAllStringSubmatch(err.Error(), -1) {
			h.say("delete tag %s", m[1])
			h.must(h.registry().DeleteTag(h.t.Context(), m[1]))
		}
		for _, m := range removeFolder.FindAllStringSubmatch(err.Error(), -1) {
			h.removeFolder(m[1], m[2])
		}
	}
	h.touched = false
	h.must(h.hydrate(-1, stages, killing{}))
	if h.lost || h.halfway {
		if err := h.repair(stages, "", killing{}); h.unsure == 0 && !h.forged {
			h.must(err)
		}
	}
	h.must(h.approve(production, h.current))
	for _, stage := range stages {
		h.must(h.promote(stage, h.current, false, false, killing{}))
	}
	h.check()
	for _, stage := range stages {
		want := artifact{h.current, h.values[stage], h.as(stage)}
		if p := h.truth(stage); p == nil || p.artifact != want {
			h.fail("%s: %+v is live in the end, and not %+v", stage, p, want)
		}
		state, err := live.Read(h.t.Context(), h.reader(stage))
		if err != nil || state.Drift() || state.Unpromoted != nil {
			h.fail("%s: in the end: %v, drift %v, unpromoted %v", stage, err, state.Drift(), state.Unpromoted)
		}
	}
	if h.random.IntN(2) == 0 {
		h.rebuild()
	}
}

// restore makes a stage readable: by a clone that has the promotions that its live ref lacks, or by what the error names.
func (h *history) restore(stage string) {
	h.t.Helper()
	if h.readableNow(stage) {
		return
	}
	for _, p := range slices.Backward(slices.Clone(h.specs[stage].made)) {
		if c := h.condition(stage); !c.lacks || c.moved || c.unproven {
			continue
		}
		h.say("restore %s to %.8s", stage, p.commit)
		setRef(h.t, h.bare, p.branch, p.commit)
		if h.readableNow(stage) {
			return
		}
	}
	for range 3 {
		_, err := live.Read(h.t.Context(), h.reader(stage))
		if err == nil {
			return
		}
		m := repairs.FindStringSubmatch(err.Error())
		if m == nil {
			h.fail("%s: the error names no `lockage repair`: %v", stage, err)
		}
		reason := ""
		if m[2] != "" {
			reason = "nobody has it"
		}
		if m[1] != h.name(stage) {
			h.fail("%s: the error names another stage to repair: %v", stage, err)
		}
		h.say("%s: %v", stage, err)
		if err := h.repair([]string{stage}, reason, killing{}); !errors.Is(err, repair.ErrLost) || h.unsure == 0 && !h.forged {
			h.must(err)
		}
	}
	if !h.readableNow(stage) {
		h.fail("%s: repair does not make it readable", stage)
	}
}

var repairs = regexp.MustCompile("`lockage repair (\\S+) --apply( --reason TEXT)?`")

func (h *history) readableNow(stage string) bool {
	h.t.Helper()
	_, err := live.Read(h.t.Context(), h.reader(stage))
	if err != nil && !errors.Is(err, live.ErrBroken) {
		h.fail("%s cannot be read: %v", stage, err)
	}
	return err == nil
}

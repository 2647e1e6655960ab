package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/promote/repair"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign/predicate"
)

// changePlace declares another place or name for stages, or another registry.
func (h *history) changePlace() {
	h.t.Helper()
	before := h.declared
	h.past = append(h.past, before)
	folders := []string{"deploy", "envs", "clusters"}
	folder := folders[(slices.Index(folders, h.folder)+1+h.random.IntN(2))%3]
	switch h.random.IntN(5) {
	case 0:
		h.folder = folder
	case 1:
		h.mirror = oneOf(h, []string{unmirrored, showsNext, showsLive})
	case 2:
		h.repository = map[string]string{artifacts: artifacts + "2", artifacts + "2": artifacts}[h.repository]
	case 3: // with another folder, since that of the mirror belongs to the former name
		h.pipeline, h.folder = map[string]string{"web": "shop", "shop": "web"}[h.pipeline], folder
	case 4:
		h.names[1] = map[string]string{production: "live", "live": production}[h.names[1]]
	}
	h.say("from %+v to %+v", before, h.declared)
	h.declare("move", h.file(h.keys), h.valuesFile(production, h.values[production]))
	for _, s := range stages {
		own := h.specs[s]
		own.doubt()
		own.lost = true
		if before.repository != h.repository {
			own.followed = nil
		}
	}
}

// changeKeys declares another key of the promoter or the hydrator. The former one stays below it, unless it was stolen.
func (h *history) changeKeys() {
	h.t.Helper()
	keys, role := &h.promoter, "promoter"
	if h.random.IntN(3) == 0 {
		keys, role = &h.hydrator, "hydrator"
	}
	own := slices.Clone(*keys)
	stolen := h.random.IntN(2) == 0 && role == "promoter" // without the hydrator's, what is live may not come back
	switch next := h.generation[role] + 1; {
	case next < generations && h.random.IntN(4) > 0:
		h.generation[role] = next
		own = append([]int{next}, own...)
		if stolen {
			own = own[:1]
		}
	case len(own) > 1 && role == "promoter":
		own = own[:1]
	default:
		return
	}
	h.past = append(h.past, h.declared)
	taken := !slices.ContainsFunc(*keys, func(k int) bool { return !slices.Contains(own, k) })
	*keys = own
	h.say("%s has the keys %v", role, own)
	h.declare("keys", h.file(h.keys), h.publicKeys(h.declared))
	if role == "hydrator" && !taken {
		h.unsure = len(h.tips) - 1
		for _, s := range h.specs {
			s.doubt()
		}
	}
}

// loseRegistry empties the registry.
func (h *history) loseRegistry() {
	h.say("lose the registry")
	h.store.lose()
	h.lost = true
	for _, s := range h.specs {
		s.doubt()
		s.lost, s.followed = true, nil
		for _, p := range s.made {
			p.registry = ""
		}
	}
}

// repair runs `lockage repair --apply`.
func (h *history) repair(names []string, reason string, k killing) error {
	h.t.Helper()
	h.say("repair %v %s%s", names, reason, k)
	type before struct {
		head      git.Hash
		newest    *promotion
		condition condition
	}
	was := map[string]before{}
	for _, s := range names {
		newest := h.truth(s)
		c := h.condition(s)
		if former, _ := h.moved(s, newest); c.moved {
			newest = former
		}
		was[s] = before{head: h.head(h.liveRef(s).Branch), newest: newest, condition: c}
	}
	failed := map[string]error{}
	killed, err := h.process(k, func(ctx context.Context, e publish.Environment) error {
		results, err := repair.Stages(ctx, repair.Options{Environment: e, Stages: h.namesOf(names), Reason: reason})
		for _, r := range results {
			failed[stages[slices.Index(h.names[:], r.Stage)]] = r.Err
		}
		return err
	})
	for _, s := range names {
		b := was[s]
		if p := h.landed(s, b.head, b.newest); p != nil {
			h.judgeRepair(s, p, b.condition, reason)
		}
		problem := cmp.Or(err, failed[s])
		switch {
		case killed:
		case problem == nil:
			h.followed(s)
		default:
			h.say("  %s: %v", s, problem)
			excused := b.condition.lacks || b.condition.unproven || errors.Is(problem, repair.ErrLost) && (h.unsure > 0 || h.forged) || h.touched || h.otherwiseNamed(problem)
			h.stuck("repair", s, problem, excused)
		}
	}
	again := false
	for _, s := range names {
		if m := removeFolder.FindStringSubmatch(fmt.Sprint(failed[s])); m != nil && !killed && h.otherwiseNamed(failed[s]) {
			h.removeFolder(m[1], m[2])
			again = true
		}
		err = errors.Join(err, failed[s])
	}
	if again {
		return h.repair(names, reason, k)
	}
	if killed {
		h.halfway = true
		return errKilled
	}
	if err == nil && len(names) == len(stages) {
		h.lost, h.halfway = false, false
	}
	return err
}

// judgeRepair fails if a record was made that may not.
func (h *history) judgeRepair(stage string, p *promotion, was condition, reason string) {
	h.t.Helper()
	switch {
	case p.action == predicate.Carried && was.moved:
		if p.release != p.before.release || p.values != p.before.values {
			h.fail("%s: %+v was carried over, and %+v was live", stage, p.artifact, p.before.artifact)
		}
		p.as, p.proven, p.unmade = p.before.as, p.before.proven, p.before.unmade
	case p.action == predicate.Restarted && reason != "" && (was.lacks || was.unproven):
		for _, o := range h.specs[stage].made {
			p.number = max(p.number, o.number+1)
		}
		h.begun(stage, p)
	default:
		h.fail("%s: %s, and it was %+v", stage, p.action, was)
	}
}

// begun makes the model forget what a new beginning left out, and remember that it is held.
func (h *history) begun(stage string, p *promotion) {
	own := h.specs[stage]
	if p.release < 0 || p.before == nil {
		p.before = nil
	} else {
		p.as, p.proven, p.unmade = p.before.as, p.before.proven, p.before.unmade
	}
	var kept []*promotion
	for _, o := range own.made {
		switch {
		case p.has(o):
			kept = append(kept, o)
		case h.thief == nobody && !h.lost && o.artifact != p.artifact:
			p.holds = append(p.holds, o.artifact)
		}
	}
	own.made, own.followed = kept, nil
}

// rebuild loses the registry, and has it put right: every byte that was live comes back from Git.
func (h *history) rebuild() {
	h.t.Helper()
	h.loseRegistry()
	err := h.repair(stages, "", killing{})
	if h.unsure == 0 && !h.forged {
		h.must(err)
	}
	for _, stage := range stages {
		for _, p := range h.truth(stage).chain() {
			if p.release < 0 || p.proven < h.unsure || p.unmade {
				continue
			}
			tree, err := h.registry().ReadTree(h.t.Context(), p.digest.String())
			h.must(err)
			text, err := sayings(tree)
			h.must(err)
			if text != content(p.artifact) {
				h.fail("%s: %s shows %q, and not %q", stage, p.digest, text, content(p.artifact))
			}
		}
	}
}

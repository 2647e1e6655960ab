package model

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// history is one history in progress, with what the model says of it.
type history struct {
	*world
	random *rand.Rand
	specs  map[string]*spec
	made   map[place]*promotion
	trace  []string

	// What the policy ref's tip declares.
	files    map[string]string
	current  int // release
	values   map[string]int
	newest   int // version of values
	approval bool

	tips    []git.Hash            // of the policy ref
	seen    map[string][]git.Hash // heads of the other branches, in order
	thief   string                // who attacks
	touched bool                  // by the attacker, since the last run of hydrate that ended well for all stages
}

// place is what tells the commit of a promotion: a stage, the commit that it follows, and Git's id of the folder that it shows.
type place struct {
	stage        string
	parent, tree git.Hash
}

func (h *history) placeOf(stage string, c git.Commit) place {
	h.t.Helper()
	ids, err := h.remote.PathIDs(h.t.Context(), h.liveRef(stage).Path, c)
	h.must(err)
	at := place{stage: stage, tree: ids[0]}
	if len(c.Parents) > 0 {
		at.parent = c.Parents[0]
	}
	return at
}

func newHistory(t testing.TB, s *shared, seed uint64) *history {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	h := &history{
		world:  newWorld(t, s, mirrors[random.IntN(len(mirrors))]),
		random: random,
		specs:  map[string]*spec{staging: newSpec(), production: newSpec()},
		made:   map[place]*promotion{},
		files:  map[string]string{},
		values: map[string]int{staging: 0, production: 0},
		seen:   map[string][]git.Hash{},
		thief:  thieves[random.IntN(len(thieves))],
	}
	h.say("mirror %q, attacked by %s", strings.TrimSpace(h.mirror), h.thief)
	h.approval = random.IntN(3) > 0
	h.declare("begin", h.pipelineNow(), h.locks(0), values(staging, 0), values(production, 0))
	h.must(h.hydrate(-1, stages, killing{}))
	return h
}

func (h *history) say(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

func (h *history) fail(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\nafter\n  %s", fmt.Sprintf(format, args...), strings.Join(h.trace, "\n  "))
}

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.fail("%v", err)
	}
}

// oneOf chooses an element.
func oneOf[T any](h *history, all []T) T { return all[h.random.IntN(len(all))] }

func (h *history) pipelineNow() map[string]string {
	return map[string]string{"lockage.yaml": h.pipeline(h.approval)}
}

// declare pushes files to the policy ref.
func (h *history) declare(message string, all ...map[string]string) {
	h.t.Helper()
	files := h.keep(all...)
	h.say("%s: %s", message, summary(files))
	h.tips = append(h.tips, h.commit(message, files))
}

// summary names files, and the versions of values.
func summary(files map[string]string) string {
	var names []string
	for name, text := range files {
		_, version, _ := strings.Cut(strings.TrimSpace(text), "version: ")
		if !strings.HasPrefix(name, "values/") {
			version = ""
		}
		names = append(names, strings.TrimSpace(name+" "+version))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// keep adds files to those of the tip, and returns them.
func (h *history) keep(all ...map[string]string) map[string]string {
	files := map[string]string{}
	for _, some := range all {
		for name, text := range some {
			files[name], h.files[name] = text, text
		}
	}
	return files
}

// killing says at which write to the registry a process ends: before number at, or after it is done. 0 for none.
type killing struct {
	at   int
	done bool
}

func (k killing) String() string {
	switch {
	case k.at == 0:
		return ""
	case k.done:
		return fmt.Sprintf(", killed after write %d", k.at)
	}
	return fmt.Sprintf(", killed before write %d", k.at)
}

// process runs a function as a process that may be killed, and reports whether it was.
func (h *history) process(k killing, run func(ctx context.Context, e publish.Environment) error) (killed bool, err error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	e := h.environment(h.t.Context())
	h.store.arm(k.at, k.done, cancel)
	err = run(ctx, e)
	killed = h.store.killed
	h.store.arm(0, false, nil)
	return killed, err
}

// hydrate hydrates stages: the current release for -1.
func (h *history) hydrate(release int, names []string, k killing) error {
	h.t.Helper()
	id, n := "", h.current
	if release >= 0 {
		id, n = h.release(release), release
	}
	h.say("hydrate %d in %v%s", n, names, k)
	results := map[string]error{}
	killed, err := h.process(k, func(ctx context.Context, e publish.Environment) error {
		releases, err := publish.Run(ctx, publish.Options{
			Environment: e, Stages: names, Release: id, Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: renderer{}},
		})
		if err != nil {
			return err
		}
		for _, s := range releases[0].Stages {
			results[s.Name] = s.Err
		}
		return releases[0].Err
	})
	good, problem := 0, err
	for _, name := range names {
		s := h.specs[name]
		failed := errors.Join(err, results[name])
		if _, done := results[name]; killed || failed != nil || !done {
			problem = errors.Join(problem, failed)
			if !killed {
				h.stuck("hydrate", name, failed, h.touched)
			}
			if s.candidates[n] == nil {
				s.candidates[n] = map[int]bool{}
			}
			s.candidates[n][h.values[name]] = true
			s.sure[n] = false
			continue
		}
		s.candidates[n] = map[int]bool{h.values[name]: true}
		s.sure[n] = true
		good++
	}
	if good == len(stages) {
		h.touched = false
	}
	return problem
}

// truth returns the newest promotion of a stage by its live ref: what is below the commit of a promotion is what was there, and
// nobody else's commits count.
func (h *history) truth(stage string) *promotion {
	h.t.Helper()
	head := h.head(h.liveRef(stage).Branch)
	if head == "" {
		return nil
	}
	var found *promotion
	h.must(h.remote.Log(h.t.Context(), head, func(c git.Commit) (bool, error) {
		found = h.made[h.placeOf(stage, c)]
		return found == nil, nil
	}))
	return found
}

// broken reports whether the live ref of a stage lacks a promotion that happened, and whether the registry knows that.
func (h *history) broken(stage string) (lacks, known bool) {
	truth, s := h.truth(stage), h.specs[stage]
	for _, p := range s.made {
		lacks = lacks || !truth.has(p)
	}
	return lacks, !truth.has(s.followed)
}

// promote promotes a release, or the newest one that passes for -1, or rolls back.
func (h *history) promote(stage string, release int, back, ready bool, k killing) error {
	h.t.Helper()
	do, verb, id := promote.Promote, "promote", ""
	if back {
		do, verb = promote.Rollback, "rollback"
	}
	if release >= 0 {
		id = h.release(release)
	}
	h.say("%s %s %d%s", verb, stage, release, k)
	sure := h.mustPass(stage, release, back)
	lived, head := h.truth(stage), h.head(h.liveRef(stage).Branch)
	var action promote.Action
	killed, err := h.process(k, func(ctx context.Context, e publish.Environment) error {
		results, err := do(ctx, promote.Options{Environment: e, Stages: []string{stage}, Release: id, Ready: ready})
		if err != nil {
			return err
		}
		action = results[0].Action
		return results[0].Err
	})
	p := h.landed(stage, head, lived)
	switch {
	case p != nil && back:
		h.judgeBack(stage, lived, p, release)
	case p != nil:
		h.judge(stage, lived, p, release)
	case !killed && err == nil && action != promote.Unchanged && !ready:
		h.fail("%s: reported %s, and the live ref is as it was", stage, action)
	}
	if killed {
		return errKilled
	}
	if err != nil {
		h.say("  %v", err)
		h.stuck(verb, stage, err, !sure)
		return err
	}
	h.specs[stage].followed = h.truth(stage)
	return nil
}

// landed returns the promotion that a run pushed to a live ref; nil for none.
func (h *history) landed(stage string, before git.Hash, lived *promotion) *promotion {
	h.t.Helper()
	at := h.liveRef(stage)
	head := h.head(at.Branch)
	if head == before {
		return nil
	}
	commit, err := h.remote.Commit(h.t.Context(), head)
	h.must(err)
	if parents := strings.Join(hashes(commit.Parents), " "); parents != string(before) {
		h.fail("%s: the live ref's head follows %q, and not %q alone", stage, parents, before)
	}
	text, err := says(h.t.Context(), h.remote, at, head)
	h.must(err)
	trailer := func(key string) string {
		_, value, _ := strings.Cut(commit.Message, "\n"+key+": ")
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	a, err := parse(h.number(trailer("Lockage-Release")), text)
	h.must(err)
	p := &promotion{a, strings.HasPrefix(commit.Message, "Roll back"), head, trailer("Lockage-Artifact"), lived}
	h.made[h.placeOf(stage, commit)] = p
	h.specs[stage].made = append(h.specs[stage].made, p)
	h.say("  %s has %+v", stage, p.artifact)
	return p
}

func hashes(all []git.Hash) []string {
	names := make([]string, len(all))
	for i, hash := range all {
		names[i] = string(hash)
	}
	return names
}

// judge fails if a promotion happened that may not.
func (h *history) judge(stage string, lived, p *promotion, release int) {
	h.t.Helper()
	if release >= 0 && p.release != release {
		h.fail("%s: release %d was asked for, and %d is live", stage, release, p.release)
	}
	if v, err := ledger.Shown(h.t.Context(), h.remote, ledger.Place{Branch: "stage/" + stage, Path: "deploy/" + stage}); h.shows() && v.Ours && v.Metadata.Lockage.Artifact == p.digest {
		h.must(err)
		shown, err := says(h.t.Context(), h.remote, ledger.Place{Path: "deploy/" + stage}, h.head("stage/"+stage))
		h.must(err)
		if shown != content(p.artifact) {
			h.fail("%s: %+v was promoted, and its branch shows %q in its place", stage, p.artifact, shown)
		}
	}
	first := stage == staging
	if err := h.specs[stage].may(lived.chain(), p.artifact, h.truth(staging), first, !first && h.approval, release < 0); err != nil {
		h.fail("%s: %+v was promoted: %v", stage, p.artifact, err)
	}
	if _, known := h.broken(staging); known && !first && h.thief != registryWriter {
		h.fail("%s: %+v was promoted, although the record of %s is known to be broken", stage, p.artifact, staging)
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
	case release < 0 && content(p.artifact) == content(lived.artifact):
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
		if lacks, _ := h.broken(name); lacks {
			return false
		}
	}
	if release < 0 {
		return false
	}
	if back {
		at, _ := last(chain, release)
		return at >= 0
	}
	if !s.sure[release] || len(s.candidates[release]) != 1 {
		return false
	}
	if stage == staging {
		return true
	}
	before := h.truth(staging).chain()
	at, _ := last(before, release)
	a := artifact{release, h.only(stage, release)}
	return passed(before, release) && before[at].values == h.values[staging] && (!h.approval || !s.lost && s.approved(chain, a))
}

// only returns the values of the newest hydration of a release.
func (h *history) only(stage string, release int) int {
	for v := range h.specs[stage].candidates[release] {
		return v
	}
	return -1
}

// approve approves the candidate of a release, as `lockage approve` does.
func (h *history) approve(stage string, release int) error {
	h.t.Helper()
	h.say("approve %d for %s", release, stage)
	e := h.environment(h.t.Context())
	a, err := h.approveIn(e, stage, release)
	if err != nil {
		h.say("  %v", err)
		h.stuck("approve", stage, err, true)
		return err
	}
	s := h.specs[stage]
	s.approvals[a] = append(s.approvals[a], len(h.truth(stage).chain()))
	return nil
}

func (h *history) approveIn(e publish.Environment, stage string, release int) (artifact, error) {
	ctx := h.t.Context()
	ref, err := e.Workspace.Policy(ctx, "", e.Warn)
	h.must(err)
	files, err := ref.Files(ctx)
	h.must(err)
	pipelines, err := e.Workspace.Pipelines(files, nil)
	h.must(err)
	requests, err := verify.Find(ctx, verify.Query{Artifact: stage, Release: h.release(release)}, pipelines, files, e.Client, e.Workspace.Repository)
	if err != nil {
		return artifact{}, err
	}
	request := requests[0]
	request.Files, request.PolicyRef, request.Remotes = files, ref, e.Workspace.Repository
	examined, err := verify.Examine(ctx, request)
	if err == nil {
		err = examined.Report.Checks.Err()
	}
	if err != nil {
		return artifact{}, err
	}
	desc := examined.Manifest.Descriptor
	claim := sign.Claim{Pipeline: "web", Stage: stage, Release: h.release(release), Repository: artifacts}
	statement, err := predicate.NewStatement(predicate.Approval{Claim: claim, Time: h.tick()}, desc.Digest)
	h.must(err)
	testworld.Attest(h.t, h.repository(), desc, h.sre, statement)
	text, err := sayings(examined.Tree)
	h.must(err)
	a, err := parse(release, text)
	h.must(err)
	return a, nil
}

// parse reads what an artifact of a release shows.
func parse(release int, text string) (artifact, error) {
	_, version, _ := strings.Cut(text, " version: ")
	n, err := strconv.Atoi(version)
	a := artifact{release, n}
	if err == nil && content(a) != text {
		err = fmt.Errorf("%q is shown, and release %d is %q", text, release, content(a))
	}
	return a, err
}

// check compares what readers find with the model.
func (h *history) check() {
	h.t.Helper()
	for _, name := range stages {
		h.checkStage(name, h.reader(name))
	}
	for _, branch := range h.branches() {
		if head, seen := h.head(branch), h.seen[branch]; head != "" && (len(seen) == 0 || seen[len(seen)-1] != head) {
			h.seen[branch] = append(seen, head)
		}
	}
}

func (h *history) checkStage(name string, stage live.Stage) {
	h.t.Helper()
	var found, want []promotion
	var err error
	for p, problem := range live.History(h.t.Context(), stage) {
		if err = problem; err == nil {
			commit, err := h.remote.Commit(h.t.Context(), git.Hash(p.Commit))
			h.must(err)
			if made := h.made[h.placeOf(name, commit)]; made != nil {
				found = append(found, *made)
			} else {
				h.fail("%s: nobody promoted commit %s, which the history has", name, p.Commit)
			}
		}
	}
	slices.Reverse(found)
	want = h.truth(name).chain()
	lacks, known := h.broken(name)
	switch {
	case errors.Is(err, live.ErrBroken) && lacks:
		h.readable(err)
	case err != nil:
		h.fail("%s cannot be read: %v", name, err)
	case known && h.thief != registryWriter:
		h.fail("%s: the live ref was set back, the registry knows it, and nobody says so", name)
	case !slices.Equal(found, want):
		h.fail("%s: the history is %+v, and by the model %+v", name, found, want)
	}
}

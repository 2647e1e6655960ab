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

	"github.com/opencontainers/go-digest"

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
	files   map[string]string
	current int   // release
	order   []int // of releases, the newest last
	values  map[string]int
	newest  int // version of values

	past       []declared            // before each edit of places, names and keys
	tips       []git.Hash            // of the policy ref
	merges     int                   // the first of them on which commits are made that are merged later
	then       []declared            // at each of them
	seen       map[string][]git.Hash // heads of the other branches, in order
	thief      string                // who attacks
	touched    bool                  // by the attacker, since the last run of hydrate that ended well for all stages
	lost       bool                  // the registry was emptied, and nobody put it right
	revived    []int                 // releases whose lock was away for a while, which nobody may do: what was live before that may not count
	halfway    bool                  // a repair was killed: it may have carried over what it did not copy
	generation map[string]int        // of the newest keys, by role
	unsure     int                   // the tips by which promotions rest on keys of the hydrator that were taken out
	forged     bool                  // a former key of the promoter promoted something that has no provenance in Git
}

// place is what tells the commit of a promotion: the claim and the path of its record, the commit that it follows, and Git's id of the
// folder that it shows.
type place struct {
	claim, path  string
	parent, tree git.Hash
}

func (h *history) placeOf(claim, path string, c git.Commit) place {
	h.t.Helper()
	ids, err := h.remote.PathIDs(h.t.Context(), path, c)
	h.must(err)
	at := place{claim: claim, path: path, tree: ids[0]}
	if len(c.Parents) > 0 {
		at.parent = c.Parents[0]
	}
	return at
}

func newHistory(t testing.TB, s *shared, seed uint64, quirks ...string) *history {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	h := &history{
		world:  newWorld(t, s, []string{unmirrored, showsNext, showsLive}[random.IntN(3)], quirks...),
		random: random,
		specs:  map[string]*spec{staging: newSpec(), production: newSpec()},
		made:   map[place]*promotion{},
		files:  map[string]string{}, order: []int{0},
		values: map[string]int{staging: 0, production: 0},
		seen:   map[string][]git.Hash{}, generation: map[string]int{},
		thief: thieves[random.IntN(len(thieves))],
	}
	h.say("mirror %s, attacked by %s, quirks %v", h.mirror, h.thief, quirks)
	h.approval = random.IntN(3) > 0
	h.declare("begin", h.file(h.keys), h.locks(0), h.valuesFile(staging, 0), h.valuesFile(production, 0))
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

// declare pushes files to the policy ref.
func (h *history) declare(message string, all ...map[string]string) {
	h.t.Helper()
	files := h.keep(all...)
	h.say("%s: %s", message, summary(files))
	h.tips, h.then = append(h.tips, h.commit(message, files)), append(h.then, h.declared)
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
	e := h.environment()
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
			Environment: e, Stages: h.namesOf(names), Release: id, Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: renderer{}},
		})
		if err != nil {
			return err
		}
		for _, s := range releases[0].Stages {
			results[stages[slices.Index(h.names[:], s.Name)]] = s.Err
		}
		return releases[0].Err
	})
	good, problem := 0, err
	for _, name := range names {
		s, own := h.specs[name], candidate{h.claim(name), n}
		failed := errors.Join(err, results[name])
		if _, done := results[name]; killed || failed != nil || !done {
			problem = errors.Join(problem, failed)
			if !killed {
				blocked := h.thief != nobody && (removeFolder.MatchString(fmt.Sprint(failed)) || deleteTag.MatchString(fmt.Sprint(failed)))
				h.stuck("hydrate", name, failed, h.touched || blocked || h.otherwiseNamed(failed))
			}
			if s.candidates[own] == nil {
				s.candidates[own] = map[int]bool{}
			}
			s.candidates[own][h.values[name]] = true
			s.sure[n] = false
			continue
		}
		s.candidates[own] = map[int]bool{h.values[name]: true}
		s.sure[n] = true
		good++
	}
	if good == len(stages) {
		h.touched = false
	}
	return problem
}

// namesOf returns the names that stages have now.
func (h *history) namesOf(all []string) []string {
	var names []string
	for _, s := range all {
		names = append(names, h.name(s))
	}
	return names
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
		results, err := do(ctx, promote.Options{Environment: e, Stages: h.namesOf([]string{stage}), Release: id, Ready: ready})
		if err != nil {
			return err
		}
		action = results[0].Action
		if results[0].Err != nil {
			return fmt.Errorf("%w\n%s", results[0].Err, strings.Join(results[0].Notes, "\n"))
		}
		return nil
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
		if m := removeFolder.FindStringSubmatch(err.Error()); m != nil && h.thief != nobody { // who put it there
			h.removeFolder(m[1], m[2])
			return h.promote(stage, release, back, ready, k)
		}
		h.stuck(verb, stage, err, !sure)
		return err
	}
	h.followed(stage)
	return nil
}

// otherwiseNamed reports whether an error is about a folder that the pipeline wrote under its former name, and took again after it had
// another one: people remove it.
func (h *history) otherwiseNamed(err error) bool {
	return errors.Is(err, ledger.ErrTaken) && slices.ContainsFunc(h.past, func(d declared) bool { return d.folder == h.folder && d.pipeline != h.pipeline })
}

// followed says that the registry has what is live, after a run that ended well.
func (h *history) followed(stage string) {
	p := h.truth(stage)
	if h.specs[stage].followed = p; p != nil {
		p.registry = h.repository
	}
}

// verbs of messages of commits.
var verbs = map[string]predicate.Action{
	"Promote": predicate.Promoted, "Roll back": predicate.RolledBack, "Carry over": predicate.Carried, "Begin anew": predicate.Restarted,
}

// landed returns the record that a run pushed to a live ref, after what was live; nil for none.
func (h *history) landed(stage string, before git.Hash, lived *promotion) *promotion {
	h.t.Helper()
	at := h.liveRef(stage)
	head := h.head(at.Branch)
	if head == before {
		return nil
	}
	commit, err := h.remote.Commit(h.t.Context(), head)
	h.must(err)
	trailer := func(key string) string {
		_, value, _ := strings.Cut(commit.Message, "\n"+key+": ")
		value, _, _ = strings.Cut(value, "\n")
		return value
	}
	p := &promotion{
		artifact: nothing, branch: at.Branch, commit: head, path: at.Path, record: digest.Digest(trailer("Lockage-Record")),
		number: 1, key: h.promoter[0], policy: len(h.tips) - 1, proven: len(h.tips) - 1, before: lived,
	}
	if lived != nil {
		p.number += lived.number
	}
	for verb, action := range verbs {
		if strings.HasPrefix(commit.Message, verb) {
			p.action = action
		}
	}
	if _, named, ok := strings.Cut(trailer("Lockage-Artifact"), "@"); ok {
		p.digest = digest.Digest(named)
		text, err := says(h.t.Context(), h.remote, at, head)
		h.must(err)
		p.artifact, err = parse(h.number(trailer("Lockage-Release")), text)
		h.must(err)
		p.as = h.as(stage)
		for _, o := range lived.chain() { // what a stage goes back to has the names that it was made for
			if o.digest == p.digest {
				p.as = o.as
			}
		}
	}
	parents := strings.Join(hashes(commit.Parents), " ")
	switch {
	case p.action == predicate.Carried:
	case parents != string(before):
		h.fail("%s: the live ref's head follows %q, and not %q alone", stage, parents, before)
	}
	h.made[h.placeOf(h.claim(stage), at.Path, commit)] = p
	h.specs[stage].made = append(h.specs[stage].made, p)
	h.say("  %s: %s %+v", stage, p.action, p.artifact)
	return p
}

func hashes(all []git.Hash) []string {
	names := make([]string, len(all))
	for i, hash := range all {
		names[i] = string(hash)
	}
	return names
}

// approve approves the candidate of a release, as `lockage approve` does.
func (h *history) approve(stage string, release int) error {
	h.t.Helper()
	h.say("approve %d for %s", release, stage)
	e := h.environment()
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
	requests, err := verify.Find(ctx, verify.Query{Artifact: h.name(stage), Release: h.release(release)}, pipelines, files, e.Client, e.Workspace.Repository)
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
	claim := sign.Claim{Pipeline: h.pipeline, Stage: h.name(stage), Release: h.release(release), Repository: h.repository}
	statement, err := predicate.NewStatement(predicate.Approval{Claim: claim, Time: h.tick()}, desc.Digest)
	h.must(err)
	testworld.Attest(h.t, h.registry(), desc, h.sre, statement)
	text, err := sayings(examined.Tree)
	h.must(err)
	a, err := parse(release, text)
	h.must(err)
	a.as = h.as(stage)
	return a, nil
}

// parse reads what an artifact of a release shows.
func parse(release int, text string) (artifact, error) {
	_, version, _ := strings.Cut(text, " version: ")
	n, err := strconv.Atoi(version)
	a := artifact{release: release, values: n}
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
	var found []digest.Digest
	var err error
	for p, problem := range live.History(h.t.Context(), stage) {
		if err = problem; err == nil {
			found = append(found, p.Record)
		}
	}
	slices.Reverse(found)
	var want []digest.Digest
	for _, p := range h.truth(name).chain() {
		want = append(want, p.record)
	}
	c := h.condition(name)
	switch {
	case errors.Is(err, live.ErrBroken) && c != (condition{}):
		h.readable(err)
	case err != nil:
		h.fail("%s cannot be read: %v", name, err)
	case c.unreadable(h.thief):
		h.fail("%s is %+v, and nobody says so", name, c)
	case !slices.Equal(found, want):
		h.fail("%s: the history is %s, and by the model %+v", name, found, h.truth(name).chain())
	}
}

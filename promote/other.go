package promote

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// hydrated is what the ledger has of a release for a stage.
type hydrated struct {
	declared  pipeline.Expanded // for the release
	hydrator  verify.Keys
	entry     ledger.Entry     // zero for none
	hydration policy.Hydration // of its artifact, as the hydrator states it
	proven    bool             // it states all that the entry does
}

// hydrated reads what the ledger has of a release for a stage, and proves it as far as that goes.
func (r *run) hydrated(ctx context.Context, v *view, f lock.File) (h hydrated, err error) {
	if h.declared, err = v.pipeline.Expand(v.stage.Name, f.Lock, r.files); err != nil {
		return h, err
	}
	if h.hydrator, err = verify.KeysOf(r.files, h.declared, pipeline.RoleHydrator); err != nil {
		return h, err
	}
	var known bool
	if h.entry, known, err = v.candidate(ctx, f.ReleaseID); err != nil || !known {
		return h, err
	}
	h.hydration, h.proven, err = verify.Entry(ctx, h.entry, h.hydrator, r.policyRef)
	return h, err
}

// made returns how the candidate was made.
func (h hydrated) made() verify.Made {
	return verify.Made{Stage: h.declared.Stage, Commit: h.entry.GitOps.Commit, Hydration: h.hydration}
}

// otherStage is what another stage of the pipeline has and had of a release, and what of that counts for a candidate: what the release
// has there by the files of the candidate's GitOps commit. What is rendered otherwise since was not tried there.
type otherStage struct {
	evidence.Stage
	pipeline *pipeline.Pipeline
	release  string
	now      live.State
	past     []live.Promotion
	made     verify.Made            // the candidate; zero if every content counts
	contents map[digest.Digest]bool // those that were looked at; true for one that counts
	changed  string                 // what the first that does not count read otherwise
	hydrate  string                 // the stage that has to be hydrated therefore
	reason   string                 // why other contents do not count
	unknown  bool                   // what would count is unknown
}

// others returns what stages of the pipeline have and had of a release, for the candidate that was made so.
func (r *run) others(ctx context.Context, s *stage, names []string, f lock.File, made verify.Made) (map[string]*otherStage, error) {
	others := map[string]*otherStage{}
	for _, name := range names {
		if others[name] != nil {
			continue
		}
		v, err := r.view(ctx, s.pipeline, name)
		if err == nil {
			others[name], err = r.otherStage(ctx, s, v, f, made)
		}
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", name, err)
		}
	}
	return others, nil
}

// otherStage returns what another stage of the pipeline has and had of a release.
func (r *run) otherStage(ctx context.Context, s *stage, v *view, f lock.File, made verify.Made) (*otherStage, error) {
	e := &otherStage{pipeline: v.pipeline, release: f.ReleaseID, made: made, contents: map[digest.Digest]bool{}}
	h, err := r.hydrated(ctx, v, f)
	if err != nil {
		return nil, err
	}
	if e.now, err = v.read(ctx); err != nil {
		return nil, err
	}
	if e.past, err = v.since(ctx, r, f.ReleaseID); err != nil {
		return nil, err
	}
	e.Declared = h.declared
	claim := v.live.Claim
	claim.Release = f.ReleaseID
	newest := digest.Digest("") // content
	switch verdict := policy.Hydrated(verify.Expect(f, claim), h.hydration); {
	case h.entry.Digest == "":
	case !h.proven || verdict.Result() != policy.Pass:
		s.note("%s does not count as the release's artifact for stage %s: %s", h.entry.Digest, v.stage.Name, verdict.Reason())
	default:
		e.Artifact, newest = h.entry.Digest, h.entry.Content
		if err := e.look(ctx, r, newest, h.hydration); err != nil {
			return nil, err
		}
	}
	for _, p := range e.past {
		if p.To.Release != e.release || e.counts(p.To.Content) {
			continue
		}
		hydration, err := h.hydrator.Prove(ctx, p.To.Digest, p.Statements.Bundles, r.policyRef)
		if err == nil {
			err = e.look(ctx, r, p.To.Content, hydration)
		}
		if err != nil {
			return nil, err
		}
	}
	e.reason, e.unknown = e.otherwise(newest)
	e.span()
	return e, nil
}

// look decides whether a content counts, by what its hydrator states.
func (e *otherStage) look(ctx context.Context, r *run, content digest.Digest, h policy.Hydration) error {
	if e.counts(content) {
		return nil
	}
	gives, difference, hydrate, err := e.made.Gives(ctx, e.Declared.Stage, h, r.policyRef, e.Declared.File)
	e.contents[content] = gives
	if e.changed == "" {
		e.changed, e.hydrate = difference, hydrate
	}
	return err
}

func (e *otherStage) counts(content digest.Digest) bool {
	return e.made.Commit == "" || e.contents[content]
}

// otherwise returns why a content does not count, and reports whether it is unknown which one would. Newest is that of the newest
// hydration; "" for none.
func (e *otherStage) otherwise(newest digest.Digest) (reason string, unknown bool) {
	name := e.Declared.Stage
	if e.contents[newest] {
		return fmt.Sprintf("%s was live in %s with other content than it has there at GitOps commit %.12s", e.release, name, e.made.Commit), false
	}
	hydrate, changed := cmp.Or(e.hydrate, name), cmp.Or(e.changed, "no provenance counts")
	again := fmt.Sprintf("lockage hydrate %s --release %s", e.pipeline.Argument(hydrate), e.release)
	if hydrate != name {
		return fmt.Sprintf("the candidate is older than the hydration of %s in %s (%s): %s", e.release, name, changed, again), true
	}
	return fmt.Sprintf("what %s was made from in %s changed (%s), and it was not hydrated there since: %s",
		e.release, name, changed, again), true
}

// span fills in when what was live, as far back as the release can have been, and the artifact that counts.
func (e *otherStage) span() {
	e.Live = live.Spans(e.past) // the oldest first
	for i := range e.Live {
		switch span := &e.Live[i]; {
		case span.Release != e.release:
		case e.counts(span.Content):
			e.Artifact = span.Digest
		default:
			span.Otherwise = e.reason
		}
	}
}

// passage returns what the newest record about the release says, of those with a content that counts.
func (e *otherStage) passage() policy.Passage {
	passage := policy.Passage{Stage: e.Declared.Stage}
	if hold, held := e.now.Holds().Of(e.release, ""); held {
		passage.RolledBack, passage.Since, passage.Record = true, hold.Since, e.now.Newest().Record
		return passage
	}
	for i, p := range e.past {
		switch _, held := e.now.Holds().Of("", p.To.Digest); {
		case p.To.Release != e.release, held:
		case e.counts(p.To.Content):
			return policy.Passage{Stage: passage.Stage, Was: true, Is: i == 0, Since: p.Time, Record: p.Record}
		default:
			passage.Otherwise, passage.Unknown = e.reason, e.unknown
		}
	}
	return passage
}

// order judges whether the release went through the stages before, with the content that it has there at the GitOps commit of its
// candidate. A first stage passes.
func (s *stage) order(others map[string]*otherStage) policy.GateResult {
	passages := map[string]policy.Passage{}
	for _, name := range s.stage.After.Stages {
		passages[name] = others[name].passage()
	}
	return policy.Order(s.stage.After, passages)
}

// hold judges whether a later stage's soak keeps a stage's release where it is. Without it, a pipeline with releases more
// frequent than they soak would never promote any of them. It returns nil if none does.
func (r *run) hold(ctx context.Context, s *stage) (*policy.GateResult, error) {
	if s.state.Live == nil {
		return nil, nil //nolint:nilnil // nothing is soaking
	}
	f, err := r.lock(s, s.state.Live.To.Release)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // a release without a lock is promoted to no other stage
	}
	for _, name := range s.pipeline.Order() {
		declared, err := s.pipeline.Expand(name, f.Lock, r.files)
		if err != nil { // nothing can be promoted there
			s.note("stage %s holds nothing: %v", name, err)
			continue
		}
		declared.Gates = slices.DeleteFunc(declared.Gates, func(g pipeline.Gate) bool {
			return !slices.Contains(policy.NeedsOf([]pipeline.Gate{g}).Spans, s.stage.Name)
		})
		if len(declared.Gates) == 0 {
			continue
		}
		if held, err := r.holdFor(ctx, s, declared, f); err != nil || held != nil {
			return held, err
		}
	}
	return nil, nil //nolint:nilnil // nothing is soaking
}

// holdFor judges whether the gates of a later stage keep a release in a stage; nil if they do not.
func (r *run) holdFor(ctx context.Context, s *stage, declared pipeline.Expanded, f lock.File) (*policy.GateResult, error) {
	later, err := r.view(ctx, s.pipeline, declared.Stage)
	if err != nil {
		return nil, err
	}
	h, err := r.hydrated(ctx, later, f)
	if err != nil {
		return nil, err
	}
	others, err := r.others(ctx, s, policy.NeedsOf(declared.Gates).Stages(), f, h.made())
	if err != nil {
		return nil, err
	}
	facts, err := r.facts(ctx, declared, f, others, evidence.Request{})
	if err != nil {
		return nil, err
	}
	held, ok := policy.Hold(s.stage.Name, declared.Stage, declared.Gates, facts)
	if ok {
		ok, err = r.wanted(ctx, later, f.ReleaseID, h.entry.Digest)
	}
	if !ok {
		return nil, err // another stage may wait for longer
	}
	return &held, nil
}

// wanted reports whether a later stage may still take a release by itself: it does not hold it, and has none that is newer.
func (r *run) wanted(ctx context.Context, later *view, release string, candidate digest.Digest) (bool, error) {
	state, err := later.read(ctx)
	if _, held := state.Holds().Of(release, candidate); err != nil || held || state.Live == nil {
		return err == nil && !held, err
	}
	for id, err := range r.history(ctx, later.pipeline, maxReleases) {
		if err != nil || id == state.Live.To.Release {
			return false, err
		}
		if id == release {
			return true, nil
		}
	}
	return false, nil // it never was current
}

package promote

import (
	"cmp"
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
)

// standing decides which content of a release counts in another stage: what the release has there by the files of a GitOps commit, that
// of the candidate which is judged. What is rendered otherwise since was not tried there.
type standing struct {
	run      *run
	stage    *stage // the other one
	lock     lock.File
	made     verify.Made // the candidate; zero if every content counts
	hydrator verify.Keys
	entry    ledger.Entry           // of the release's newest hydration there, proven; zero for none
	contents map[digest.Digest]bool // those that were looked at; true for one that counts
	changed  string                 // what the newest hydration that does not count read otherwise
	hydrate  string                 // the stage that has to be hydrated therefore
}

// standing returns what counts of a release in another stage for a candidate.
func (r *run) standing(ctx context.Context, other *stage, f lock.File, made verify.Made) (*standing, error) {
	t := &standing{run: r, stage: other, lock: f, made: made, contents: map[digest.Digest]bool{}}
	var err error
	if t.hydrator, err = r.hydrator(other, f); err != nil {
		return nil, err
	}
	e, ok, err := r.candidate(ctx, other, f.ReleaseID)
	if err != nil || !ok {
		return t, err
	}
	h, ok, err := verify.Entry(ctx, e, t.hydrator, r.policyRef)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", other.stage.Name, err)
	}
	claim := other.live.Claim
	claim.Release = f.ReleaseID
	if verdict := policy.Hydrated(verify.Expect(f, claim), h); !ok || verdict.Result() != policy.Pass {
		other.note("%s does not count as the release's artifact for stage %s: %s", e.Digest, other.stage.Name, verdict.Reason())
		return t, nil
	}
	t.entry = e
	return t, t.look(ctx, e.Content, h)
}

// hydrator returns the keys of a stage's hydrator.
func (r *run) hydrator(s *stage, f lock.File) (verify.Keys, error) {
	declared, err := s.pipeline.Expand(s.stage.Name, f.Lock, r.files)
	if err != nil {
		return verify.Keys{}, err
	}
	return verify.KeysOf(r.files, declared, pipeline.RoleHydrator)
}

// made returns how a candidate of a stage was made, as far as that is proven.
func (r *run) made(ctx context.Context, s *stage, f lock.File, e ledger.Entry) (verify.Made, error) {
	keys, err := r.hydrator(s, f)
	if err != nil || e.Digest == "" {
		return verify.Made{}, err
	}
	h, _, err := verify.Entry(ctx, e, keys, r.policyRef)
	return verify.Made{Stage: s.stage.Name, Commit: e.GitOps.Commit, Hydration: h}, err
}

// look decides whether a content counts, by what its hydrator said.
func (t *standing) look(ctx context.Context, content digest.Digest, h policy.Hydration) error {
	if t.made.Commit == "" {
		return nil
	}
	gives, difference, hydrate, err := t.made.Gives(ctx, t.stage.stage.Name, h, t.run.policyRef, t.stage.pipeline.File)
	t.contents[content] = t.contents[content] || gives
	if t.changed == "" {
		t.changed, t.hydrate = difference, hydrate
	}
	return err
}

// counts reports whether a promotion of the release in the stage has a content that counts.
func (t *standing) counts(ctx context.Context, p live.Promotion) (bool, error) {
	if t.made.Commit == "" || t.contents[p.To.Content] {
		return true, nil
	}
	h, err := t.hydrator.Prove(ctx, p.To.Digest, p.Statements.Bundles, t.run.policyRef)
	if err == nil {
		err = t.look(ctx, p.To.Content, h)
	}
	return t.contents[p.To.Content], err
}

// otherwise returns why no promotion of the release counts, and reports whether it is unknown what would.
func (t *standing) otherwise() (reason string, unknown bool) {
	name, release := t.stage.stage.Name, t.lock.ReleaseID
	if t.contents[t.entry.Content] {
		return fmt.Sprintf("%s was live in %s with other content than it has there at GitOps commit %.12s", release, name, t.made.Commit), false
	}
	hydrate, changed := cmp.Or(t.hydrate, name), cmp.Or(t.changed, "no provenance counts")
	if hydrate != name {
		return fmt.Sprintf("the candidate is older than the hydration of %s in %s (%s): lockage hydrate %s --release %s", release, name, changed, hydrate, release), true
	}
	return fmt.Sprintf("what %s was made from in %s changed (%s), and it was not hydrated there since: lockage hydrate %s --release %s",
		release, name, changed, hydrate, release), true
}

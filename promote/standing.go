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
	commit   string // the candidate's; "" if every content counts
	hydrator verify.Keys
	entry    ledger.Entry           // of the release's newest hydration there, proven
	hydrated bool                   // there is such an entry
	contents map[digest.Digest]bool // those that were looked at; true for one that the commit gives
	changed  string                 // what the newest hydration that does not count read otherwise
}

// standing returns what counts of a release in another stage for a candidate that was made from a GitOps commit.
func (r *run) standing(ctx context.Context, other *stage, f lock.File, commit string) (*standing, error) {
	t := &standing{run: r, stage: other, lock: f, commit: commit, contents: map[digest.Digest]bool{}}
	declared, err := other.pipeline.Expand(other.stage.Name, f.Lock, r.files)
	if err != nil {
		return nil, err
	}
	if t.hydrator, err = verify.KeysOf(r.files, declared, pipeline.RoleHydrator); err != nil {
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
	t.entry, t.hydrated = e, true
	return t, t.look(ctx, e.Content, h)
}

// look decides whether the commit gives a content, by what its hydrator said.
func (t *standing) look(ctx context.Context, content digest.Digest, h policy.Hydration) error {
	gives, difference, err := verify.Gives(ctx, h, t.commit, t.run.policyRef, t.stage.pipeline.File)
	t.contents[content] = t.contents[content] || gives
	t.changed = cmp.Or(t.changed, difference)
	return err
}

// counts reports whether a promotion of the release in the stage has a content that the commit gives.
func (t *standing) counts(ctx context.Context, p live.Promotion) (bool, error) {
	if t.commit == "" || t.contents[p.To.Content] {
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
		return fmt.Sprintf("%s was live in %s with other content than it has there at GitOps commit %.12s", release, name, t.commit), false
	}
	return fmt.Sprintf("what %s was made from in %s changed (%s), and it was not hydrated there since: lockage hydrate %s --release %s",
		release, name, cmp.Or(t.changed, "no provenance counts"), name, release), true
}

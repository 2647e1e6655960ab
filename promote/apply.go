package promote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign/predicate"
)

// apply carries out the result's action: the commit that publishes the record, then the registry. A dry run ends here.
func (r *run) apply(ctx context.Context, s *stage, j *judgement) error {
	if r.DryRun {
		return nil
	}
	key, err := r.Signer(ctx, j.declared, "promoter", s.live.Promoter.Verifier)
	if err != nil && ctx.Err() == nil {
		return publish.Configurationf("%w", err)
	} else if err != nil {
		return err
	}
	signCommit, err := r.CommitSigner(j.declared)
	if err != nil {
		return err
	}
	rec, err := r.record(s, j)
	if err != nil {
		return err
	}
	var made ledger.Statements
	promotion := &ledger.Promotion{
		Verb:     map[predicate.Action]string{predicate.RolledBack: "Roll back"}[rec.Action],
		Merge:    j.merged(),
		Expected: s.state.Tree,
		Attest: func(ctx context.Context, parent, tree git.Hash) (_ ledger.Statements, err error) {
			rec.Parent, rec.Tree, rec.Nonce = string(parent), string(tree), rand.Text()
			made, err = live.Sign(ctx, key, rec, j.evidence())
			if e := j.examined.Entry; e != nil {
				made.Images = append(made.Images, e.Images...)
			}
			return made, err
		},
	}
	err = r.commit(ctx, s, j, rec, promotion, signCommit)
	s.changed() // also by somebody else, who was faster
	if err != nil || s.result.Action == Unchanged {
		return err
	}
	s.result.Record = made.Record
	p := live.Promotion{Promotion: rec, Record: made.Record, Commit: s.result.Commit, Statements: made}
	err = s.live.Follow(ctx, p, git.Hash(s.result.Commit))
	r.landed(ctx, s, j)
	return err
}

// commit writes the promotion to the live ref.
func (r *run) commit(ctx context.Context, s *stage, j *judgement, rec predicate.Promotion, promotion *ledger.Promotion, sign func([]byte) (string, error)) error {
	change := ledger.Change{
		Artifact: ledger.Artifact{
			Claim:   rec.Claim,
			Digests: rec.To.Digests,
			Source:  ledger.Origin{URL: j.declared.SourceRepo, Commit: j.lock.GitCommit},
			GitOps:  ledger.Origin{URL: r.policyRef.URL(), Commit: j.examined.GitOpsCommit},
		},
		Place:      s.live.Place,
		Promotion:  promotion,
		Attributes: j.declared.Mirror != nil && j.declared.Mirror.Attributes,
		Time:       rec.Time,
		Tree:       func(context.Context) (fs.FS, error) { return j.examined.Tree, nil },
		Compared:   j.examined.Compared,
		Sign:       sign,
	}
	results, err := r.BranchWriter(s.live.Remote).Write(ctx, []ledger.Change{change})
	switch {
	case errors.Is(err, ledger.ErrMoved):
		return r.conflict(ctx, s, rec.To)
	case err != nil && !errors.Is(err, git.ErrStale) && ctx.Err() == nil:
		return fmt.Errorf("live ref: %w; promotion and rollback need the right to push to branch %s", err, s.live.Place.Branch)
	case err != nil:
		return fmt.Errorf("live ref: %w", err)
	}
	s.result.Commit = results[0].Commit
	return nil
}

// conflict describes the change that came first. It is none if that promoted the same artifact.
func (r *run) conflict(ctx context.Context, s *stage, to predicate.Artifact) error {
	now, err := live.ReadGit(ctx, s.live)
	if err != nil {
		return denied(err)
	}
	if now.Live == nil {
		return fmt.Errorf("%w: branch %s was changed meanwhile, and not by a promotion", ErrConflict, s.live.Place.Branch)
	}
	if now.Live.To.Digest == to.Digest && now.Unpromoted == nil {
		s.result.Action, s.result.Commit = Unchanged, now.Live.Commit
		return s.live.Follow(ctx, *now.Live, now.Head)
	}
	return fmt.Errorf("%w: %s was %s at %s by the key %.12s (record %s); run it again if %s is still wanted",
		ErrConflict, now.Live.To.Release, now.Live.Action, now.Live.Time.Format(time.RFC3339), now.Live.Key, now.Live.Record, to.Release)
}

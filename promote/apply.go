package promote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign/predicate"
)

// maxLooks bounds how often tag and live ref are compared because they keep moving.
const maxLooks = 10

// apply carries out the result's action: statements, live ref, tag. A dry run ends here.
func (r *run) apply(ctx context.Context, s *stage, j *judgement) error {
	if r.DryRun {
		return nil
	}
	key, err := r.Signer(ctx, j.declared, "promoter", s.live.Promoter)
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
	if s.result.Record, err = r.attest(ctx, s, j.examined.Manifest.Descriptor, key, rec); err != nil {
		return err
	}
	if s.live.Remote == nil {
		err = r.tagIs(ctx, s, s.state.Tag, rec.To)
	} else {
		err = r.commit(ctx, s, j, rec, signCommit)
	}
	r.chains.forget(s.live.Claim) // a new one exists
	if err != nil || s.result.Action == Unchanged {
		return err
	}
	err = r.follow(ctx, s, rec.To, git.Hash(s.result.Commit))
	r.landed(ctx, s, j)
	return err
}

// commit writes the promotion to the live ref.
func (r *run) commit(ctx context.Context, s *stage, j *judgement, rec predicate.Promotion, sign func([]byte) (string, error)) error {
	change := ledger.Change{
		Artifact: ledger.Artifact{
			Claim:   rec.Claim,
			Digests: rec.To.Digests,
			Source:  ledger.Origin{URL: j.declared.SourceRepo, Commit: j.lock.GitCommit},
			GitOps:  ledger.Origin{URL: r.policyRef.URL(), Commit: j.examined.GitOpsCommit},
		},
		Place: s.live.Place,
		Promotion: &ledger.Promotion{
			Record:   s.result.Record,
			RollBack: rec.Action == predicate.RolledBack,
			Merge:    j.merged(),
			Expected: s.state.Tree,
		},
		Attributes: j.declared.Mirror.Attributes,
		Time:       r.Now().UTC().Truncate(time.Second), // an earlier run may have written the record
		Tree:       func(context.Context) (fs.FS, error) { return j.examined.Tree, nil },
		Sign:       sign,
	}
	results, err := r.BranchWriter(s.live.Remote).Write(ctx, []ledger.Change{change})
	switch {
	case errors.Is(err, ledger.ErrMoved):
		return r.conflict(ctx, s, rec.To)
	case err != nil && s.result.Action == RolledBack && j.declared.Mirror.ShowsLive() && !errors.Is(err, git.ErrStale) && ctx.Err() == nil:
		return r.proposeRollback(ctx, s, j, change, err) // a pull request may get around the cause
	case err != nil:
		return fmt.Errorf("live ref: %w", err)
	}
	s.result.Commit = results[0].Commit
	return nil
}

// follow points the stage's tag at what is live, until both agree: another run may promote meanwhile. Head is where the live
// ref shows the artifact, so that nothing has to be read again as long as it is there; "" is an unknown commit.
func (r *run) follow(ctx context.Context, s *stage, to predicate.Artifact, head git.Hash) error {
	for range maxLooks {
		desc, err := s.repository.Resolve(ctx, to.Digest.String())
		if err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
		if err := s.repository.Tag(ctx, desc, s.stage.Name); err != nil {
			return fmt.Errorf("%s is live, and its tag does not follow: %w; run it again", to.Digest, err)
		}
		if s.live.Remote == nil {
			return r.tagIs(ctx, s, to.Digest, to)
		}
		branch := s.live.Place.Branch
		if head != "" {
			tips, err := s.live.Remote.Tips(ctx, branch)
			if err != nil || tips[branch] == head {
				return err
			}
		}
		now, err := live.Read(ctx, s.live)
		if err != nil {
			return err
		}
		if now.Live == nil {
			return fmt.Errorf("live ref %s: what was promoted is gone: somebody set it back", branch)
		}
		if now.Live.To.Digest == to.Digest {
			return nil
		}
		to.Digest = now.Live.To.Digest // the run that promoted it verifies it
	}
	return fmt.Errorf("%s: others kept promoting; run it again", s.repository.Reference(s.stage.Name))
}

// tagIs checks, without a live ref, that nobody moved the tag from an artifact. Registries have no compare-and-swap on tags: a
// change at the same moment is not detected.
func (r *run) tagIs(ctx context.Context, s *stage, artifact digest.Digest, to predicate.Artifact) error {
	now, err := s.repository.Lookup(ctx, s.stage.Name)
	if err != nil || now == artifact {
		return err
	}
	return r.conflict(ctx, s, to)
}

// conflict describes the change that came first. It is none if that promoted the same artifact.
func (r *run) conflict(ctx context.Context, s *stage, to predicate.Artifact) error {
	now, err := live.Read(ctx, s.live)
	if err != nil {
		return denied(err)
	}
	if now.Live == nil {
		where := "branch " + s.live.Place.Branch
		if s.live.Remote == nil {
			where = "tag " + s.stage.Name
		}
		return fmt.Errorf("%w: %s was changed meanwhile, and not by a promotion", ErrConflict, where)
	}
	if now.Live.To.Digest == to.Digest {
		s.result.Action, s.result.Commit = Unchanged, now.Live.Commit
		return r.follow(ctx, s, to, now.Head)
	}
	return fmt.Errorf("%w: %s was %s at %s by the key %.12s (record %s); run it again if %s is still wanted",
		ErrConflict, now.Live.To.Release, now.Live.Action, now.Live.Time.Format(time.RFC3339), now.Live.Key, now.Live.Referrer, to.Release)
}

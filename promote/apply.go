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
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// maxLooks bounds how often tag and live ref are compared because they keep moving.
const maxLooks = 10

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
		RollBack: rec.Action == predicate.RolledBack,
		Merge:    j.merged(),
		Expected: s.state.Tree,
		Attest: func(ctx context.Context, parent, tree git.Hash) (_ ledger.Statements, err error) {
			rec.Parent, rec.Tree, rec.Nonce = string(parent), string(tree), rand.Text()
			made, err = attest(ctx, key, rec, j.evidence())
			return made, err
		},
	}
	if err := r.commit(ctx, s, j, rec, promotion, signCommit); err != nil {
		return err
	}
	r.chains.forget(s.live.Claim) // a new one exists
	if s.result.Action == Unchanged {
		return nil
	}
	s.result.Record = made.Record
	p := live.Promotion{Promotion: rec, Record: made.Record, Commit: s.result.Commit, Statements: made}
	err = r.follow(ctx, s, p, git.Hash(s.result.Commit))
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

// attest signs the promoter's statements, and adds the evidence that they rest on.
func attest(ctx context.Context, key sign.Signer, rec predicate.Promotion, evidence []sign.Bundle) (ledger.Statements, error) {
	record, err := rec.Statement()
	if err != nil {
		return ledger.Statements{}, err
	}
	summary, err := rec.Summary()
	if err != nil {
		return ledger.Statements{}, err
	}
	// The signature is last: readers accept an artifact by it.
	s := ledger.Statements{Bundles: evidence}
	for _, statement := range []sign.Statement{record, summary, sign.NewSignature(rec.To.Digest, rec.Claim)} {
		bundle, err := sign.Sign(ctx, key, statement)
		if err != nil {
			return s, err
		}
		if statement.PredicateType == predicate.TypePromotion {
			s.Record = bundle.Digest()
		}
		s.Bundles = append(s.Bundles, bundle)
	}
	image, err := sign.NewImageSignature(ctx, key, rec.To.Digest, rec.Claim)
	s.Images = append(s.Images, image)
	return s, err
}

// follow makes the registry follow what is live, which needs no key: it attaches the promoter's statements and points the
// stage's tag at the artifact, until both agree: another run may promote meanwhile. Head is where the live ref shows the
// promotion.
func (r *run) follow(ctx context.Context, s *stage, p live.Promotion, head git.Hash) error {
	for range maxLooks {
		desc, err := s.repository.Resolve(ctx, p.To.Digest.String())
		if err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
		if err := s.live.Attach(ctx, desc, p); err != nil {
			return fmt.Errorf("%s is live, and the registry does not have its record: %w; run it again", p.To.Digest, err)
		}
		if err := s.repository.Tag(ctx, desc, s.stage.Name); err != nil {
			return fmt.Errorf("%s is live, and its tag does not follow: %w; run it again", p.To.Digest, err)
		}
		branch := s.live.Place.Branch
		tips, err := s.live.Remote.Tips(ctx, branch)
		if err != nil || tips[branch] == head {
			return err
		}
		now, err := live.ReadGit(ctx, s.live)
		if err != nil {
			return err
		}
		if now.Live == nil {
			return fmt.Errorf("live ref %s: what was promoted is gone: somebody set it back", branch)
		}
		if now.Live.Record == p.Record {
			return nil
		}
		p, head = *now.Live, now.Head
	}
	return fmt.Errorf("%s: others kept promoting; run it again", s.repository.Reference(s.stage.Name))
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
		return r.follow(ctx, s, *now.Live, now.Head)
	}
	return fmt.Errorf("%w: %s was %s at %s by the key %.12s (record %s); run it again if %s is still wanted",
		ErrConflict, now.Live.To.Release, now.Live.Action, now.Live.Time.Format(time.RFC3339), now.Live.Key, now.Live.Record, to.Release)
}

package live

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// Record begins the record of an action that makes an artifact live after a promotion, nil for the first, and is decided by the policy ref.
func (s Stage) Record(e publish.Environment, ref *workspace.Policy, action predicate.Action, to predicate.Artifact, before *Promotion) (predicate.Promotion, error) {
	rec := predicate.Promotion{Claim: s.Claim, Action: action, To: to, Sequence: 1, Time: e.Now().UTC().Truncate(time.Second), Version: e.Version}
	if before != nil {
		rec.Sequence, rec.Previous, rec.Holds = before.Sequence+1, before.Record, before.Holds.After(action, to)
		if before.To.Digest != "" {
			rec.From = &before.To
		}
		if rec.Time.Before(before.Time) {
			return rec, fmt.Errorf("clock skew: it is %s here, before the previous promotion at %s: set the clock right", rec.Time.Format(time.RFC3339), before.Time.Format(time.RFC3339))
		}
	}
	file := s.declared.File
	data, err := fs.ReadFile(s.files, file)
	if err != nil {
		return rec, fmt.Errorf("pipeline file: %w", err)
	}
	rec.Policy = predicate.Policy{Repository: ref.URL(), Ref: ref.Name(), Commit: ref.Tip(), File: file, Digest: digest.FromBytes(data)}
	return rec, nil
}

// Others returns the statements of a promotion that others than the promoter signed: it signs anew.
func (s Stage) Others(p Promotion) (others ledger.Statements) {
	own, _ := s.Promoter.Verify(p.To.Digest, p.Statements.Bundles)
	others.Bundles = slices.DeleteFunc(slices.Clone(p.Statements.Bundles), func(b sign.Bundle) bool {
		return slices.ContainsFunc(own, func(v sign.Verified) bool { return v.Bundle().Digest() == b.Digest() })
	})
	others.Images = slices.DeleteFunc(slices.Clone(p.Statements.Images), s.Promoter.TrustsImage)
	return others
}

// Write signs a record as the promoter, and pushes it to the live ref. Rests are what it rests on: signed by others. The change has what
// record and stage do not say: the files and their origins, and of its Promotion what it follows. The error is [ledger.ErrMoved] if the
// live ref was changed meanwhile.
func (s Stage) Write(ctx context.Context, e publish.Environment, declared pipeline.Expanded, rec predicate.Promotion, rests ledger.Statements, change ledger.Change) (p Promotion, err error) {
	key, err := e.Signer(ctx, declared, pipeline.RolePromoter, s.Promoter.Verifier)
	if err != nil && ctx.Err() == nil {
		return p, publish.Configurationf("%w", err)
	} else if err != nil {
		return p, err
	}
	signCommit, err := e.CommitSigner(declared)
	if err != nil {
		return p, err
	}
	p.Promotion = rec
	p.Release = p.To.Release
	change.Claim, change.Digests, change.Place, change.Time, change.Sign = p.Claim, p.To.Digests, s.Place, p.Time, signCommit
	change.Attributes = declared.Mirror != nil && declared.Mirror.Attributes
	change.Promotion.Bare = p.To.Digest == ""
	change.Promotion.Attest = func(ctx context.Context, parent, tree git.Hash) (_ ledger.Statements, err error) {
		p.Parent, p.Tree, p.Nonce = string(parent), string(tree), rand.Text()
		p.Statements, err = Sign(ctx, key, p.Promotion, rests)
		if err == nil && change.Promotion.Verb == "" {
			err = s.onTime(p, e.Now())
		}
		return p.Statements, err
	}
	if s.declarations != nil {
		change.Commit = s.declarations.Commit
	}
	results, err := e.BranchWriter(s.Remote).Write(ctx, []ledger.Change{change})
	switch branch := s.Place.Branch; {
	case errors.Is(err, ledger.ErrMoved), errors.Is(err, git.ErrStale), err != nil && ctx.Err() != nil:
		return p, fmt.Errorf("live ref %s: %w; run it again", branch, err)
	case err != nil:
		return p, fmt.Errorf("live ref: %w; promotion, rollback and repair need the right to push to branch %s", err, branch)
	}
	if err := results[0].Err; err != nil {
		return p, fmt.Errorf("live ref: %w", err)
	}
	p.Record, p.Commit, p.Path = p.Statements.Record, results[0].Commit, s.Place.Path
	return p, nil
}

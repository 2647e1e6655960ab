package repair

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// place carries the history of a stage to where the pipeline file says now, if it is not there.
func (r *run) place(ctx context.Context, s *stage) error {
	former, err := s.live.Former(ctx, s.state)
	if err == nil && former == nil {
		err = s.live.Witness(ctx, &s.state)
	}
	if err != nil || former == nil {
		return err
	}
	return r.carry(ctx, s, former)
}

// carry carries the history of a stage over from a former place. If nobody witnesses that it is complete there, the record says so, with
// the word of the person who answers for it.
func (r *run) carry(ctx context.Context, s *stage, former *live.Former) (err error) {
	unwitnessed := ""
	if former.Unwitnessed != nil {
		unwitnessed = fmt.Sprintf("; the registry there could not be asked whether it is complete (%v): %s", former.Unwitnessed, r.Reason)
	}
	w := &writing{verb: "Carry over", base: *former.State.Live, from: former.Stage}
	if former.Remote.URL() != s.live.Remote.URL() || former.Place.Branch != s.live.Place.Branch {
		w.merge = former.State.Head
	}
	if w.files, err = ledger.Files(ctx, former.Remote, git.Hash(w.base.Commit), w.base.Path); err != nil {
		return err
	}
	w.rec = predicate.Promotion{
		Action:   predicate.Carried,
		Sequence: w.base.Sequence + 1,
		Previous: w.base.Record,
		Carried:  &predicate.Origin{Claim: former.Claim, Path: w.base.Path, Commit: w.base.Commit},
		Reason:   fmt.Sprintf("commit %.12s of the policy ref changed %s", former.Commit, strings.Join(former.Edits, " and ")) + unwitnessed,
	}
	if err := r.write(ctx, s, w); err != nil {
		return err
	}
	s.found(!r.DryRun, fmt.Sprintf("carry it over to branch %s, %s", s.live.Place.Branch, s.live.Place.Path),
		"commit %.12s of the policy ref changed %s, and the history with promotion %d is on branch %s%s",
		former.Commit, strings.Join(former.Edits, " and "), w.base.Sequence, former.Place.Branch, unwitnessed)
	if r.DryRun {
		s.from, s.state = former.Stage, former.State
		s.planned = former.Unwitnessed != nil
	}
	return nil
}

// writing is a record to write to the live ref, and the promotion that it makes live again.
type writing struct {
	verb  string // of the commit's message
	rec   predicate.Promotion
	base  live.Promotion
	files fs.FS      // of its artifact
	from  live.Stage // that has the base
	merge git.Hash   // whose history is carried over; "" for none
}

// write signs a record as the promoter and pushes it, unless it is a dry run. The state is that of the new commit then.
func (r *run) write(ctx context.Context, s *stage, w *writing) error {
	if err := r.complete(ctx, s, w); err != nil || r.DryRun {
		return err
	}
	key, err := r.Signer(ctx, s.declared, "promoter", s.live.Promoter.Verifier)
	if err != nil && ctx.Err() == nil {
		return publish.Configurationf("%w", err)
	} else if err != nil {
		return err
	}
	signCommit, err := r.CommitSigner(s.declared)
	if err != nil {
		return err
	}
	change := ledger.Change{
		Artifact: ledger.Artifact{Claim: w.rec.Claim, Digests: w.rec.To.Digests},
		Place:    s.live.Place,
		Promotion: &ledger.Promotion{
			Verb:     w.verb,
			Bare:     w.base.To.Digest == "",
			Merge:    w.merge,
			Expected: s.state.Tree,
			Attest: func(ctx context.Context, parent, tree git.Hash) (_ ledger.Statements, err error) {
				w.rec.Parent, w.rec.Tree, w.rec.Nonce = string(parent), string(tree), rand.Text()
				made, err := live.Sign(ctx, key, w.rec, slices.Clone(w.base.Statements.Bundles))
				s.result.Record = made.Record
				return made, err
			},
		},
		Attributes: s.declared.Mirror != nil && s.declared.Mirror.Attributes,
		Time:       w.rec.Time,
		Tree:       func(context.Context) (fs.FS, error) { return w.files, nil },
		Sign:       signCommit,
	}
	m := w.base.Metadata
	change.GitOps = ledger.Origin{URL: m.RepoURL, Commit: m.DrySHA}
	if len(m.References) > 0 {
		change.Source = m.References[0].Commit
	}
	if w.merge != "" && w.from.Remote.URL() != s.live.Remote.URL() {
		change.Promotion.From = w.from.Remote
	}
	results, err := r.BranchWriter(s.live.Remote).Write(ctx, []ledger.Change{change})
	if errors.Is(err, ledger.ErrMoved) {
		err = fmt.Errorf("%w; run it again", err)
	}
	if err != nil {
		return fmt.Errorf("live ref %s: %w", s.live.Place.Branch, err)
	}
	s.result.Commit = results[0].Commit
	if s.state, err = live.ReadGit(ctx, s.live); err == nil && s.state.Newest() == nil {
		err = fmt.Errorf("live ref %s: what was written is not there", s.live.Place.Branch)
	}
	return err
}

// complete fills in what a record of this package has in common with every other, and leaves the statements that it rests on.
func (r *run) complete(ctx context.Context, s *stage, w *writing) error {
	rec := &w.rec
	rec.Claim, rec.To = s.live.Claim, w.base.To
	if rec.To.Digest != "" {
		rec.From = &w.base.To
	}
	rec.Release = rec.To.Release
	rec.Time, rec.Version = r.Now().UTC().Truncate(time.Second), r.Version
	rec.Checks = []predicate.Check{{Name: string(rec.Action), Result: string(policy.Pass), Reason: rec.Reason}}
	if rec.Time.Before(w.base.Time) {
		return fmt.Errorf("clock skew: it is %s here, before the promotion at %s: set the clock right", rec.Time.Format(time.RFC3339), w.base.Time.Format(time.RFC3339))
	}
	var err error
	if rec.Policy, err = live.PolicyOf(r.policyRef, r.files, s.pipeline.File); err != nil {
		return err
	}
	// The promoter signs anew. What rests on other identities stays.
	own, _ := s.live.Promoter.Verify(w.base.To.Digest, w.base.Statements.Bundles)
	w.base.Statements.Bundles = slices.DeleteFunc(slices.Clone(w.base.Statements.Bundles), func(b sign.Bundle) bool {
		return slices.ContainsFunc(own, func(v sign.Verified) bool { return v.Bundle().Digest() == b.Digest() })
	})
	return nil
}

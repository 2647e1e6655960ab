package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/mirror"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// maxLooks bounds how often tag and live ref are compared because they keep moving.
const maxLooks = 10

// apply carries a promotion out: statements, live ref, tag.
func (r *run) apply(ctx context.Context, s *stage, j *judgement, action predicate.Action) error {
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
	rec, err := r.record(s, j, action)
	if err != nil {
		return err
	}
	referrer, err := r.state(ctx, s, j.examined.Manifest.Descriptor, key, rec)
	if err != nil {
		return err
	}
	s.result.Record = referrer
	if s.live.Remote != nil {
		change := mirror.Change{
			Artifact: mirror.Artifact{
				Claim:   rec.Claim,
				Digest:  rec.To.Digest,
				Content: rec.To.Content,
				Source:  mirror.Origin{URL: j.declared.SourceRepo, Commit: j.lock.Lock.GitCommit},
				GitOps:  mirror.Origin{URL: r.trunk.URL(), Commit: j.examined.GitOpsCommit},
			},
			Place: s.live.Place,
			Promotion: &mirror.Promotion{
				Record:   referrer,
				RollBack: action == predicate.RolledBack,
				Merge:    j.merge(),
				Expected: s.state.Tree,
			},
			Attributes: j.declared.Mirror.Attributes,
			Time:       r.Now().UTC().Truncate(time.Second), // the record may be that of an earlier run
			Tree:       func(context.Context) (fs.FS, error) { return j.examined.Tree, nil },
			Sign:       signCommit,
		}
		results, err := r.BranchWriter(s.live.Remote, r.trunk).Write(ctx, []mirror.Change{change})
		if errors.Is(err, mirror.ErrMoved) {
			return r.overtaken(ctx, s, rec.To)
		}
		if refusedRollback(ctx, action, j, err) {
			return r.proposeRollback(ctx, s, j, change, err)
		}
		if err != nil {
			return fmt.Errorf("live ref: %w", err)
		}
		s.result.Commit = results[0].Commit
	} else if err := r.stillThere(ctx, s, rec.To); err != nil {
		return err
	}
	r.forget(s)
	err = r.follow(ctx, s, rec.To, git.Hash(s.result.Commit))
	r.landed(ctx, s, j)
	return err
}

// record is what is to be written down.
func (r *run) record(s *stage, j *judgement, action predicate.Action) (predicate.Promotion, error) {
	data, err := fs.ReadFile(r.files, s.pipeline.File)
	if err != nil {
		return predicate.Promotion{}, fmt.Errorf("pipeline file: %w", err)
	}
	sum := sha256.Sum256(data)
	rec := predicate.Promotion{
		Claim:    s.live.Claim,
		Action:   action,
		Sequence: 1,
		From:     s.result.From,
		To:       j.artifact,
		Policy: predicate.Policy{
			Repository: r.trunk.URL(),
			Ref:        r.trunk.Name(),
			Commit:     r.trunk.Tip(),
			File:       s.pipeline.File,
			Digest:     digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(sum[:])),
		},
		Reason:  r.Reason,
		Time:    r.Now().UTC().Truncate(time.Second),
		Version: r.Version,
	}
	rec.Release = rec.To.Release
	if before := s.state.Live; before != nil {
		rec.Sequence, rec.Previous = before.Sequence+1, before.Referrer
		if rec.Time.Before(before.Since) {
			return rec, fmt.Errorf("the clock says %s, and the promotion before was at %s: set the clock right", rec.Time.Format(time.RFC3339), before.Since.Format(time.RFC3339))
		}
	}
	for _, c := range j.checks {
		rec.Checks = append(rec.Checks, predicate.Check{Name: c.Check, Result: string(c.Result), Reason: c.Reason})
	}
	for _, g := range j.gates {
		rec.Checks = append(rec.Checks, predicate.Check{Name: "gate:" + g.Gate, Result: string(g.Result), Reason: g.Reason, Evidence: g.Evidence})
	}
	return rec, nil
}

// state signs what the promoter has to say: summary and record, then the signatures by which every reader knows what may
// run. It returns by which manifest the record is attached.
func (r *run) state(ctx context.Context, s *stage, artifact ocispec.Descriptor, key sign.Signer, rec predicate.Promotion) (digest.Digest, error) {
	summary, err := rec.Summary()
	if err != nil {
		return "", err
	}
	statement, err := rec.Statement()
	if err != nil {
		return "", err
	}
	statements, _, err := sign.Verify(ctx, s.repository, artifact, s.live.Promoter)
	if err != nil {
		return "", err
	}
	said := saidBefore(statements, rec, summary)
	// One after the other: not every registry keeps both of two referrers that are written to one subject at a time.
	if !said.summary {
		if _, err := sign.Attest(ctx, s.repository, artifact, key, summary); err != nil {
			return "", err
		}
	}
	if said.record == "" || s.live.Remote == nil { // without a commit only the record tells since when it is live
		attached, err := sign.Attest(ctx, s.repository, artifact, key, statement)
		if err != nil {
			return "", err
		}
		said.record = attached.Digest
	}
	if !said.signature {
		if _, err := sign.Attest(ctx, s.repository, artifact, key, sign.NewSignature(artifact.Digest, rec.Claim)); err != nil {
			return "", err
		}
	}
	return said.record, sign.SignImage(ctx, s.repository, artifact, key, rec.Claim)
}

// follow lets the stage's tag name what is live, until both agree: somebody may promote meanwhile.
func (r *run) follow(ctx context.Context, s *stage, to predicate.Artifact, head git.Hash) error {
	for range maxLooks {
		desc, err := s.repository.Resolve(ctx, to.Digest.String())
		if err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
		if err := s.repository.Tag(ctx, desc, s.stage.Name); err != nil {
			return fmt.Errorf("%s is live, and its tag does not follow: %w; run it again", to.Digest, err)
		}
		stands, err := s.standsAt(ctx, head)
		if err != nil || stands {
			return err
		}
		now, err := r.liveDigest(ctx, s)
		if err != nil || now == to.Digest {
			return err
		}
		if s.live.Remote == nil {
			return r.overtaken(ctx, s, to)
		}
		to.Digest = now
	}
	return fmt.Errorf("%s: others kept promoting; run it again", s.repository.Reference(s.stage.Name))
}

// standsAt tells whether the live ref is still at a commit, "" for one that is not known: then nothing has to be read anew.
func (s *stage) standsAt(ctx context.Context, head git.Hash) (bool, error) {
	if s.live.Remote == nil || head == "" {
		return false, nil
	}
	tips, err := s.live.Remote.Tips(ctx, s.live.Place.Branch)
	return err == nil && tips[s.live.Place.Branch] == head, err
}

// stillThere finds out, where there is no live ref, whether somebody else moved the tag since it was read. Registries have
// no compare-and-swap on tags: who comes in the last moment is not found.
func (r *run) stillThere(ctx context.Context, s *stage, to predicate.Artifact) error {
	now, err := r.liveDigest(ctx, s)
	if err != nil || now == s.state.Tag {
		return err
	}
	return r.overtaken(ctx, s, to)
}

// liveDigest is what is live as of now, in as few requests as that takes: what it is was verified, or will be by whoever
// made it so.
func (r *run) liveDigest(ctx context.Context, s *stage) (digest.Digest, error) {
	if s.live.Remote == nil {
		return s.repository.Lookup(ctx, s.stage.Name)
	}
	now, err := live.Read(ctx, s.live)
	if err != nil {
		return "", err
	}
	if now.Live == nil {
		return "", fmt.Errorf("live ref %s: what was promoted is gone: somebody set it back", s.live.Place.Branch)
	}
	return now.Live.To.Digest, nil
}

// overtaken tells who was first.
func (r *run) overtaken(ctx context.Context, s *stage, to predicate.Artifact) error {
	now, err := live.Read(ctx, s.live)
	if err != nil {
		return denied(err)
	}
	if now.Live == nil {
		where := "branch " + s.live.Place.Branch
		if s.live.Remote == nil {
			where = "tag " + s.stage.Name
		}
		return fmt.Errorf("%w: %s was changed meanwhile, and not by a promotion", ErrOvertaken, where)
	}
	if now.Live.To.Digest == to.Digest {
		s.result.Action, s.result.Commit = Unchanged, now.Live.Commit
		return r.follow(ctx, s, to, now.Head)
	}
	return fmt.Errorf("%w: %s was %s at %s by the key %.12s (record %s); run it again if %s is still wanted",
		ErrOvertaken, now.Live.To.Release, now.Live.Action, now.Live.Time.Format(time.RFC3339), now.Live.Key, now.Live.Referrer, to.Release)
}

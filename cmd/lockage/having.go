package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
)

// bareDigest is a digest without a repository, with at least the digits that text shows.
var bareDigest = regexp.MustCompile(`^sha256:[0-9a-f]{12,64}$`)

// isDigest reports whether a name is a digest without a repository. One that is cut off, or written otherwise, is an error.
func isDigest(name string) (bool, error) {
	if !strings.HasPrefix(name, "sha256:") || bareDigest.MatchString(name) {
		return bareDigest.MatchString(name), nil
	}
	return false, usagef("%q is not a digest: write sha256: and 12 to 64 lower-case hex digits", name)
}

// having finds the artifacts that a digest means, in all stages.
func (d declaration) having(ctx context.Context, bare digest.Digest, q verify.Query) ([]subject, error) {
	found, err := live.Find(ctx, bare, d.pipelines, d.files, d.policyRef, d.client, d.workspace.Repository, time.Now())
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(f live.Found) bool {
		return q.Stage != "" && !f.Pipeline.Names(f.Declared.Stage, q.Stage) || q.Release != "" && !lock.Abbreviates(q.Release, f.Release)
	})
	if len(found) == 0 {
		return nil, fmt.Errorf("%s is %w: no stage of these pipelines has it as a candidate, or had it live; name other pipeline files with -f", bare, policy.ErrDenied)
	}
	requests := make([]verify.Request, len(found))
	for i, f := range found {
		if requests[i], err = d.request(f); err != nil {
			return nil, err
		}
	}
	if err := verify.ReadCandidates(ctx, requests, d.files, d.workspace.Repository); err != nil {
		return nil, err
	}
	subjects := make([]subject, len(found))
	for i, f := range found {
		subjects[i] = subject{Request: requests[i], as: uses(f)}
	}
	return subjects, nil
}

// request asks for an artifact that was found: a candidate must be in the ledger. What was promoted is proven by what its promotion
// recorded, or the ledger has, and must be on the live ref, unless that was another one then.
func (d declaration) request(f live.Found) (verify.Request, error) {
	r, err := verify.CandidateOf(f.Pipeline, f.Declared.Stage, f.Release, d.client)
	if err != nil || len(f.Promotions) == 0 {
		return r, err
	}
	r.Reference, r.WithoutMirror = f.Digest.String(), true
	r.Statements = f.Promotions[0].Statements.Bundles
	if f.Entry != nil {
		r.Statements = slices.Concat(r.Statements, f.Entry.Bundles)
	}
	if at := f.Declared.LiveRef(); !f.Carried {
		r.Live = ledger.Place{Branch: at.Branch, Path: at.Path}
	}
	return r, nil
}

// former returns the names that a stage had when an artifact was live there. A history that is not proven has none.
func (d declaration) former(ctx context.Context, r verify.Request, artifact digest.Digest) ([]sign.Claim, error) {
	declared, _, err := d.expand(r.Pipeline, r.Stage)
	if err != nil || !live.Promotes(declared) {
		return nil, err
	}
	s, err := live.Open(ctx, d.files, d.policyRef, declared, d.client, d.workspace.Repository)
	if err != nil {
		return nil, err
	}
	names, err := live.FormerNames(live.History(ctx, s), artifact)
	if errors.Is(err, live.ErrBroken) {
		return nil, nil
	}
	return names, err
}

// uses describes what a stage has or had an artifact as, for people.
func uses(f live.Found) []string {
	var lines []string
	of := fmt.Sprintf("%s in stage %s of pipeline %s", f.Release, f.Declared.Stage, f.Pipeline.Name)
	if f.Entry != nil {
		lines = append(lines, "candidate of "+of)
	}
	for _, p := range f.Promotions {
		lines = append(lines, fmt.Sprintf("%s %s as %s, number %d", p.Action, p.Time.UTC().Format(shownTime), of, p.Sequence))
	}
	return lines
}

// historyOf shows the stages that have a digest as a candidate or had it live.
func (a *app) historyOf(ctx context.Context, bare digest.Digest, limit int) error {
	d, err := a.declared(ctx)
	if err != nil {
		return err
	}
	found, findErr := live.Find(ctx, bare, d.pipelines, d.files, d.policyRef, d.client, d.workspace.Repository, time.Now())
	if findErr != nil && len(found) == 0 {
		return findErr
	}
	results := historyResults{}
	for _, f := range found {
		r := historyResult{Pipeline: f.Pipeline.Name, Stage: f.Declared.Stage, Promotions: []shownPromotion{}}
		if f.Entry != nil {
			if r.Candidate, err = d.candidate(ctx, f); err != nil {
				return err
			}
		}
		for i, p := range f.Promotions {
			if i < limit || limit == 0 {
				r.Promotions = append(r.Promotions, showPromotion(p, f.Starts[i]))
			}
		}
		results = append(results, r)
	}
	a.emit(results)
	if len(found) == 0 {
		return fmt.Errorf("%w: no stage of these pipelines has %s as a candidate, or had it live; name other pipeline files with -f", verify.ErrUnknown, bare)
	}
	return findErr
}

// foundCandidate is the candidate that a digest was found as.
type foundCandidate struct {
	Release      string        `json:"release"`
	Digest       digest.Digest `json:"digest"`
	GitopsCommit string        `json:"gitopsCommit"`
	Unproven     string        `json:"unproven,omitempty"` // why the entry in the ledger proves nothing
}

// candidate proves the entry that was found.
func (d declaration) candidate(ctx context.Context, f live.Found) (*foundCandidate, error) {
	c := &foundCandidate{Release: f.Release, Digest: f.Digest, GitopsCommit: f.Entry.GitOps.Commit}
	hydrator, err := verify.KeysOf(d.files, f.Declared, pipeline.RoleHydrator)
	if err != nil {
		return nil, err
	}
	_, proven, err := verify.Entry(ctx, *f.Entry, hydrator, d.policyRef)
	if !proven {
		c.Unproven = "the entry says more than the hydrator signed"
	}
	return c, err
}

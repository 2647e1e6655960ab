package promote

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// record returns the record of a promotion.
func (r *run) record(s *stage, j *judgement) (predicate.Promotion, error) {
	data, err := fs.ReadFile(r.files, s.pipeline.File)
	if err != nil {
		return predicate.Promotion{}, fmt.Errorf("pipeline file: %w", err)
	}
	rec := predicate.Promotion{
		Claim:    s.live.Claim,
		Action:   predicate.Action(s.result.Action),
		Sequence: 1,
		From:     s.result.From,
		To:       j.artifact,
		Policy: predicate.Policy{
			Repository: r.policyRef.URL(),
			Ref:        r.policyRef.Name(),
			Commit:     r.policyRef.Tip(),
			File:       s.pipeline.File,
			Digest:     digest.FromBytes(data),
		},
		Reason:  r.Reason,
		Time:    r.Now().UTC().Truncate(time.Second),
		Version: r.Version,
	}
	rec.Release = rec.To.Release
	if before := s.state.Live; before != nil {
		rec.Sequence, rec.Previous = before.Sequence+1, before.Referrer
		if rec.Time.Before(before.Since) {
			return rec, fmt.Errorf("clock skew: it is %s here, before the previous promotion at %s: set the clock right", rec.Time.Format(time.RFC3339), before.Since.Format(time.RFC3339))
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

// attest signs the promoter's statements: summary and record, then the signatures that readers accept an artifact by. It
// returns the digest of the manifest that attaches the record.
func (r *run) attest(ctx context.Context, s *stage, artifact ocispec.Descriptor, key sign.Signer, rec predicate.Promotion) (digest.Digest, error) {
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
	found := findStatements(statements, rec, summary)
	var missing []sign.Statement
	if !found.summary {
		missing = append(missing, summary)
	}
	if found.record == "" || s.live.Remote == nil { // without a commit, only the record says when it became live
		missing = append(missing, statement)
	}
	if !found.signature {
		missing = append(missing, sign.NewSignature(artifact.Digest, rec.Claim))
	}
	// One after the other: some registries lose one of two referrers that are written to one subject at a time.
	for _, m := range missing {
		attached, err := sign.Attest(ctx, s.repository, artifact, key, m)
		if err != nil {
			return "", err
		}
		if m.PredicateType == predicate.TypePromotion {
			found.record = attached.Referrer
		}
	}
	return found.record, sign.SignImage(ctx, s.repository, artifact, key, rec.Claim)
}

// promoterStatements are the statements of a promotion that the promoter signed already.
type promoterStatements struct {
	summary, signature bool
	record             digest.Digest // "" for none
}

// findStatements finds the statements of an earlier run that did not complete, so that many runs, for example against a Git
// server that takes no pushes, do not fill an artifact with statements: it takes [sign.MaxBundles] of them. Statements that
// differ only in time are the same; a record that is older than the commit that names it is valid, see
// [live.Promotion.Since].
func findStatements(statements []sign.Verified, rec predicate.Promotion, summary sign.Statement) promoterStatements {
	var found promoterStatements
	for _, v := range statements {
		if v.Claim() != rec.Claim {
			continue
		}
		switch v.PredicateType() {
		case sign.PredicateSignature:
			found.signature = true
		case predicate.TypeSummary:
			found.summary = found.summary || reflect.DeepEqual(timeless(v.Predicate()), timeless(summary.Predicate))
		case predicate.TypePromotion:
			if other, err := predicate.ParsePromotion(v); err == nil && reflect.DeepEqual(decision(other), decision(rec)) {
				found.record = v.Bundle().Referrer
			}
		}
	}
	return found
}

// timeless returns a summary without the time of the verification.
func timeless(predicate []byte) map[string]any {
	var s map[string]any
	if err := json.Unmarshal(predicate, &s); err != nil {
		return nil
	}
	delete(s, "timeVerified")
	return s
}

// decision returns a record without its time and without the texts of reasons, which name times too.
func decision(r predicate.Promotion) predicate.Promotion {
	checks := make([]predicate.Check, len(r.Checks))
	for i, c := range r.Checks {
		checks[i] = predicate.Check{Name: c.Name, Result: c.Result, Evidence: c.Evidence}
	}
	r.Checks, r.Time = checks, time.Time{}
	return r
}

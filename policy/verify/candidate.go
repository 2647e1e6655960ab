package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// CandidateOf makes a request for the candidate of a release, which [ReadCandidates] completes.
func CandidateOf(p *pipeline.Pipeline, stage, release string, client *oci.Client) (Request, error) {
	repository, err := client.Repository(p.Repository(stage))
	return Request{Pipeline: p, Stage: stage, Repository: repository, Reference: oci.CandidateTag(stage, release), Release: release}, err
}

// Label names the release, or the hydration of it, that a request asks for.
func (r *Request) Label() string {
	if r.Input != "" {
		return r.Release + "@" + r.Input
	}
	return r.Release
}

// isCandidate reports whether a request asks for the candidate of a release.
func (r *Request) isCandidate() bool {
	return r.Release != "" && r.Reference == oci.CandidateTag(r.Stage, r.Release)
}

// NameOf names the entry of a release for a declared stage.
func NameOf(declared pipeline.Expanded, release string) ledger.Candidate {
	claim := sign.Claim{Pipeline: declared.Pipeline, Stage: declared.Stage, Release: release, Repository: declared.Repository}
	return ledger.Candidate{Branch: declared.Ledger.Candidates, Claim: claim}
}

// ReadCandidates reads what the ledgers have of the candidates that requests ask for, with as few requests as for one of them.
func ReadCandidates(ctx context.Context, requests []Request, files fs.FS, remotes Remotes) error {
	names := map[*git.Remote][]ledger.Candidate{}
	of := make([]*git.Remote, len(requests))
	for i := range requests {
		r := &requests[i]
		if !r.isCandidate() {
			continue
		}
		current, err := r.Pipeline.CurrentLock(files)
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", r.Pipeline.Name, err)
		}
		declared, err := r.Pipeline.Expand(r.Stage, current.Lock, files)
		if err != nil {
			return err
		}
		if of[i], err = LedgerRemote(ctx, declared, remotes); err != nil {
			return err
		}
		r.Name = NameOf(declared, r.Release)
		names[of[i]] = append(names[of[i]], r.Name)
	}
	for remote, wanted := range names {
		candidates, err := ledger.ReadCandidates(ctx, remote, wanted...)
		if err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		for i := range requests {
			if of[i] == remote {
				requests[i].Candidates = candidates
			}
		}
	}
	return nil
}

// Candidate returns the ledger's entry that a request for a candidate asks for, and judges whether the candidate's tag agrees. The
// entry is not proven; it is nil if none exists, and the check fails then. The error is [oci.ErrNotFound] if neither ledger nor
// registry has the candidate.
func (r Request) Candidate(ctx context.Context) (*ledger.Entry, policy.Check, error) {
	check := policy.Check{Check: "candidate", Result: policy.Fail}
	where := fmt.Sprintf("branch %s of %s", r.Name.Branch, r.Candidates.Remote().Written())
	tag := r.Repository.Reference(r.Reference)
	e, ok, err := r.Candidates.Entry(ctx, r.Name)
	if errors.Is(err, ledger.ErrEntry) {
		check.Reason = err.Error() + "; hydrate again"
		return nil, check, nil
	}
	if err == nil && ok && !lock.BeginsWith(e.Input, r.Input) {
		check.Reason = fmt.Sprintf("%s has %s as the candidate, and no other hydration of the release counts", where, lock.Hydration(r.Release, e.Input))
		return nil, check, nil
	}
	var named digest.Digest
	if err == nil {
		named, err = r.named(ctx)
	}
	switch {
	case err != nil:
		return nil, check, err
	case !ok && named == "":
		return nil, check, fmt.Errorf("%s: %w, and %s has no candidate of that release; make it with: lockage hydrate %s --release %s",
			tag, oci.ErrNotFound, where, r.Pipeline.Argument(r.Stage), r.Release)
	case !ok:
		check.Reason = fmt.Sprintf("%s names %s, and %s has no candidate of that release: somebody made the tag; hydrate again", tag, named, where)
		return nil, check, nil
	case named == e.Digest:
		check.Result, check.Reason = policy.Pass, fmt.Sprintf("%s has it, and %s names it", where, tag)
		return &e, check, nil
	case named == "":
		check.Result, check.Reason = policy.Pending, fmt.Sprintf("%s has %s, and the registry has no tag %s yet; the next `lockage hydrate` makes it", where, e.Digest, tag)
		return &e, check, nil
	}
	older, err := r.Candidates.Had(ctx, r.Name, func(e ledger.Entry) (bool, error) { return e.Digest == named, nil })
	check.Reason = fmt.Sprintf("the candidate is %s, as %s has it, and %s names %s, which is unknown there: somebody moved the tag; hydrate again",
		e.Digest, where, tag, named)
	if older {
		check.Result = policy.Pending
		check.Reason = fmt.Sprintf("the candidate is %s, as %s has it, and %s names an older hydration, %s: the tag lags or was set back; the next `lockage hydrate` puts it right",
			e.Digest, where, tag, named)
	}
	return &e, check, err
}

// named returns what the candidate's tag names; "" for nothing. It reads that manifest, which is wanted next if the tag agrees.
func (r Request) named(ctx context.Context) (digest.Digest, error) {
	if desc, _, err := r.Repository.Manifest(ctx, r.Reference); err == nil {
		return desc.Digest, nil
	}
	return r.Repository.Lookup(ctx, r.Reference)
}

// Found returns the ledger's entry that a request for a candidate asks for, which is not proven, wherever the candidate's tag
// points. The error is [policy.ErrDenied] if the registry alone has a candidate.
func (r Request) Found(ctx context.Context) (ledger.Entry, error) {
	if r.Input != "" {
		return r.hydration(ctx)
	}
	e, check, err := r.Candidate(ctx)
	if err == nil && e == nil {
		err = policy.Verdict{check}.Err()
	}
	if err != nil {
		return ledger.Entry{}, err
	}
	return *e, nil
}

// hydration returns the entry of the one hydration of a release that a request names, which may be replaced since.
func (r Request) hydration(ctx context.Context) (found ledger.Entry, err error) {
	var known []string
	matches := 0
	_, err = r.Candidates.Had(ctx, r.Name, func(e ledger.Entry) (bool, error) {
		name := lock.Hydration(r.Release, e.Input)
		if e.Claim != r.Name.Claim || slices.Contains(known, name) && e.Digest == found.Digest {
			return false, nil
		}
		known = append(known, name)
		if lock.BeginsWith(e.Input, r.Input) {
			found, matches = e, matches+1
		}
		return false, nil
	})
	if err == nil && matches != 1 {
		err = fmt.Errorf("%w: %d hydrations of stage %s are %s@%s; the ledger has %s", ErrUnknown, matches, r.Stage, r.Release, r.Input, strings.Join(known, ", "))
	}
	return found, err
}

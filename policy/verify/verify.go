// Package verify collects the evidence about an artifact, from the registry and the policy ref, and has package policy
// judge it.
//
// Nothing that the checkout holds is believed: pipelines, locks and keys come from the policy ref. Nothing that the
// registry says is believed either, unless the hydrator signed it.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// PolicyRef knows the history of the policy ref.
type PolicyRef interface {
	// Name is the policy ref's name, for messages.
	Name() string
	// Tip is the policy ref's newest commit.
	Tip() string
	// Contains reports whether a commit is the policy ref's tip or an ancestor of it. A commit that nobody knows is not.
	Contains(ctx context.Context, commit string) (bool, error)
	// IsAncestor reports whether ancestor comes before descendant, or is the same commit.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
	Commits
}

// Repository is an artifact repository as far as it is read; *oci.Repository is one.
type Repository interface {
	sign.Reader
	Name() string
	Reference(tagOrDigest string) string
	Lookup(ctx context.Context, tag string) (digest.Digest, error)
	Pull(ctx context.Context, m oci.Manifest) (*oci.Tree, error)
}

// Request names the artifact to verify.
type Request struct {
	Pipeline   *pipeline.Pipeline
	Stage      string
	Repository Repository // that is read: the stage's, or one with a copy. What is signed must name the stage's
	Reference  string     // tag or digest
	Release    string     // that it must be; "" for the one that it says it is
	// Candidates are those of the ledger, if the artifact must be the candidate of Release there; see [ReadCandidates].
	Candidates *ledger.Candidates
	Name       ledger.Candidate // of its entry
	Input      string           // digits that the input digest begins with, if one hydration of Release is meant
	// Statements are those of the hydrator, if a promotion has recorded them; nil to read the registry's.
	Statements []sign.Bundle
	// Former returns names that the stage had when an artifact was live there, before its pipeline file was changed: one of them
	// will do, if the artifact is not signed under today's. Nil for none.
	Former    func(context.Context, digest.Digest) ([]sign.Claim, error)
	Files     fs.FS // of the GitOps repository at the policy ref
	PolicyRef PolicyRef
	Remotes   Remotes // of stage branches
	// WithoutMirror leaves out the stage branch, which has moved on where the artifact is an old one.
	WithoutMirror bool
	mirrored      bool // a stage branch names the artifact, and must show it
	// Live is the place that must show the artifact because it is live there; zero for an artifact that need not be live.
	Live ledger.Place
	// Identities are those, by their names in the pipeline file, each of whom must have signed the artifact as what it is.
	Identities []string
}

// Report is what was found out about one artifact.
type Report struct {
	Reference string         `json:"reference"`
	Digest    digest.Digest  `json:"digest"`
	As        []string       `json:"as,omitempty"` // what stages have or had it as, if it was found by its digest
	Result    policy.Result  `json:"result"`
	Checks    policy.Verdict `json:"checks"`
}

// Examined is an artifact with what was read of it. Where the report does not pass, the rest may be missing.
type Examined struct {
	Report       Report
	Claim        sign.Claim    // what it must be
	Entry        *ledger.Entry // of a candidate
	Manifest     oci.Manifest
	Tree         *oci.Tree
	Compared     ledger.Comparison // with a branch that shows it, if one was read
	Hydration    policy.Hydration
	GitOpsCommit string // on the policy ref, that it was hydrated from; of several, one of them
}

// Artifact verifies one artifact. An error means that nothing could be found out; the report has a denial.
func Artifact(ctx context.Context, r Request) (Report, error) {
	e, err := Examine(ctx, r)
	return e.Report, err
}

// Examine verifies one artifact, and returns what was read for that.
func Examine(ctx context.Context, r Request) (Examined, error) {
	e := Examined{Report: Report{Reference: r.Repository.Reference(r.Reference)}}
	reference := r.Reference
	var verdict policy.Verdict
	if r.Candidates != nil {
		var named policy.Check
		var err error
		if e.Entry, named, err = r.Candidate(ctx); err != nil {
			return e, err
		}
		verdict = append(verdict, named)
		if e.Entry == nil {
			e.Report.Checks, e.Report.Result = verdict, verdict.Result()
			return e, nil
		}
		reference = e.Entry.Digest.String()
	}
	desc, raw, err := r.Repository.Manifest(ctx, reference)
	if errors.Is(err, oci.ErrNotFound) && e.Entry != nil {
		verdict[0].Reason += fmt.Sprintf("; the artifact is not there either: lockage hydrate %s --release %s puts it back", r.Pipeline.Argument(r.Stage), r.Release)
		e.Report.Checks, e.Report.Result = verdict, verdict.Result()
		return e, nil
	}
	if err != nil {
		return e, err
	}
	e.Report.Digest = desc.Digest
	checks, err := e.judge(ctx, r, desc, raw)
	e.Report.Checks = append(verdict, checks...)
	e.Report.Result = e.Report.Checks.Result()
	return e, err
}

func (e *Examined) judge(ctx context.Context, r Request, desc ocispec.Descriptor, raw []byte) (policy.Verdict, error) {
	deny := func(check string, err error) (policy.Verdict, error) {
		return policy.Verdict{{Check: check, Result: policy.Fail, Reason: err.Error()}}, nil
	}
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil {
		return deny("shape", err)
	}
	e.Manifest = manifest
	release := cmp.Or(r.Release, manifest.Annotations[oci.AnnotationRelease])
	if release == "" {
		return deny("annotations", fmt.Errorf("the manifest has no %s: it is not an artifact of lockage", oci.AnnotationRelease))
	}
	file, err := r.Pipeline.LockOf(r.Files, release)
	if err != nil {
		return deny("lock", fmt.Errorf("%s: %w", r.PolicyRef.Name(), err))
	}
	declared, err := r.Pipeline.Expand(r.Stage, file.Lock, r.Files)
	if err != nil {
		return nil, err
	}
	hydrator, err := KeysOf(r.Files, declared, pipeline.RoleHydrator)
	if err != nil {
		return nil, err
	}
	ev := policy.Evidence{Digests: oci.Digests{Digest: desc.Digest}, Annotations: manifest.Annotations}
	claim := sign.Claim{Pipeline: r.Pipeline.Name, Stage: r.Stage, Release: release, Repository: r.Pipeline.Repository(r.Stage)}
	if ev.Hydration, err = e.hydration(ctx, r, desc, hydrator); err != nil {
		return nil, err
	}
	if r.Former != nil && !signedBy(claim, ev.Hydration) {
		today := claim
		if claim, ev.Hydration, err = e.formerly(ctx, r, desc, hydrator, claim, ev.Hydration); err != nil {
			return nil, err
		}
		r.WithoutMirror = r.WithoutMirror || claim != today && !r.mirrored
	}
	e.Hydration, e.GitOpsCommit = ev.Hydration, gitOpsCommit(ev.Hydration)
	expected := Expect(file, claim)
	e.Claim = claim
	tree, err := r.Repository.Pull(ctx, manifest)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	if err != nil {
		return append(policy.Hydrated(expected, ev.Hydration), policy.Check{Check: "content", Result: policy.Fail, Reason: err.Error()}), nil
	}
	e.Tree = tree
	ev.Content, ev.DiffID = tree.ContentDigest(), tree.ContentDigest()
	further, err := e.further(ctx, r, declared, desc, expected.Claim)
	return append(policy.Artifact(expected, ev), further...), err
}

// signedBy reports whether the hydrator signed an artifact as what a claim says.
func signedBy(claim sign.Claim, h policy.Hydration) bool {
	return policy.SignedBy(pipeline.RoleHydrator, claim, h.Statements, h.Rejected).Result == policy.Pass
}

// formerly returns the former name under which an artifact is signed, and what the hydrator said; the given ones if none is.
func (e *Examined) formerly(ctx context.Context, r Request, desc ocispec.Descriptor, hydrator Keys, claim sign.Claim, h policy.Hydration) (sign.Claim, policy.Hydration, error) {
	names, err := r.Former(ctx, desc.Digest)
	if err != nil {
		return claim, h, err
	}
	for _, name := range names {
		name.Release = claim.Release
		hydrator.Pipeline, hydrator.Stage = name.Pipeline, name.Stage
		then, err := e.hydration(ctx, r, desc, hydrator)
		if err != nil || signedBy(name, then) {
			return name, then, err
		}
	}
	return claim, h, nil
}

// hydration proves what the hydrator said: of a candidate what the ledger holds, else what the registry does. An entry that says
// more than was signed counts for nothing.
func (e *Examined) hydration(ctx context.Context, r Request, desc ocispec.Descriptor, hydrator Keys) (policy.Hydration, error) {
	switch {
	case e.Entry == nil && r.Statements != nil:
		return hydrator.Prove(ctx, desc.Digest, r.Statements, r.PolicyRef)
	case e.Entry == nil:
		return Hydration(ctx, r.Repository, desc, hydrator, r.PolicyRef)
	}
	h, proven, err := Entry(ctx, *e.Entry, hydrator, r.PolicyRef)
	if err == nil && !proven && len(h.Statements) > 0 {
		reason := fmt.Sprintf("the entry on branch %s of %s says more than the hydrator signed", r.Name.Branch, r.Candidates.Remote().Written())
		h.Statements, h.Rejected = nil, []sign.Rejected{{Reason: reason}}
	}
	return h, err
}

// further makes the checks that only some requests ask for.
func (e *Examined) further(ctx context.Context, r Request, declared pipeline.Expanded, desc ocispec.Descriptor, claim sign.Claim) (policy.Verdict, error) {
	var verdict policy.Verdict
	for _, name := range r.Identities {
		check, err := r.signed(ctx, declared, desc, claim, name)
		if err != nil {
			return nil, err
		}
		verdict = append(verdict, check)
	}
	places := map[string]ledger.Place{"live-ref": r.Live}
	if m := declared.Mirror; m.ShowsCandidates() && !r.WithoutMirror {
		places["mirror"] = StagePlace(m)
	}
	for _, name := range []string{"mirror", "live-ref"} {
		if places[name] == (ledger.Place{}) {
			continue
		}
		check, err := e.shown(ctx, r, name, declared, places[name])
		if err != nil {
			return nil, err
		}
		verdict = append(verdict, check)
	}
	return verdict, nil
}

// Provenance returns verified provenance of the artifact as what it must be, from a commit on the policy ref.
func (e Examined) Provenance() (sign.Provenance, bool) {
	for _, s := range e.Hydration.Statements {
		p, err := s.Provenance()
		if err == nil && p.Claim == e.Claim && e.Hydration.OnPolicyRef[p.Commit(policy.DependencyGitOps)] {
			return p, true
		}
	}
	return sign.Provenance{}, false
}

// Expect is what an artifact of a claim must be, by the lock.
func Expect(file lock.File, claim sign.Claim) policy.Expectation {
	e := policy.Expectation{
		Claim:  claim,
		Source: file.Revision(),
		Lock:   file.Meaning(),
		Images: map[digest.Digest]string{},
	}
	for _, image := range file.Images() {
		e.Images[image.Digest] = image.Repository()
	}
	return e
}

// Hydration reads and proves what a hydrator said about an artifact, see [policy.Hydration].
func Hydration(ctx context.Context, reader sign.Reader, desc ocispec.Descriptor, hydrator Keys, policyRef PolicyRef) (policy.Hydration, error) {
	bundles, err := sign.Find(ctx, reader, desc, hydrator.Fingerprints()...)
	if err != nil {
		return policy.Hydration{}, err
	}
	return hydrator.Prove(ctx, desc.Digest, bundles, policyRef)
}

// gitOpsCommit is the commit on the policy ref that verified provenance names; "" for none.
func gitOpsCommit(h policy.Hydration) string {
	for _, s := range h.Statements {
		p, err := s.Provenance()
		if err != nil {
			continue
		}
		if commit := p.Commit(policy.DependencyGitOps); h.OnPolicyRef[commit] {
			return commit
		}
	}
	return ""
}

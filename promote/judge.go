package promote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// judgement is the evidence and the verdict about promoting one release to one stage.
type judgement struct {
	lock     lock.File
	declared pipeline.Expanded // for that release
	examined verify.Examined
	artifact predicate.Artifact
	checks   policy.Verdict
	facts    policy.Facts
	gates    []policy.GateResult
	review   *review // nil if the stage has none
}

// outcome returns nil for a release that passes, or else [policy.ErrDenied] or [ErrPending] with all reasons.
func (j *judgement) outcome() error {
	if err := j.checks.Err(); err != nil {
		return err
	}
	var failed, pending []string
	for _, g := range j.gates {
		switch reason := g.Gate + ": " + g.Reason; g.Result {
		case policy.Fail:
			failed = append(failed, reason)
		case policy.Pending:
			pending = append(pending, reason)
		}
	}
	reasons := strings.Join(append(failed, pending...), "; ")
	switch policy.Outcome(j.gates) {
	case policy.Fail:
		return fmt.Errorf("%w: %s", policy.ErrDenied, reasons)
	case policy.Pending:
		return fmt.Errorf("%w: %s", ErrPending, reasons)
	}
	return nil
}

// judge decides whether a release may be promoted to a stage: it verifies the candidate, and judges order and gates.
func (r *run) judge(ctx context.Context, s *stage, f lock.File, candidate digest.Digest) (*judgement, error) {
	j, err := r.examine(ctx, s, f, candidate, nil)
	if err != nil || j.checks.Result() != policy.Pass {
		return j, err // an artifact that does not verify is not judged further
	}
	return j, r.judgeGates(ctx, s, j)
}

// examine verifies an artifact of a release in the stage's repository. The stage branch need not show it if it was live
// before, or if people review it: then the review's gate checks more.
func (r *run) examine(ctx context.Context, s *stage, f lock.File, artifact digest.Digest, was *live.Promotion) (*judgement, error) {
	j := &judgement{lock: f, artifact: predicate.Artifact{Release: f.ReleaseID, Digests: oci.Digests{Digest: artifact}}}
	var err error
	if j.declared, err = s.pipeline.Expand(s.stage.Name, f.Lock, r.files); err != nil {
		return nil, err
	}
	request := verify.Request{
		Pipeline:      s.pipeline,
		Stage:         s.stage.Name,
		Repository:    s.repository,
		Reference:     artifact.String(),
		Release:       f.ReleaseID,
		Files:         r.files,
		PolicyRef:     r.policyRef,
		Remotes:       r.Workspace.Repository,
		WithoutMirror: was != nil || j.declared.Mirror.Reviewed(),
	}
	if was != nil {
		request.Statements = was.Statements.Bundles
		request.Former = func(ctx context.Context, artifact digest.Digest) ([]sign.Claim, error) {
			names, err := live.FormerNames(r.chain(ctx, s).first(maxLookback), artifact)
			return names, denied(err)
		}
	} else {
		request.Reference = oci.CandidateTag(s.stage.Name, f.ReleaseID)
		request.Candidates, request.Name = s.candidates, verify.NameOf(j.declared, f.ReleaseID)
	}
	if j.examined, err = verify.Examine(ctx, request); err != nil {
		return nil, err
	}
	if j.checks = j.examined.Report.Checks; j.checks.Result() == policy.Pass {
		j.artifact.Content = j.examined.Tree.ContentDigest()
	}
	return j, nil
}

// judgeGates judges order and gates.
func (r *run) judgeGates(ctx context.Context, s *stage, j *judgement) error {
	if j.declared.Mirror.Reviewed() {
		review, err := r.judgeReview(ctx, s, j)
		if err != nil {
			return fmt.Errorf("review: %w", err)
		}
		j.gates = append(j.gates, review)
	}
	order, err := r.order(ctx, s, j.lock, j.made())
	if err != nil {
		return err
	}
	request := evidence.Request{Candidate: j.examined.Manifest.Descriptor, Tree: j.examined.Tree}
	current := s.state.Live
	if current != nil {
		if request.Live, err = s.repository.ReadTree(ctx, current.To.Digest.String()); err != nil {
			return fmt.Errorf("what is live: %w", err)
		}
	}
	facts, err := r.facts(ctx, s, j.declared, j.lock, j.made(), request)
	if err != nil {
		return err
	}
	if facts.Review.Missing = "the stage has no pull request: mirror.review is not pull-request"; j.review != nil {
		facts.Review = j.review.facts
	}
	facts.Unchanged = current != nil && current.To.Content == j.artifact.Content
	facts.LiveImages = r.lockedImages(s, current)
	if err := r.returns(ctx, s, j.lock.Lock, &facts); err != nil {
		return denied(err)
	}
	j.facts = facts
	if len(s.stage.After.Stages) > 0 {
		j.gates = append(j.gates, policy.WaiveOrder(order, s.stage.After, j.declared.Waivers, facts))
	}
	j.gates = append(j.gates, policy.Gates(j.declared.Gates, j.declared.Waivers, facts)...)
	r.showVerdict(ctx, s, j)
	return nil
}

// lockedImages returns the images that the lock of what is live names; none without a lock that can be read.
func (r *run) lockedImages(s *stage, current *live.Promotion) []digest.Digest {
	if current == nil {
		return nil
	}
	f, err := lock.Release(r.files, s.pipeline.Lock, current.To.Release)
	if err != nil {
		return nil
	}
	var digests []digest.Digest
	for _, image := range f.Images() {
		digests = append(digests, image.Digest)
	}
	return digests
}

// made returns how the artifact was made.
func (j *judgement) made() verify.Made {
	m := verify.Made{Stage: j.declared.Stage, Commit: j.examined.GitOpsCommit, Hydration: j.examined.Hydration}
	if e := j.examined.Entry; e != nil {
		m.Commit = e.GitOps.Commit
	}
	return m
}

// facts collects what gates need to know about a release in a declared stage of the same pipeline, whose candidate was made so, and
// adds it to the request.
func (r *run) facts(ctx context.Context, s *stage, declared pipeline.Expanded, f lock.File, made verify.Made, request evidence.Request) (policy.Facts, error) {
	request.Declared, request.Lock, request.Files, request.Client, request.Now = declared, f.Lock, r.files, r.Client, r.Now()
	request.Sources = r.Workspace.Repository
	var err error
	if request.Stages, err = r.otherStages(ctx, s, declared.Gates, f, made); err != nil {
		return policy.Facts{}, err
	}
	return evidence.Collect(ctx, request)
}

// sibling opens another stage of the same pipeline.
func (r *run) sibling(ctx context.Context, s *stage, name string) (*stage, error) {
	declared, ok := s.pipeline.Stage(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", pipeline.ErrNoStage, name)
	}
	other := &stage{pipeline: s.pipeline, stage: declared}
	return other, r.open(ctx, other)
}

// order judges whether the release went through the stages before, with the content that it has there at the GitOps commit of its
// candidate. A first stage passes.
func (r *run) order(ctx context.Context, s *stage, f lock.File, made verify.Made) (policy.GateResult, error) {
	passages := map[string]policy.Passage{}
	for _, name := range s.stage.After.Stages {
		other, t, err := r.another(ctx, s, name, f, made)
		if err == nil {
			passages[name], err = r.passage(ctx, other, f.Lock, t)
		}
		if err != nil {
			return policy.GateResult{}, fmt.Errorf("stage %s: %w", name, denied(err))
		}
	}
	return policy.Order(s.stage.After, passages), nil
}

// another opens another stage of the same pipeline, and finds what counts there of a release.
func (r *run) another(ctx context.Context, s *stage, name string, f lock.File, made verify.Made) (*stage, *standing, error) {
	other, err := r.sibling(ctx, s, name)
	if err != nil {
		return nil, nil, err
	}
	t, err := r.standing(ctx, other, f, made)
	for _, note := range other.result.Notes {
		if !slices.Contains(s.result.Notes, note) {
			s.result.Notes = append(s.result.Notes, note)
		}
	}
	return other, t, err
}

// otherStages reads what gates of a stage need of other stages.
func (r *run) otherStages(ctx context.Context, s *stage, gates []pipeline.Gate, f lock.File, made verify.Made) (map[string]evidence.Stage, error) {
	stages := map[string]evidence.Stage{}
	for _, name := range policy.NeedsOf(gates).Stages() {
		other, t, err := r.another(ctx, s, name, f, made)
		if err != nil {
			return nil, fmt.Errorf("stage %s: %w", name, err)
		}
		e := evidence.Stage{Artifact: t.entry.Digest}
		if e.Declared, err = s.pipeline.Expand(name, f.Lock, r.files); err != nil {
			return nil, err
		}
		if e.Live, err = r.spans(ctx, other, t); err != nil {
			return nil, fmt.Errorf("stage %s: %w", name, denied(err))
		}
		for _, span := range e.Live {
			if span.Release == f.ReleaseID && span.Otherwise == "" {
				e.Artifact = span.Digest // the newest one's
			}
		}
		stages[name] = e
	}
	return stages, nil
}

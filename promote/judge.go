package promote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// judgement is the evidence and the verdict about promoting one release to one stage.
type judgement struct {
	lock     lock.File
	declared pipeline.Expanded // for that release
	made     verify.Made       // zero for one that was live before
	examined verify.Examined
	images   []sign.ImageSignature // of the hydrator, in the older form
	artifact predicate.Artifact
	checks   policy.Verdict
	facts    policy.Facts
	gates    []policy.GateResult
	review   policy.Reviewed
	proposed bool            // the stage's review branch shows it
	left     predicate.Holds // by a rollback
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

// judge decides whether a release may be promoted to a stage: it verifies the candidate, and judges order and gates. The stage branch
// need not show a candidate that people review: the review's gate checks more.
func (r *run) judge(ctx context.Context, s *stage, f lock.File, h hydrated) (*judgement, error) {
	j := &judgement{lock: f, declared: h.declared, made: h.made(), images: h.entry.Images, artifact: predicate.Artifact{Release: f.ReleaseID, Digests: oci.Digests{Digest: h.entry.Digest}}}
	err := r.examine(ctx, s, j, verify.Request{
		Reference:     oci.CandidateTag(s.stage.Name, f.ReleaseID),
		Candidates:    s.candidates,
		Name:          verify.NameOf(j.declared, f.ReleaseID),
		WithoutMirror: j.declared.Mirror.Reviewed(),
	})
	if err != nil {
		return j, err
	}
	if j.checks.Result() != policy.Pass { // it is not judged further
		if slices.ContainsFunc(j.checks, func(c policy.Check) bool { return c.Check == "signature" && c.Result == policy.Fail }) {
			s.note("if the hydrator has a new key, `lockage hydrate %s --release %s` makes the candidate anew", s.pipeline.Argument(s.stage.Name), f.ReleaseID)
		}
		return j, nil
	}
	return j, r.judgeGates(ctx, s, j)
}

const (
	// maxUnpacked bounds the unpacked files of all stages in progress, in bytes.
	maxUnpacked = 20 << 20
	// unpacks is how many times its size a layer is taken to unpack to: manifests compress well.
	unpacks = 10
)

// inRoom is a stage's repository that waits, once a stage, until its artifact may be unpacked beside those of other stages. [run.one]
// makes the place free again.
type inRoom struct {
	*oci.Repository
	run   *run
	stage *stage
}

// Pull implements [verify.Repository].
func (r inRoom) Pull(ctx context.Context, m oci.Manifest) (*oci.Tree, error) {
	if r.stage.unpacked == 0 { // else it is the artifact of another release, of about that size
		size := min(max(0, m.Layer.Size)*unpacks, maxUnpacked)
		if err := r.run.unpacked.Acquire(ctx, size); err != nil {
			return nil, err
		}
		r.stage.unpacked = size
	}
	return r.Repository.Pull(ctx, m)
}

// examine verifies an artifact of a release in the stage's repository.
func (r *run) examine(ctx context.Context, s *stage, j *judgement, request verify.Request) (err error) {
	request.Pipeline, request.Stage, request.Repository, request.Release = s.pipeline, s.stage.Name, inRoom{s.live.Artifacts, r, s}, j.lock.ReleaseID
	request.Files, request.PolicyRef, request.Remotes = r.files, r.policyRef, r.Workspace.Repository
	if j.examined, err = verify.Examine(ctx, request); err != nil {
		return err
	}
	if j.checks = j.examined.Report.Checks; j.checks.Result() == policy.Pass {
		j.artifact.Content = j.examined.Tree.ContentDigest()
	}
	return nil
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
	others, err := r.others(ctx, s, slices.Concat(s.stage.After.Stages, policy.NeedsOf(j.declared.Gates).Stages()), j.lock, j.made)
	if err != nil {
		return err
	}
	request := evidence.Request{Candidate: j.examined.Manifest.Descriptor, Known: j.statements(), Tree: j.examined.Tree}
	current := s.state.Live
	if current != nil {
		request.Live = func(ctx context.Context) (*oci.Tree, error) {
			return s.live.Artifacts.ReadTree(ctx, current.To.Digest.String())
		}
	}
	facts, err := r.facts(ctx, j.declared, j.lock, others, request)
	if err != nil {
		return err
	}
	if facts.Review = j.review; !j.declared.Mirror.Reviewed() {
		facts.Review.Missing = "the stage has no pull request: mirror.review is not pull-request"
	}
	if current != nil {
		facts.Unchanged = current.To.Content == j.artifact.Content
		if f, err := r.lock(s, current.To.Release); err == nil {
			for _, image := range f.Images() {
				facts.LiveImages = append(facts.LiveImages, image.Digest)
			}
		}
	}
	facts.Held, _ = s.state.Holds().Of(j.lock.ReleaseID, j.artifact.Digest)
	j.facts = facts
	if len(s.stage.After.Stages) > 0 {
		j.gates = append(j.gates, policy.WaiveOrder(s.order(others), s.stage.After, j.declared.Waivers, facts))
	}
	j.gates = append(j.gates, policy.Gates(j.declared.Gates, j.declared.Waivers, facts)...)
	j.facts.Objects, j.facts.LiveObjects, j.facts.Diff, j.facts.Applied = nil, nil, nil, nil // which are large
	r.showVerdict(ctx, s, j)
	return nil
}

// facts collects what gates need to know about a release in a declared stage, and adds it to the request.
func (r *run) facts(ctx context.Context, declared pipeline.Expanded, f lock.File, others map[string]*otherStage, request evidence.Request) (policy.Facts, error) {
	request.Declared, request.Lock, request.Files, request.Client, request.Now = declared, f.Lock, r.files, r.Client, r.Now()
	request.Sources, request.Stages, request.Run = r.Workspace.Repository.Sources(), map[string]evidence.Stage{}, r.evidence
	for name, e := range others {
		request.Stages[name] = e.Stage
	}
	return evidence.Collect(ctx, request)
}

package publish

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy/verify"
)

// maxRounds bounds how often stages are published again because a newer hydration took their tag while their branch was
// being written.
const maxRounds = 3

// mirror makes the branches show what was published. It makes one push per pipeline and remote; an error of one concerns
// only its stages. A stage whose tag moved to another hydration meanwhile is published again, and its branch shows the
// newer one: that other run may have found the branch up to date, before this one wrote to it.
func (r *run) mirror(ctx context.Context, stages []*stage) {
	for range maxRounds {
		r.writeBranches(ctx, stages)
		var superseded []*stage
		for _, s := range stages {
			if s.shown.Written && s.result.Err == nil {
				switch desc, err := s.repository.Resolve(ctx, s.tags.Candidate); {
				case err != nil:
					s.fail(err)
				case desc.Digest != s.result.Digest:
					superseded = append(superseded, s)
				}
			}
		}
		if len(superseded) == 0 {
			return
		}
		stages = superseded
		if err := r.refresh(ctx, stages); err != nil {
			failMirrors(stages, err)
			return
		}
		r.publish(ctx, stages)
	}
}

// refresh reads the policy ref again: the run that superseded these stages may have started from a commit that is newer
// than this run.
func (r *run) refresh(ctx context.Context, stages []*stage) error {
	ref, err := r.Workspace.Policy(ctx, r.PolicyRef, r.Warn)
	if err != nil {
		return err
	}
	r.policyRef = ref
	tip := r.tipInputs(ctx)
	for _, s := range stages {
		s.tipInput = tip[plan.KeyOf(s.Stage.Stage)]
	}
	return nil
}

// writeBranches writes the branches of stages once, one pipeline at a time.
func (r *run) writeBranches(ctx context.Context, stages []*stage) {
	byRemote := map[*git.Remote][]*stage{}
	var order []*git.Remote
	for _, s := range stages {
		if s.remote == nil || s.result.Err != nil || s.gitops == "" {
			continue
		}
		if byRemote[s.remote] == nil {
			order = append(order, s.remote)
		}
		byRemote[s.remote] = append(byRemote[s.remote], s)
	}
	for _, remote := range order {
		own, writer := byRemote[remote], r.BranchWriter(remote, r.policyRef)
		if err := writer.Look(ctx, changes(own)); err != nil {
			failMirrors(own, err)
			continue
		}
		for len(own) > 0 {
			n := 1
			for n < len(own) && own[n].into == own[0].into {
				n++
			}
			r.writePipeline(ctx, writer, own[:n])
			own = own[n:]
		}
	}
}

// writePipeline writes the branches of a pipeline's stages, in one push.
func (r *run) writePipeline(ctx context.Context, w *ledger.Writer, stages []*stage) {
	results, err := w.Write(ctx, changes(stages))
	if err != nil {
		failMirrors(stages, err)
		return
	}
	for i, s := range stages {
		s.shown = results[i]
		if s.shown.Superseded {
			r.Warn(fmt.Sprintf("%s: branch %s shows a hydration of a newer GitOps commit; it stays unchanged", s, s.branch()))
			continue
		}
		s.result.Commit = s.shown.Commit
		if s.shown.Written {
			s.pushed()
			r.Step(fmt.Sprintf("%s on branch %s", s, s.branch()))
		}
	}
}

func failMirrors(stages []*stage, err error) {
	for _, s := range stages {
		s.fail(fmt.Errorf("mirror: %w", err))
	}
}

// pushed records that something was written beside the artifact.
func (s *stage) pushed() {
	if s.result.Action == Unchanged {
		s.result.Action = Pushed
	}
}

// reviewBranch returns the branch that proposes the stage for review; "" without a review.
func (s *stage) reviewBranch() string {
	if !s.Declared.Mirror.Reviewed() {
		return ""
	}
	return pipeline.ReviewBranch(s.Pipeline, s.Name, s.Lock.ReleaseID)
}

// branch returns the branch that hydration writes.
func (s *stage) branch() string { return cmp.Or(s.reviewBranch(), s.Declared.Mirror.Branch) }

func changes(stages []*stage) []ledger.Change {
	changes := make([]ledger.Change, len(stages))
	for i, s := range stages {
		changes[i] = s.change()
	}
	return changes
}

// change makes the stage's branch show what was published.
func (s *stage) change() ledger.Change {
	m := s.Declared.Mirror
	return ledger.Change{
		Artifact: ledger.Artifact{
			Claim:   s.claim,
			Digests: oci.Digests{Digest: s.result.Digest, Content: s.result.ContentDigest},
			Source:  ledger.Origin{URL: s.release.SourceURL, Commit: s.Lock.GitCommit},
			GitOps:  ledger.Origin{URL: s.run.policyRef.URL(), Commit: s.gitops},
		},
		Place:      verify.StagePlace(m),
		Review:     s.reviewBranch(),
		Attributes: m.Attributes,
		Time:       s.release.Committed,
		Tree: func(ctx context.Context) (fs.FS, error) { // the branch shows what the registry has
			return s.repository.ReadTree(ctx, s.result.Digest.String())
		},
		Sign: s.signCommit,
	}
}

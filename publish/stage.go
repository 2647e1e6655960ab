package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// stage is one stage of a run.
type stage struct {
	plan.Stage
	run     *run
	release *plan.Release
	into    *Release // receives the result

	repository *oci.Repository
	writer     writer
	hydrator   *sign.Verifier                       // trusts the key that the writer signs with
	tipInput   digest.Digest                        // input digest at the policy ref's tip; "" if that is the run's head
	remote     *git.Remote                          // of the mirror; nil without one
	signCommit func(payload []byte) (string, error) // nil for none

	// What publish finds out.
	input      digest.Digest
	tags       oci.StageTags
	claim      sign.Claim
	tagged     bool     // the tag of this hydration existed already
	allowances []string // that the render used
	gitops     string   // GitOps commit of the hydration; of what superseded it, the newest that is verified, or ""
	warnings   []string
	result     Stage

	shown ledger.Result // of its branch
}

// String returns pipeline/stage.
func (s *stage) String() string { return s.Pipeline + "/" + s.Name }

// fail makes an error the stage's result.
func (s *stage) fail(err error) { s.result.Action, s.result.Err = Failed, err }

// openRegistry does not open the key that signs: that is not needed if nothing has to be written.
func (s *stage) openRegistry(files fs.FS) error {
	var err error
	if s.repository, err = s.run.Client.Repository(s.Declared.Repository); err != nil {
		return err
	}
	if s.hydrator, err = verify.Identity(files, s.Declared, pipeline.RoleHydrator); err != nil {
		return err
	}
	if s.writer = (dryRun{}); s.run.DryRun {
		return nil
	}
	s.writer = signedWriter{s.repository, func(ctx context.Context) (sign.Signer, error) {
		return s.run.Signer(ctx, s.Declared, "hydrator", s.hydrator)
	}}
	_, err = signingKey(s.Declared, "hydrator")
	return err
}

func (s *stage) openMirror(ctx context.Context) error {
	m := s.Declared.Mirror
	if !m.Hydrated() {
		return nil
	}
	var err error
	if s.remote, err = s.run.Workspace.Repository.Remote(ctx, m.Remote); err != nil {
		return Configurationf("pipeline %s: mirror.remote of stage %s: %w", s.Pipeline, s.Name, err)
	}
	if !s.run.DryRun {
		s.signCommit, err = s.run.CommitSigner(s.Declared)
	}
	return err
}

// publish brings the registry to what the stage's inputs give. It can be called again, with another policy ref.
func (s *stage) publish(ctx context.Context) {
	if s.Err != nil {
		s.result = Stage{Name: s.Name}
		s.fail(s.Err)
		return
	}
	s.input = s.InputDigest()
	s.tags = oci.TagsOf(s.Name, s.Lock.Image.Digest, s.Lock.ReleaseID, s.input)
	s.claim = sign.Claim{Pipeline: s.Pipeline, Stage: s.Name, Release: s.Lock.ReleaseID, Repository: s.repository.Name()}
	s.gitops, s.warnings, s.allowances, s.shown = s.run.head, nil, nil, ledger.Result{}
	s.result = Stage{
		Name:        s.Name,
		Action:      Unchanged,
		InputDigest: s.input,
		Tags:        []string{s.tags.Hydration, s.tags.Image, s.tags.Candidate},
	}
	if err := s.hydrate(ctx); err != nil {
		s.fail(err)
	} else if s.Declared.Mirror.Hydrated() {
		s.result.Branch = s.branch()
	}
}

func (s *stage) hydrate(ctx context.Context) error {
	newer, err := s.newerCandidate(ctx)
	if err != nil {
		return err
	}
	if newer != nil {
		return s.supersede(ctx, newer)
	}
	h, err := s.load(ctx, s.tags.Hydration)
	if err != nil {
		return err
	}
	if h != nil && h.input() != s.input {
		return fmt.Errorf("%s has the inputs %s, not %s: tag collision (12-digit prefix of the input digest): delete the tag and run hydrate again",
			s.repository.Reference(s.tags.Hydration), h.input(), s.input)
	}
	s.tagged = h != nil
	if h == nil || !s.hydrated(h) {
		if h, err = s.write(ctx, h); err != nil {
			return err
		}
	}
	s.describe(h)
	return s.tag(ctx, h)
}

// hydrated reports whether the hydrator signed everything that it has to sign.
func (s *stage) hydrated(h *hydration) bool {
	return policy.Hydrated(verify.Expect(s.Lock, s.claim), h.evidence).Result() == policy.Pass
}

// write renders the stage, and pushes and signs what is missing. The hydration found before, if any, must be the same
// artifact.
func (s *stage) write(ctx context.Context, before *hydration) (*hydration, error) {
	packed, err := s.render(ctx)
	if err != nil {
		return nil, err
	}
	if before != nil && before.desc().Digest != packed.Descriptor.Digest {
		return nil, fmt.Errorf("%s is %s, but its inputs give %s now: the render is not deterministic, or another build of lockage made it; it stays unchanged",
			s.repository.Reference(s.tags.Hydration), before.desc().Digest, packed.Descriptor.Digest)
	}
	if err := s.writer.Push(ctx, packed); err != nil {
		return nil, err
	}
	s.result.Action = Pushed
	h, err := s.inspect(ctx, packed.Descriptor, packed.Manifest)
	if err != nil {
		return nil, err
	}
	return h, s.attest(ctx, h)
}

// render renders and packs the stage, once a processor is free.
func (s *stage) render(ctx context.Context) (oci.Artifact, error) {
	select {
	case s.run.renders <- struct{}{}:
		defer func() { <-s.run.renders }()
	case <-ctx.Done():
		return oci.Artifact{}, context.Cause(ctx)
	}
	rendered, err := s.Render(ctx)
	if err != nil {
		return oci.Artifact{}, err
	}
	s.warnings, s.allowances = rendered.Warnings, rendered.Allowances
	s.result.Objects, s.result.Images = rendered.Objects, rendered.Images
	return Pack(s.Stage.Stage, rendered, s.release.SourceURL, s.release.Committed)
}

// Pack packs a rendered stage. The result is a function of its arguments alone.
func Pack(stage hydrate.Stage, rendered hydrate.Rendering, sourceURL string, committed time.Time) (oci.Artifact, error) {
	layer, err := oci.PackLayer(rendered.Tree)
	if err != nil {
		return oci.Artifact{}, err
	}
	annotations := map[string]string{
		ocispec.AnnotationCreated:   committed.UTC().Format(time.RFC3339),
		ocispec.AnnotationSource:    sourceURL,
		ocispec.AnnotationRevision:  "sha1:" + stage.Lock.GitCommit,
		ocispec.AnnotationVersion:   stage.Lock.ReleaseID,
		oci.AnnotationPipeline:      stage.Pipeline,
		oci.AnnotationStage:         stage.Name,
		oci.AnnotationRelease:       stage.Lock.ReleaseID,
		oci.AnnotationImage:         stage.Lock.Image.Pinned(),
		oci.AnnotationInputDigest:   stage.InputDigest().String(),
		oci.AnnotationContentDigest: layer.ContentDigest.String(),
	}
	return layer.Artifact(annotations)
}

// describe copies the artifact, and what was signed about it, to the result.
func (s *stage) describe(h *hydration) {
	s.result.Digest = h.desc().Digest
	s.result.Reference = s.repository.Reference(s.result.Digest.String())
	s.result.ContentDigest = digest.Digest(h.manifest.Annotations[oci.AnnotationContentDigest])
	if s.result.Objects == 0 {
		s.result.Objects, s.result.Images = h.contents()
	}
}

// supersede makes a newer candidate the result.
func (s *stage) supersede(ctx context.Context, newer *hydration) error {
	s.result.Action = Superseded
	s.describe(newer)
	s.result.InputDigest = newer.input()
	s.result.Tags = []string{s.tags.Candidate}
	commits := make([]string, len(newer.commits))
	for i, c := range newer.commits {
		commits[i] = fmt.Sprintf("%.12s", c)
	}
	s.warnings = append(s.warnings, fmt.Sprintf("the candidate was hydrated from GitOps commit %s, which is newer than %.12s",
		strings.Join(commits, ", "), s.run.head))
	var err error
	s.gitops, err = s.last(ctx, newer.commits)
	return err
}

// notFound turns the absence of a tag into nil.
func notFound(err error) error {
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	return err
}

package publish

import (
	"context"
	"io/fs"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
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
	store      *Store // makes the writes to it
	open       func(context.Context) (sign.Signer, error)
	hydrator   verify.Keys                          // has the key that is opened
	tipInput   digest.Digest                        // input digest at the policy ref's tip; "" if that is the run's head
	ledger     *git.Remote                          // has the candidates
	remote     *git.Remote                          // of the mirror; nil without one
	signCommit func(payload []byte) (string, error) // nil for none

	// What publish finds out.
	candidates *ledger.Candidates // as the ledger was read last
	input      digest.Digest
	claim      sign.Claim
	allowances []string // that the render used
	warnings   []string
	proven     *proven            // nil for none yet
	entry      ledger.Entry       // the stage's, or the one that superseded it
	desc       ocispec.Descriptor // of its manifest, if it was needed
	tags       oci.StageTags      // of the entry
	tagged     bool               // the tags name it
	made       bool               // this run rendered it
	recorded   bool               // this run wrote it
	replaced   *ledger.Entry      // what the ledger had before; nil for nothing
	yielded    bool               // the ledger gets that back
	result     Stage
}

// String returns pipeline/stage.
func (s *stage) String() string { return s.Pipeline + "/" + s.Name }

// fail makes an error the stage's result.
func (s *stage) fail(err error) { s.result.Action, s.result.Err = Failed, err }

// declared reports whether the pipeline file declares what the stage is to be.
func (s *stage) declared() bool { return s.Declared.Stage != "" }

// openRegistry reads who signs now from the files at the policy ref's tip, whatever commit is published. It does not open the key:
// that is not needed if nothing has to be written.
func (s *stage) openRegistry(trusted fs.FS) error {
	var err error
	if s.repository, err = s.run.Client.Repository(s.Declared.Repository); err != nil {
		return err
	}
	if s.hydrator, err = verify.KeysOf(trusted, s.Declared, pipeline.RoleHydrator); err != nil {
		return err
	}
	s.store = NewStore(s.repository, s.run.DryRun)
	if s.run.DryRun {
		return nil
	}
	s.open = func(ctx context.Context) (sign.Signer, error) {
		return s.run.Signer(ctx, s.Declared, "hydrator", s.hydrator.Verifier)
	}
	_, err = signingKey(s.Declared, "hydrator")
	return err
}

// openGit opens the repositories of the stage's branch and of the ledger.
func (s *stage) openGit(ctx context.Context) error {
	var err error
	if m := s.Declared.Mirror; m.Hydrated() {
		if s.remote, err = s.run.Workspace.Repository.Remote(ctx, m.Remote); err != nil {
			return Configurationf("pipeline %s: mirror.remote of stage %s: %w", s.Pipeline, s.Name, err)
		}
	}
	if s.ledger, err = verify.LedgerRemote(ctx, s.Declared, s.run.Workspace.Repository); err != nil {
		return &ConfigurationError{err}
	}
	if !s.run.DryRun {
		s.signCommit, err = s.run.CommitSigner(s.Declared)
	}
	return err
}

// reviewed reports whether people may be asked about what the ledger has of the stage now.
func (s *stage) reviewed() bool {
	declared, _ := s.release.Pipeline.Stage(s.Name)
	return s.result.Err == nil && !s.run.DryRun && s.Declared.Mirror.Reviewed() && len(declared.After.Stages) == 0
}

// publish brings the registry to what the stage's inputs give, but for the tags.
func (s *stage) publish(ctx context.Context) {
	s.result = Stage{Name: s.Name}
	if s.Err != nil {
		s.fail(s.Err)
		return
	}
	s.input = s.InputDigest()
	s.tags = oci.TagsOf(s.Name, s.Lock.Tagged(), s.Lock.ReleaseID, s.input)
	s.claim = sign.Claim{Pipeline: s.Pipeline, Stage: s.Name, Release: s.Lock.ReleaseID, Repository: s.repository.Name()}
	s.result.Action, s.result.InputDigest = Unchanged, s.input
	s.result.Tags = s.tags.All()
	err := s.hydrate(ctx)
	if s.store.Wrote() {
		s.pushed()
	}
	if err != nil {
		s.fail(err)
	} else if s.Declared.Mirror.Hydrated() {
		s.result.Branch = s.Declared.Mirror.Branch
	}
}

// render renders and packs the stage, once a processor is free, and returns Git's id of the files.
func (s *stage) render(ctx context.Context) (packed oci.Artifact, files git.Hash, err error) {
	select {
	case s.run.renders <- struct{}{}:
		defer func() { <-s.run.renders }()
	case <-ctx.Done():
		return packed, "", context.Cause(ctx)
	}
	rendered, err := s.Render(ctx)
	if err != nil {
		return packed, "", err
	}
	s.warnings, s.allowances = rendered.Warnings, rendered.Allowances
	s.result.Objects, s.result.Images = rendered.Objects, rendered.Images
	if files, err = ledger.FilesID(rendered.Tree); err != nil {
		return packed, "", err
	}
	packed, err = Pack(s.Stage.Stage, rendered, s.release.SourceURL, s.release.Committed)
	return packed, files, err
}

// Pack packs a rendered stage. The result is a function of its arguments alone.
func Pack(stage hydrate.Stage, rendered hydrate.Rendering, sourceURL string, committed time.Time) (oci.Artifact, error) {
	return Made{
		Claim:     sign.Claim{Pipeline: stage.Pipeline, Stage: stage.Name, Release: stage.Lock.ReleaseID},
		SourceURL: sourceURL,
		Source:    stage.Lock.Revision(),
		Committed: committed,
		Image:     stage.Lock.Image.Pinned(),
		Input:     stage.InputDigest(),
	}.Pack(rendered.Tree)
}

// Made is what the manifest of an artifact says of how it was made.
type Made struct {
	sign.Claim               // without the repository
	SourceURL, Source string // Source is a commit, or the digest of a packaged chart
	Committed         time.Time
	Image             string // pinned; "" for none
	Input             digest.Digest
}

// Pack packs files.
func (m Made) Pack(files fs.FS) (oci.Artifact, error) {
	layer, err := oci.PackLayer(files)
	if err != nil {
		return oci.Artifact{}, err
	}
	annotations := map[string]string{
		ocispec.AnnotationCreated:   m.Committed.UTC().Format(time.RFC3339),
		ocispec.AnnotationSource:    m.SourceURL,
		ocispec.AnnotationRevision:  oci.Revision(m.Source),
		ocispec.AnnotationVersion:   m.Release,
		oci.AnnotationPipeline:      m.Pipeline,
		oci.AnnotationStage:         m.Stage,
		oci.AnnotationRelease:       m.Release,
		oci.AnnotationImage:         m.Image,
		oci.AnnotationInputDigest:   m.Input.String(),
		oci.AnnotationContentDigest: layer.ContentDigest.String(),
	}
	if m.Image == "" {
		delete(annotations, oci.AnnotationImage)
	}
	return layer.Artifact(annotations)
}

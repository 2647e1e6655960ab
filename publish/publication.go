// Package publish makes a registry say what a stage's inputs say: it renders, packs, pushes, signs and tags, or finds
// that all of this was done before.
//
// # Write order
//
// The manifest by digest, then signature and provenance (each read back), then the older signature, then the tag of
// this hydration, which never moves, then the tags that do. A run that ends between any two writes leaves no tag that
// names something unsigned, and the next run does what is left to do: every write is made only where its result is not
// there yet.
//
// # Unchanged
//
// A stage is unchanged when the tag of its hydration names a manifest with its full input digest, and the hydrator's
// signature and a provenance from a commit on the policy ref are verified. Nothing is rendered then.
//
// # Superseded
//
// Registries have no compare-and-swap on tags. A hydration of an older GitOps commit, however late it comes, gives way
// all the same: before it writes, it looks at the candidate, and after it has moved a tag it looks at the hydrations
// that exist, whose tags never move and are written first. The newest of them, by ancestry of the GitOps commits in
// their verified provenance, gets the tag. Of two writers, whoever looks last sees both. Nor is a candidate replaced whose
// inputs are those of the policy ref's tip: the tip led back to them.
package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// Action is what publishing a stage came to.
type Action string

// The actions of a stage.
const (
	Pushed     Action = "pushed"     // something was written
	Unchanged  Action = "unchanged"  // all of it was there
	Superseded Action = "superseded" // a newer GitOps commit was hydrated before
	Failed     Action = "failed"
)

// Registry is one artifact repository, as far as publishing reads it; *oci.Repository is one.
type Registry interface {
	sign.Reader
	Name() string
	Reference(tagOrDigest string) string
	Resolve(ctx context.Context, tagOrDigest string) (ocispec.Descriptor, error)
	Tags(ctx context.Context, prefix string) ([]string, error)
}

// Trunk knows the history of the policy ref.
type Trunk interface {
	verify.Trunk
	// IsAncestor tells whether ancestor comes before descendant, or is the same commit.
	IsAncestor(ctx context.Context, ancestor, descendant string) (bool, error)
}

// Job is one stage to publish.
type Job struct {
	Stage        hydrate.Stage
	Registry     Registry
	Writer       Writer
	Hydrator     *sign.Verifier // trusts the key that the writer signs with
	SourceURL    string
	Committed    time.Time // the committer's time of the locked commit
	GitOpsURL    string    // "" for a repository without a remote
	GitOpsCommit string
	Trunk        Trunk
	TipInput     digest.Digest // of this stage and release at the policy ref's tip; "" where that is GitOpsCommit
	Version      string        // of lockage
}

// Outcome is what publishing one stage came to.
type Outcome struct {
	Action        Action
	Reference     string
	Digest        digest.Digest
	ContentDigest digest.Digest
	InputDigest   digest.Digest
	GitOpsCommit  string // that it was hydrated from; of what superseded it, the newest that is verified, or ""
	Tags          []string
	Objects       int
	Images        []string
	Warnings      []string
}

// publish brings the registry to what the job's stage is. It waits for acquire before it renders.
func publish(ctx context.Context, job Job, acquire func(context.Context) (release func(), err error)) (Outcome, error) {
	p := publication{Job: job, acquire: acquire, input: job.Stage.InputDigest()}
	p.tags = oci.TagsOf(job.Stage.Name, job.Stage.Lock.Image.Digest, job.Stage.Lock.ReleaseID, p.input)
	p.claim = sign.Claim{
		Pipeline:   job.Stage.Pipeline,
		Stage:      job.Stage.Name,
		Release:    job.Stage.Lock.ReleaseID,
		Repository: job.Registry.Name(),
	}
	p.out = Outcome{Action: Unchanged, InputDigest: p.input, GitOpsCommit: job.GitOpsCommit, Tags: []string{p.tags.Hydration, p.tags.Image, p.tags.Candidate}}
	if err := p.run(ctx); err != nil {
		p.out.Action = Failed
		return p.out, err
	}
	return p.out, nil
}

// publication is one job under way.
type publication struct {
	Job
	acquire func(context.Context) (release func(), err error)
	input   digest.Digest
	tags    oci.StageTags
	claim   sign.Claim
	out     Outcome

	allowances []string // that the render took

	settled bool // the tag of this hydration stood when it was looked for
}

func (p *publication) run(ctx context.Context) error {
	newer, err := p.newerCandidate(ctx)
	if err != nil {
		return err
	}
	if newer != nil {
		return p.supersede(ctx, newer)
	}

	here, err := p.load(ctx, p.tags.Hydration)
	if err != nil {
		return err
	}
	if here != nil && here.manifest.Annotations[oci.AnnotationInputDigest] != p.input.String() {
		return fmt.Errorf("%s has the inputs %s, not %s: two hydrations meet in one tag; move the tag away by hand",
			p.Registry.Reference(p.tags.Hydration), here.manifest.Annotations[oci.AnnotationInputDigest], p.input)
	}
	p.settled = here != nil
	if here == nil || !p.hydrated(here) {
		if here, err = p.write(ctx, here); err != nil {
			return err
		}
	}
	p.describe(here)
	return p.tag(ctx, here)
}

// hydrated tells whether all that the hydrator has to say of an artifact is said.
func (p *publication) hydrated(h *hydration) bool {
	return policy.Hydrated(verify.Expect(p.Stage.Lock, p.claim), h.evidence).Result() == policy.Pass
}

// write renders the stage, and pushes and signs what is missing of the result. The hydration found before, if any,
// must be the same artifact.
func (p *publication) write(ctx context.Context, before *hydration) (*hydration, error) {
	packed, err := p.render(ctx)
	if err != nil {
		return nil, err
	}
	if before != nil && before.manifest.Descriptor.Digest != packed.Descriptor.Digest {
		return nil, fmt.Errorf("%s is %s, but its inputs give %s now: a render that is not deterministic, or another build of lockage; it is left as it is",
			p.Registry.Reference(p.tags.Hydration), before.manifest.Descriptor.Digest, packed.Descriptor.Digest)
	}
	if err := p.Writer.Push(ctx, packed); err != nil {
		return nil, err
	}
	p.out.Action = Pushed
	h, err := p.inspect(ctx, packed.Descriptor, packed.Manifest)
	if err != nil {
		return nil, err
	}
	return h, p.attest(ctx, h)
}

// render renders and packs the stage.
func (p *publication) render(ctx context.Context) (oci.Artifact, error) {
	release, err := p.acquire(ctx)
	if err != nil {
		return oci.Artifact{}, err
	}
	defer release()
	rendered, err := p.Stage.Render(ctx)
	if err != nil {
		return oci.Artifact{}, err
	}
	p.out.Warnings, p.allowances = rendered.Warnings, rendered.Allowances
	p.out.Objects, p.out.Images = rendered.Objects, rendered.Images
	return Pack(p.Stage, rendered, p.SourceURL, p.Committed)
}

// Pack packs what a stage was rendered to. The result is a function of its arguments alone.
func Pack(stage hydrate.Stage, rendered hydrate.Rendering, sourceURL string, committed time.Time) (oci.Artifact, error) {
	content, err := oci.ContentDigest(rendered.Tree)
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
		oci.AnnotationContentDigest: content.String(),
	}
	return oci.Pack(rendered.Tree, annotations)
}

// describe fills the outcome from the artifact and what was signed about it.
func (p *publication) describe(h *hydration) {
	p.out.Digest = h.manifest.Descriptor.Digest
	p.out.Reference = p.Registry.Reference(p.out.Digest.String())
	p.out.ContentDigest = digest.Digest(h.manifest.Annotations[oci.AnnotationContentDigest])
	if p.out.Objects == 0 {
		p.out.Objects, p.out.Images = h.contents()
	}
}

func (p *publication) supersede(ctx context.Context, newer *hydration) error {
	p.out.Action = Superseded
	p.describe(newer)
	p.out.InputDigest = digest.Digest(newer.manifest.Annotations[oci.AnnotationInputDigest])
	p.out.Tags = []string{p.tags.Candidate}
	p.out.Warnings = append(p.out.Warnings, fmt.Sprintf("the candidate was hydrated from GitOps commit %s, which is newer than %s",
		strings.Join(h7(newer.commits), ", "), h7([]string{p.GitOpsCommit})[0]))
	var err error
	p.out.GitOpsCommit, err = p.last(ctx, newer.commits)
	return err
}

func h7(commits []string) []string {
	short := make([]string, len(commits))
	for i, c := range commits {
		short[i] = c[:min(len(c), 12)]
	}
	return short
}

// notFound turns the absence of a tag into nil.
func notFound(err error) error {
	if errors.Is(err, oci.ErrNotFound) {
		return nil
	}
	return err
}

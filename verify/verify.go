// Package verify collects the evidence about an artifact, from the registry and the policy ref, and has package policy
// judge it.
//
// Nothing that the checkout holds is believed: pipelines, locks and keys come from the policy ref. Nothing that the
// registry says is believed either, unless the hydrator signed it.
package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/artifact"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/sign"
)

// Trunk knows the history of the policy ref.
type Trunk interface {
	// Name is the policy ref's name, for messages.
	Name() string
	// Contains tells whether a commit is the policy ref's tip or an ancestor of it. A commit that nobody knows is not.
	Contains(ctx context.Context, commit string) (bool, error)
}

// Repository is an artifact repository as far as it is read; *oci.Repository is one.
type Repository interface {
	sign.Reader
	Name() string
	Reference(tagOrDigest string) string
	Pull(ctx context.Context, m oci.Manifest) (*oci.Tree, error)
}

// Request names the artifact to verify.
type Request struct {
	Pipeline   *pipeline.Pipeline
	Stage      string
	Repository Repository
	Reference  string // tag or digest
	Release    string // that it must be; "" for the one that it says it is
	Files      fs.FS  // of the GitOps repository at the policy ref
	Trunk      Trunk
	Remotes    Remotes // of stage branches
}

// Report is what was found out about one artifact.
type Report struct {
	Reference string         `json:"reference"`
	Digest    string         `json:"digest"`
	Result    policy.Result  `json:"result"`
	Checks    policy.Verdict `json:"checks"`
}

// Artifact verifies one artifact. An error means that nothing could be found out; a denial stands in the report.
func Artifact(ctx context.Context, r Request) (Report, error) {
	report := Report{Reference: r.Repository.Reference(r.Reference)}
	desc, raw, err := r.Repository.Manifest(ctx, r.Reference)
	if err != nil {
		return report, err
	}
	report.Digest = desc.Digest.String()
	report.Checks, err = r.judge(ctx, desc, raw)
	report.Result = report.Checks.Result()
	return report, err
}

func (r Request) judge(ctx context.Context, desc ocispec.Descriptor, raw []byte) (policy.Verdict, error) {
	deny := func(check string, err error) (policy.Verdict, error) {
		return policy.Verdict{{Check: check, Result: policy.Fail, Reason: err.Error()}}, nil
	}
	manifest, err := oci.ParseManifest(desc, raw)
	if err != nil {
		return deny("shape", err)
	}
	release := r.Release
	if release == "" {
		release = manifest.Annotations[artifact.Release]
	}
	file, err := lock.Release(r.Files, r.Pipeline.Lock, release)
	if err != nil {
		return deny("lock", fmt.Errorf("%s: %w", r.Trunk.Name(), err))
	}
	declared, err := r.Pipeline.Expand(r.Stage, file.Lock, r.Files)
	if err != nil {
		return nil, err
	}
	hydrator, err := Hydrator(r.Files, declared)
	if err != nil {
		return nil, err
	}
	ev := policy.Evidence{Digest: desc.Digest, Annotations: manifest.Annotations}
	if ev.Hydration, err = Hydration(ctx, r.Repository, desc, hydrator, r.Trunk); err != nil {
		return nil, err
	}
	expected := Expect(file, sign.Claim{
		Pipeline:   r.Pipeline.Name,
		Stage:      r.Stage,
		Release:    release,
		Repository: r.Repository.Name(),
	})
	tree, err := r.Repository.Pull(ctx, manifest)
	if err != nil {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return append(policy.Hydrated(expected, ev.Hydration), policy.Check{Check: "content", Result: policy.Fail, Reason: err.Error()}), nil
	}
	ev.Content, ev.DiffID = tree.ContentDigest(), tree.ContentDigest()
	verdict := policy.Artifact(expected, ev)
	if m := declared.Mirror; m != nil && m.When == "hydrate" {
		check, err := r.mirrored(ctx, m, desc.Digest, tree)
		if err != nil {
			return nil, err
		}
		verdict = append(verdict, check)
	}
	return verdict, nil
}

// Expect is what an artifact of a claim must be, by the lock.
func Expect(file lock.File, claim sign.Claim) policy.Expectation {
	l := file.Lock
	e := policy.Expectation{
		Claim:  claim,
		Commit: l.GitCommit,
		Lock:   digest.Digest(file.Digest),
		Images: map[digest.Digest]string{digest.Digest(l.Image.Digest): l.Image.Repository()},
	}
	for _, named := range l.Images {
		e.Images[digest.Digest(named.Digest)] = named.Image().Repository()
	}
	return e
}

// Hydration reads and proves what a hydrator said about an artifact, and asks the trunk about every GitOps commit that
// it named.
func Hydration(ctx context.Context, reader sign.Reader, desc ocispec.Descriptor, hydrator *sign.Verifier, trunk Trunk) (policy.Hydration, error) {
	h := policy.Hydration{PolicyRef: trunk.Name(), OnPolicyRef: map[string]bool{}}
	var err error
	h.Statements, h.Rejected, err = sign.Verify(ctx, reader, desc, hydrator)
	if err != nil {
		return h, err
	}
	for _, s := range h.Statements {
		if s.PredicateType() != sign.PredicateProvenance {
			continue
		}
		provenance, err := sign.ParseProvenance(s.Predicate())
		if err != nil {
			continue // the judgement says so
		}
		gitops, _ := provenance.Dependency(policy.DependencyGitOps)
		commit := gitops.Digest["gitCommit"]
		if _, known := h.OnPolicyRef[commit]; known || commit == "" {
			continue
		}
		if h.OnPolicyRef[commit], err = trunk.Contains(ctx, commit); err != nil {
			return h, err
		}
	}
	return h, nil
}

// ErrIdentity says that a pipeline file does not make clear who is trusted to render.
var ErrIdentity = errors.New("identities.hydrator cannot be used")

// roleHydrator is the name under which a pipeline file declares who may say «I rendered this».
const roleHydrator = "hydrator"

const maxKeyBytes = 64 << 10

// Hydrator is the verifier for what a stage's hydrator signs, its key read from the GitOps repository.
func Hydrator(files fs.FS, declared pipeline.Expanded) (*sign.Verifier, error) {
	id, ok := declared.Identities[roleHydrator]
	if !ok {
		return nil, fmt.Errorf("pipeline %s: %w: it is not declared, and nobody is trusted to render; name the public key", declared.Pipeline, ErrIdentity)
	}
	if id.Key == "" {
		return nil, fmt.Errorf("pipeline %s: %w: it has no key, and keyless identities are not supported yet", declared.Pipeline, ErrIdentity)
	}
	info, err := fs.Stat(files, id.Key)
	if err == nil && info.Size() > maxKeyBytes {
		err = fmt.Errorf("%d bytes are too many for a public key", info.Size())
	}
	var pem []byte
	if err == nil {
		pem, err = fs.ReadFile(files, id.Key)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pipeline %s: identities.hydrator: key %s in the GitOps repository: %w", declared.Pipeline, id.Key, err)
	}
	var key sign.PublicKey
	if err == nil {
		key, err = sign.ParsePublicKey(pem)
	}
	if err != nil {
		return nil, fmt.Errorf("pipeline %s: %w: key %s in the GitOps repository: %w", declared.Pipeline, ErrIdentity, id.Key, err)
	}
	return sign.NewVerifier(sign.Identity{Name: roleHydrator, PublicKey: key})
}

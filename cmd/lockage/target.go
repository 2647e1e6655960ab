package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/evidence"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

// target is an artifact that somebody wants to state something about.
type target struct {
	request    verify.Request
	client     *oci.Client
	lock       lock.File
	declared   pipeline.Expanded
	stages     []pipeline.Expanded // all of the pipeline
	repository *oci.Repository
	desc       ocispec.Descriptor
	reference  string
}

// target finds the one artifact that a query means, by the policy ref, and resolves it once.
func (a *app) target(ctx context.Context, f signFlags, q verify.Query) (*target, error) {
	t, err := a.seek(ctx, f, q)
	if err != nil {
		return nil, err
	}
	return t, t.resolve(ctx)
}

// seek finds out which artifact a query means, and asks no registry yet.
func (a *app) seek(ctx context.Context, f signFlags, q verify.Query) (*target, error) {
	w, err := a.workspace(ctx)
	if err != nil {
		return nil, err
	}
	trunk, err := w.Policy(ctx, f.policy, func(message string) { a.warn("%s", message) })
	if err != nil {
		return nil, err
	}
	files, err := trunk.Files(ctx)
	if err != nil {
		return nil, err
	}
	pipelines, err := a.pipelines(w, files)
	if err != nil {
		return nil, err
	}
	if f.pipeline != "" {
		i := slices.IndexFunc(pipelines, func(p *pipeline.Pipeline) bool { return p.Name == f.pipeline })
		if i < 0 {
			return nil, usagef("--pipeline %s: no such pipeline; name its file with -f", f.pipeline)
		}
		pipelines = pipelines[i : i+1]
	}
	t := &target{client: a.registries(w.Root())}
	requests, err := verify.Find(ctx, q, pipelines, files, t.client)
	if errors.Is(err, verify.ErrUnknown) {
		return nil, usageError{err}
	}
	if err != nil {
		return nil, err
	}
	if len(requests) > 1 {
		return nil, usagef("%d pipelines have a stage %s; name one with --pipeline NAME, or its file with -f", len(requests), q.Artifact)
	}
	t.request = requests[0]
	t.request.Files, t.request.Trunk, t.request.Remotes = files, trunk, w.Repository
	return t, nil
}

// resolve turns the reference into a digest, and finds out what is declared for it.
func (t *target) resolve(ctx context.Context) error {
	var err error
	if t.repository, err = t.client.Repository(t.request.Repository.Name()); err != nil {
		return err
	}
	t.reference = t.repository.Reference(t.request.Reference)
	desc, raw, err := t.repository.Manifest(ctx, t.request.Reference)
	if errors.Is(err, oci.ErrNotFound) && t.request.Release != "" {
		return fmt.Errorf("%w; run `lockage hydrate %s` first", err, t.request.Stage)
	}
	if err != nil {
		return err
	}
	t.desc = desc
	t.request.Reference = t.desc.Digest.String() // the tag may move, and what is signed may not
	if t.request.Release == "" {
		manifest, err := oci.ParseManifest(desc, raw)
		if err != nil {
			return fmt.Errorf("%s is %w: %w", t.reference, policy.ErrDenied, err)
		}
		t.request.Release = manifest.Annotations[oci.AnnotationRelease] // which verification proves
	}
	if t.lock, err = lock.Release(t.request.Files, t.request.Pipeline.Lock, t.request.Release); err != nil {
		return fmt.Errorf("%s: %w", t.request.Trunk.Name(), err)
	}
	for _, name := range t.request.Pipeline.Order() {
		declared, err := t.request.Pipeline.Expand(name, t.lock.Lock, t.request.Files)
		if err != nil {
			return err
		}
		if name == t.request.Stage {
			t.declared = declared
		}
		t.stages = append(t.stages, declared)
	}
	return nil
}

// verify refuses an artifact that is not what it says.
func (t *target) verify(ctx context.Context) error {
	request := t.request
	// Where people review, the branch shows the artifact only after they merged; that is promotion's gate to ask for.
	request.WithoutMirror = t.declared.Mirror.Reviewed()
	report, err := verify.Artifact(ctx, request)
	if err != nil {
		return err
	}
	if report.Result != policy.Pass {
		return fmt.Errorf("%s is %w: %s", report.Reference, policy.ErrDenied, report.Checks.Reason())
	}
	return nil
}

// claim is what a statement about the artifact says of it.
func (t *target) claim() sign.Claim {
	return sign.Claim{Pipeline: t.declared.Pipeline, Stage: t.declared.Stage, Release: t.lock.Lock.ReleaseID, Repository: t.repository.Name()}
}

func (t *target) result(s signer) attestResult {
	return attestResult{
		Pipeline: t.declared.Pipeline, Stage: t.declared.Stage, Release: t.lock.Lock.ReleaseID,
		Reference: t.reference, Digest: t.desc.Digest.String(),
		Identity: s.names, Key: s.key.Identity().PublicKey.Fingerprint(),
	}
}

// gate looks up the digest of a gate of the stage; "" is none.
func (t *target) gate(name string) (digest.Digest, error) {
	if name == "" {
		return "", nil
	}
	var names []string
	var digests []digest.Digest
	if stage, ok := t.request.Pipeline.Stage(t.declared.Stage); ok && len(stage.After.Stages) > 0 {
		names, digests = append(names, policy.GateOrder), append(digests, policy.OrderDigest(stage.After))
	}
	names = append(names, policy.GateNames(t.declared.Gates)...)
	for _, g := range t.declared.Gates {
		digests = append(digests, policy.GateDigest(g))
	}
	if i := slices.Index(names, name); i >= 0 {
		return digests[i], nil
	}
	return "", usagef("--waive %s: stage %s has no such gate; it has %s", name, t.declared.Stage, orNone(names))
}

// signer is an opened key, and who it is by the policy ref.
type signer struct {
	key   sign.Signer
	names []string        // identities of the target's stage
	roles []evidence.Role // in any stage of the pipeline
}

// signer opens a key.
func (a *app) signer(ctx context.Context, ref string, t *target) (signer, error) {
	key, err := a.keyring().Open(ctx, ref)
	if err != nil && ctx.Err() == nil {
		return signer{}, usagef("--key: %w", err)
	} else if err != nil {
		return signer{}, err
	}
	s := signer{key: key}
	ids, err := evidence.ReadIdentities(t.request.Files, t.declared)
	if err != nil {
		return signer{}, err
	}
	s.names = ids.Names(key.Identity().PublicKey)
	s.roles, err = evidence.Roles(t.request.Files, key.Identity().PublicKey, t.stages...)
	return s, err
}

// refuse is an error where the key has one of the signing roles in any stage.
func (s signer) refuse(roles ...string) error {
	for _, r := range s.roles {
		if slices.Contains(roles, r.Name) {
			return usagef("the key is that of %s, and clusters take whatever is signed with it for that: sign this with another key", r)
		}
	}
	return nil
}

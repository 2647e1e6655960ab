package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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

// target is an artifact to sign a statement about.
type target struct {
	declaration
	request    verify.Request
	lock       lock.File
	declared   pipeline.Expanded
	stages     []pipeline.Expanded // of the pipeline, but those in unread
	unread     []string            // stages whose declaration has a mistake
	repository *oci.Repository
	desc       ocispec.Descriptor
	reference  string
}

// target finds the one artifact that a query names, according to the policy ref, and resolves it once.
func (a *app) target(ctx context.Context, f signFlags, q verify.Query) (*target, error) {
	t, err := a.seek(ctx, f, q)
	if err != nil {
		return nil, err
	}
	return t, t.resolve(ctx)
}

// seek finds the stage and tag that a query names, without asking a registry.
func (a *app) seek(ctx context.Context, f signFlags, q verify.Query) (*target, error) {
	d, err := a.declared(ctx)
	if err != nil {
		return nil, err
	}
	if f.pipeline != "" {
		i := slices.IndexFunc(d.pipelines, func(p *pipeline.Pipeline) bool { return p.Name == f.pipeline })
		if i < 0 {
			return nil, usagef("--pipeline %s: no such pipeline; name its file with -f", f.pipeline)
		}
		d.pipelines = d.pipelines[i : i+1]
	}
	requests, err := verify.Find(ctx, q, d.pipelines, d.files, d.client, d.workspace.Repository)
	if err != nil {
		return nil, err
	}
	request, err := verify.Only(requests, q)
	if err != nil {
		return nil, err
	}
	if of := request.Pipeline.Repository(request.Stage); request.Repository.Name() != of {
		return nil, usagef("%s is a copy, whose statements no promotion reads: name the artifact in %s", q.Artifact, of)
	}
	return &target{declaration: d, request: d.complete(request)}, nil
}

// resolve turns the reference into a digest, and reads what is declared for it.
func (t *target) resolve(ctx context.Context) error {
	var err error
	if t.repository, err = t.client.Repository(t.request.Repository.Name()); err != nil {
		return err
	}
	t.reference = t.repository.Reference(t.request.Reference)
	reference := t.request.Reference
	if t.request.Candidates != nil {
		entry, err := t.request.Found(ctx)
		if err != nil {
			return err
		}
		reference = entry.Digest.String()
	}
	desc, raw, err := t.repository.Manifest(ctx, reference)
	if err != nil {
		return err
	}
	t.desc = desc
	if t.request.Candidates == nil {
		t.request.Reference = t.desc.Digest.String() // the tag may move while this runs
	}
	if t.request.Release == "" {
		manifest, err := oci.ParseManifest(desc, raw)
		if err != nil {
			return fmt.Errorf("%s is %w: %w", t.reference, policy.ErrDenied, err)
		}
		t.request.Release = manifest.Annotations[oci.AnnotationRelease] // verified later
	}
	if t.lock, err = t.request.Pipeline.LockOf(t.request.Files, t.request.Release); err != nil {
		return fmt.Errorf("%s: %w", t.request.PolicyRef.Name(), err)
	}
	for _, name := range t.request.Pipeline.Order() {
		declared, err := t.request.Pipeline.Expand(name, t.lock.Lock, t.request.Files)
		switch {
		case err == nil && name == t.request.Stage:
			t.declared = declared
		case err != nil && name == t.request.Stage:
			return err
		case err != nil:
			t.unread = append(t.unread, name)
			continue
		}
		t.stages = append(t.stages, declared)
	}
	return nil
}

// verify refuses an artifact that does not pass verification.
func (t *target) verify(ctx context.Context) error {
	_, err := t.examine(ctx)
	return err
}

// examine is verify, and returns what was read.
func (t *target) examine(ctx context.Context) (verify.Examined, error) {
	request := t.request
	// A reviewed branch shows the artifact only after the merge; promotion's gate checks that.
	request.WithoutMirror = t.declared.Mirror.Reviewed()
	examined, err := verify.Examine(ctx, request)
	if err != nil {
		return examined, err
	}
	if err := examined.Report.Checks.Err(); err != nil {
		return examined, fmt.Errorf("%s is %w", examined.Report.Reference, err)
	}
	return examined, nil
}

// claim is what a statement about the artifact says of it.
func (t *target) claim() sign.Claim {
	return sign.Claim{Pipeline: t.declared.Pipeline, Stage: t.declared.Stage, Release: t.lock.ReleaseID, Repository: t.repository.Name()}
}

// gate returns the digest of a gate of the stage.
func (t *target) gate(name string) (digest.Digest, error) {
	names := policy.GateNames(t.declared.Gates)
	stage, _ := t.request.Pipeline.Stage(t.declared.Stage)
	ordered := len(stage.After.Stages) > 0
	switch i := slices.Index(names, name); {
	case ordered && name == policy.GateOrder:
		return policy.OrderDigest(stage.After), nil
	case i >= 0:
		return policy.GateDigest(t.declared.Gates[i]), nil
	case ordered:
		names = slices.Insert(names, 0, policy.GateOrder)
	}
	return "", usagef("--waive %s: stage %s has no such gate; it has %s", name, t.declared.Stage, cmp.Or(strings.Join(names, ", "), "none"))
}

// signer is an opened key and its identities, according to the policy ref.
type signer struct {
	key   sign.Signer
	names []string        // identities of the target's stage
	roles []evidence.Role // in any stage of the pipeline
}

// signer opens a key, or without one signs in. It refuses a signer that has one of these roles in any stage.
func (a *app) signer(ctx context.Context, ref string, t *target, refused ...string) (s signer, err error) {
	if ref == "" {
		s.key, err = a.signIn(ctx, t)
	} else {
		s.key, err = a.openKey(ctx, ref, t)
	}
	switch {
	case err != nil && ref == "":
		return s, err
	case err != nil && ctx.Err() == nil:
		return s, usagef("--key: %w", err)
	case err != nil:
		return s, err
	}
	by := s.key.Identity().Author()
	ids, err := evidence.ReadIdentities(t.request.Files, t.declared)
	if err != nil {
		return s, err
	}
	s.names = ids.Names(by)
	if s.roles, err = evidence.Roles(t.request.Files, by, t.stages...); err != nil {
		return s, err
	}
	if err := s.refuse(refused...); err != nil || len(t.unread) == 0 {
		return s, err
	}
	a.warn("whether the key has a role in %s is not known, whose declaration has a mistake: `lockage doctor` names it", few(t.unread))
	return s, nil
}

// openKey opens a key, whose statements get timestamps where the pipeline's Sigstore instance has an authority for them.
func (a *app) openKey(ctx context.Context, ref string, t *target) (sign.Signer, error) {
	key, err := a.keyring().Open(ctx, ref)
	if err != nil || t.declared.Sigstore.SigningConfig == "" {
		return key, err
	}
	instance, err := verify.Instance(t.request.Files, t.declared)
	if err != nil {
		return nil, err
	}
	return instance.Stamped(key, time.Now)
}

// refuse returns an error if the key has one of the roles in any stage.
func (s signer) refuse(roles ...string) error {
	for _, r := range s.roles {
		if slices.Contains(roles, r.Name) {
			if by := s.key.Identity(); by.Issuer != "" {
				return usagef("%s is %s, and clusters accept anything signed by it in that role: sign as somebody else", by, r)
			}
			return usagef("this key belongs to %s, and clusters accept anything signed with it in that role: sign with another key", r)
		}
	}
	return nil
}

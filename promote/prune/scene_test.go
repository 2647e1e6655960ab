package prune_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote/prune"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// history is the policy ref by its releases, the newest first.
type history struct {
	testworld.History
	releases []string
}

func (h history) Releases(_ context.Context, _ fs.FS, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if dir != "locks/app" {
			yield("", errors.New("what is "+dir))
			return
		}
		for _, release := range h.releases {
			if !yield(release, nil) {
				return
			}
		}
	}
}

func lockOf(release, created string) lock.Lock {
	l := testworld.Lock(strings.TrimPrefix(release, "git-"))
	l.Image.Digest, l.CreatedAt = image(release), created
	return l
}

// release is the n-th release, and image the image of one.
func release(n int) string { return testworld.Release(n) }

func image(release string) digest.Digest { return digest.FromString("image of " + release) }

// remotes opens the repository of live refs.
type remotes struct{ origin *git.Remote }

func (r remotes) Remote(context.Context, string) (*git.Remote, error) { return r.origin, nil }
func (remotes) Remotes(context.Context) ([]string, error)             { return []string{"origin"}, nil }
func (remotes) Root() string                                          { return "" }

// scene is a pipeline without mirrors, its releases 1 to 4, the newest last, and a registry.
type scene struct {
	*testing.T
	registry           *testworld.Registry
	repository         *oci.Repository
	hydrator, promoter *sign.Key
	files              fstest.MapFS
	request            prune.Request
}

func newScene(t *testing.T, options registry.Options) *scene {
	t.Helper()
	s := &scene{T: t, registry: testworld.NewRegistry(t, options), hydrator: testworld.Key(t), promoter: testworld.Key(t), files: fstest.MapFS{}}
	s.repository = s.registry.Repository(t, "app")
	s.files["keys/hydrator.pub"] = &fstest.MapFile{Data: s.hydrator.PublicKey().PEM()}
	s.files["keys/promoter.pub"] = &fstest.MapFile{Data: s.promoter.PublicKey().PEM()}
	s.files["app.yaml"] = &fstest.MapFile{Data: []byte(testworld.Pipeline("app", s.registry.Host, "hydrator", "promoter"))}
	var releases history
	for n := 4; n >= 1; n-- {
		releases.releases = append(releases.releases, release(n))
		s.lock(release(n), fmt.Sprintf("2026-03-%02dT12:00:00Z", n))
	}
	s.lock(release(4), "2026-03-04T12:00:00Z")
	pipelines, err := pipeline.Load(s.files, policy.Kinds(), "app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.request = prune.Request{Pipelines: pipelines, Keep: 1, Files: s.files, PolicyRef: releases, Client: testworld.Client(), Remotes: remotes{testworld.Remote(t, testworld.GitServer(t, testworld.Bare(t, "")).URL)}}
	return s
}

// lock writes a lock, which is the current one then.
func (s *scene) lock(release, created string) {
	testworld.AddLock(s.files, "locks/app", lockOf(release, created))
}

// made is an artifact to publish. A test changes it before.
type made struct {
	claim       sign.Claim
	annotations map[string]string
	key         *sign.Key
	tags        []string
}

// honest is what an honest hydrator makes of a release for a stage.
func (s *scene) honest(stage, release string) made {
	input := digest.FromString("inputs of " + stage + release)
	tags := oci.TagsOf(stage, image(release), release, input)
	return made{
		claim: sign.Claim{Pipeline: "app", Stage: stage, Release: release, Repository: s.repository.Name()},
		annotations: map[string]string{
			oci.AnnotationPipeline:    "app",
			oci.AnnotationStage:       stage,
			oci.AnnotationRelease:     release,
			oci.AnnotationImage:       "ghcr.io/acme/app@" + image(release).String(),
			oci.AnnotationInputDigest: input.String(),
		},
		key:  s.hydrator,
		tags: []string{tags.Hydration, tags.Image, tags.Candidate},
	}
}

// publish pushes, signs and tags an artifact.
func (s *scene) publish(m made) ocispec.Descriptor {
	s.Helper()
	a := testworld.Push(s, s.repository, fstest.MapFS{"configmap-app.yaml": {Data: []byte("kind: ConfigMap\n")}}, m.annotations)
	if m.key != nil {
		s.attest(a.Descriptor, m.key, sign.NewSignature(a.Descriptor.Digest, m.claim))
		provenance, err := sign.NewProvenance(a.Descriptor.Digest, sign.Provenance{Claim: m.claim})
		if err != nil {
			s.Fatal(err)
		}
		s.attest(a.Descriptor, m.key, provenance)
		testworld.SignImage(s, s.repository, a.Descriptor, m.key, m.claim)
	}
	s.tag(a.Descriptor, m.tags...)
	return a.Descriptor
}

// promote records on the live ref that an artifact is live in a stage.
func (s *scene) promote(stage string, desc ocispec.Descriptor, release string) {
	s.Helper()
	claim := sign.Claim{Pipeline: "app", Stage: stage, Release: release, Repository: s.repository.Name()}
	digests := oci.Digests{Digest: desc.Digest, Content: digest.FromString("content")}
	change := ledger.Change{
		Artifact: ledger.Artifact{Claim: claim, Digests: digests},
		Place:    ledger.Place{Branch: "live/app/" + stage, Path: "manifests"},
		Tree:     func(context.Context) (fs.FS, error) { return fstest.MapFS{"a.yaml": {Data: []byte("a: 1\n")}}, nil },
		Promotion: &ledger.Promotion{Attest: func(ctx context.Context, parent, tree git.Hash) (ledger.Statements, error) {
			statement, err := predicate.Promotion{
				Claim: claim, Action: predicate.Promoted, Sequence: 1, To: predicate.Artifact{Release: release, Digests: digests},
				Parent: string(parent), Tree: string(tree), Nonce: "random", Beside: predicate.Nothing, Time: time.Unix(1774180800, 0),
			}.Statement()
			if err != nil {
				return ledger.Statements{}, err
			}
			bundle, err := sign.Sign(ctx, s.promoter, statement)
			return ledger.Statements{Record: bundle.Digest(), Bundles: []sign.Bundle{bundle}}, err
		}},
	}
	origin, err := s.request.Remotes.Remote(s.Context(), "origin")
	if err != nil {
		s.Fatal(err)
	}
	if _, err := ledger.NewWriter(origin, nil).Write(s.Context(), []ledger.Change{change}); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) attest(desc ocispec.Descriptor, key *sign.Key, statement sign.Statement) digest.Digest {
	s.Helper()
	return testworld.Attest(s, s.repository, desc, key, statement).Referrer
}

func (s *scene) tag(desc ocispec.Descriptor, tags ...string) {
	s.Helper()
	testworld.Tag(s, s.repository, desc, tags...)
}

// prune prunes staging.
func (s *scene) prune() prune.Result {
	s.Helper()
	r := s.request
	r.Stages = []string{"staging"}
	results, err := prune.Stages(s.Context(), r)
	if err != nil || len(results) != 1 {
		s.Fatalf("%+v, %v", results, err)
	}
	return results[0]
}

// tags are all tags of the repository.
func (s *scene) tags() []string {
	s.Helper()
	tags, err := s.repository.Tags(s.Context(), "")
	if err != nil {
		s.Fatal(err)
	}
	return tags
}

func (s *scene) has(d digest.Digest) bool {
	s.Helper()
	_, err := s.repository.Resolve(s.Context(), d.String())
	if err != nil && !errors.Is(err, oci.ErrNotFound) {
		s.Fatal(err)
	}
	return err == nil
}

func removed(r prune.Result) []digest.Digest {
	var all []digest.Digest
	for _, a := range r.Removed {
		all = append(all, a.Digest)
	}
	slices.Sort(all)
	return all
}

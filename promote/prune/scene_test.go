package prune_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/promote/prune"
	"github.com/lockage/lockage/sign"
)

// trunk is the policy ref by its releases, the newest first.
type trunk []string

func (trunk) Name() string { return "origin@main" }

func (t trunk) Releases(_ context.Context, _ fs.FS, dir string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if dir != "locks" {
			yield("", errors.New("what is "+dir))
			return
		}
		for _, release := range t {
			if !yield(release, nil) {
				return
			}
		}
	}
}

func lockOf(release, created string) []byte {
	return lock.Format(lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     release,
		GitCommit:     strings.TrimPrefix(release, "git-"),
		Image:         lock.Image{Ref: "ghcr.io/acme/app:v1", Digest: image(release)},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: "https://github.com/acme/app.git", SourcePath: "chart"},
		CreatedAt:     created,
	})
}

// release is the n-th release, and image the image of one.
func release(n int) string { return fmt.Sprintf("git-%040x", n) }

func image(release string) digest.Digest { return digest.FromString("image of " + release) }

// nowhere is where no repository is.
type nowhere struct{}

func (nowhere) Remote(context.Context, string) (*git.Remote, error) {
	return nil, errors.New("no remote")
}

// scene is a pipeline without mirrors, its releases 1 to 4, of which 4 is the newest, and a registry.
type scene struct {
	*testing.T
	repository         *oci.Repository
	hydrator, promoter *sign.Key
	files              fstest.MapFS
	request            prune.Request
	writes, stopAt     atomic.Int64 // from that write on, the registry refuses all; 0 for never
}

func newScene(t *testing.T, options registry.Options) *scene {
	t.Helper()
	s := &scene{T: t, hydrator: testworld.Key(t), promoter: testworld.Key(t), files: fstest.MapFS{}}
	reg := registry.New(options)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			if n, at := s.writes.Add(1), s.stopAt.Load(); at > 0 && n >= at {
				http.Error(w, "", http.StatusForbidden)
				return
			}
		}
		reg.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		_ = reg.Close()
	})
	client := oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond})
	name := strings.TrimPrefix(server.URL, "http://") + "/acme/app"
	var err error
	if s.repository, err = client.Repository(name); err != nil {
		t.Fatal(err)
	}
	s.files["keys/hydrator.pub"] = &fstest.MapFile{Data: s.hydrator.PublicKey().PEM()}
	s.files["keys/promoter.pub"] = &fstest.MapFile{Data: s.promoter.PublicKey().PEM()}
	s.files["app.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: app
lock: locks
artifacts: %s
render: {releaseName: app, kubeVersion: "1.34"}
identities: {hydrator: {key: keys/hydrator.pub}, promoter: {key: keys/promoter.pub}}
stages: [{name: staging}, {name: production, after: [staging]}]
`, name)}
	var history trunk
	for n := 4; n >= 1; n-- {
		history = append(history, release(n))
		s.lock(release(n), fmt.Sprintf("2026-03-%02dT12:00:00Z", n))
	}
	s.files["locks/current.yaml"] = s.files["locks/"+release(4)+".yaml"]
	pipelines, err := pipeline.Load(s.files, "app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.request = prune.Request{Pipelines: pipelines, Keep: 1, Files: s.files, Trunk: history, Client: client, Remotes: nowhere{}}
	return s
}

func (s *scene) lock(release, created string) {
	s.files["locks/"+release+".yaml"] = &fstest.MapFile{Data: lockOf(release, created)}
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
	a, err := oci.Pack(fstest.MapFS{"configmap-app.yaml": {Data: []byte("kind: ConfigMap\n")}}, m.annotations)
	if err != nil {
		s.Fatal(err)
	}
	if err := s.repository.PushArtifact(s.Context(), a); err != nil {
		s.Fatal(err)
	}
	if m.key != nil {
		s.attest(a.Descriptor, m.key, sign.NewSignature(a.Descriptor.Digest, m.claim))
		provenance, err := sign.NewProvenance(a.Descriptor.Digest, sign.Provenance{Claim: m.claim})
		if err != nil {
			s.Fatal(err)
		}
		s.attest(a.Descriptor, m.key, provenance)
		if err := sign.SignImage(s.Context(), s.repository, a.Descriptor, m.key, m.claim); err != nil {
			s.Fatal(err)
		}
	}
	s.tag(a.Descriptor, m.tags...)
	return a.Descriptor
}

func (s *scene) attest(desc ocispec.Descriptor, key *sign.Key, statement sign.Statement) digest.Digest {
	s.Helper()
	attached, err := sign.Attest(s.Context(), s.repository, desc, key, statement)
	if err != nil {
		s.Fatal(err)
	}
	return attached.Digest
}

func (s *scene) tag(desc ocispec.Descriptor, tags ...string) {
	s.Helper()
	for _, tag := range tags {
		if err := s.repository.Tag(s.Context(), desc, tag); err != nil {
			s.Fatal(err)
		}
	}
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

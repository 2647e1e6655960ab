package verify_test

import (
	"context"
	"fmt"
	"maps"
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
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/sign"
)

const (
	source  = "1111111111111111111111111111111111111111"
	older   = "2222222222222222222222222222222222222222"
	gitOps  = "3333333333333333333333333333333333333333" // on the policy ref
	feature = "4444444444444444444444444444444444444444" // not on it
	image   = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	release = "git-" + source
)

// trunk is the policy ref, by its commits.
type trunk []string

func (trunk) Name() string { return "origin@main" }

func (t trunk) Contains(_ context.Context, commit string) (bool, error) {
	return slices.Contains(t, commit), nil
}

// scene is a registry, the hydrator's key, and the files at the policy ref: the pipelines app and other, each in a
// repository of its own with the stages staging and production, and both with releases of the commits source and older.
type scene struct {
	t         *testing.T
	host      string
	client    *oci.Client
	tamper    atomic.Pointer[func(path string, body []byte) []byte] // what the registry serves instead
	key       *sign.Key
	files     fstest.MapFS
	pipelines []*pipeline.Pipeline
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, client: oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond}), files: fstest.MapFS{}}
	reg := registry.New(registry.Options{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tamper := s.tamper.Load()
		if tamper == nil {
			reg.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		reg.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		body := (*tamper)(r.URL.Path, answer.Body.Bytes())
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	}))
	t.Cleanup(func() {
		server.Close()
		_ = reg.Close()
	})
	s.host = strings.TrimPrefix(server.URL, "http://")
	s.key = testworld.Key(s.t)
	s.files["keys/hydrator.pub"] = &fstest.MapFile{Data: s.key.PublicKey().PEM()}
	for _, name := range []string{"app", "other"} {
		s.files[name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: %[1]s
lock: locks/%[1]s
artifacts: %[2]s/acme/%[1]s
render: {releaseName: app, kubeVersion: "1.34"}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
  - {name: staging}
  - {name: production, after: [staging]}
`, name, s.host)}
		for _, commit := range []string{older, source} {
			s.lock(name, commit, image)
		}
	}
	var err error
	if s.pipelines, err = pipeline.Load(s.files, "app.yaml", "other.yaml"); err != nil {
		t.Fatal(err)
	}
	return s
}

// lock writes a release's lock, which is the current one then.
func (s *scene) lock(pipeline, commit, image string) {
	data := lock.Format(lock.Lock{
		SchemaVersion: lock.SchemaVersion,
		ReleaseID:     "git-" + commit,
		GitCommit:     commit,
		Image:         lock.Image{Ref: "ghcr.io/acme/app:v1", Digest: digest.Digest(image)},
		Packaging:     lock.Packaging{Kind: lock.Helm, SourceRepo: "https://github.com/acme/app.git", SourcePath: "chart"},
		CreatedAt:     "2026-03-22T12:34:56Z",
	})
	s.files["locks/"+pipeline+"/git-"+commit+".yaml"] = &fstest.MapFile{Data: data}
	s.files["locks/"+pipeline+"/current.yaml"] = &fstest.MapFile{Data: data}
}

func (s *scene) repository(name string) *oci.Repository {
	s.t.Helper()
	r, err := s.client.Repository(s.host + "/acme/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// hydration is an artifact and what is said about it. A test changes it before it is published.
type hydration struct {
	repository  *oci.Repository
	claim       sign.Claim
	lock        digest.Digest
	gitOps      string
	content     string
	annotations map[string]string
	key         *sign.Key
}

// honest is what an honest hydrator makes of the pipeline app for a stage.
func (s *scene) honest(stage string) *hydration {
	s.t.Helper()
	file, err := lock.Release(s.files, "locks/app", release)
	if err != nil {
		s.t.Fatal(err)
	}
	h := &hydration{
		repository: s.repository("app"),
		lock:       digest.Digest(file.Digest),
		gitOps:     gitOps,
		content:    "kind: ConfigMap # " + stage + "\n",
		key:        s.key,
	}
	h.claim = sign.Claim{Pipeline: "app", Stage: stage, Release: release, Repository: h.repository.Name()}
	return h
}

// push stores the artifact, unsigned, under the tags.
func (s *scene) push(h *hydration, tags ...string) ocispec.Descriptor {
	s.t.Helper()
	files := fstest.MapFS{"configmap-app.yaml": {Data: []byte(h.content)}}
	content, err := oci.ContentDigest(files)
	if err != nil {
		s.t.Fatal(err)
	}
	annotations := map[string]string{
		oci.AnnotationPipeline:      h.claim.Pipeline,
		oci.AnnotationStage:         h.claim.Stage,
		oci.AnnotationRelease:       h.claim.Release,
		oci.AnnotationContentDigest: content.String(),
		ocispec.AnnotationRevision:  "sha1:" + strings.TrimPrefix(h.claim.Release, "git-"),
	}
	maps.Copy(annotations, h.annotations)
	a, err := oci.Pack(files, annotations)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := h.repository.PushArtifact(s.t.Context(), a); err != nil {
		s.t.Fatal(err)
	}
	s.tag(h.repository, a.Descriptor, tags...)
	return a.Descriptor
}

func (s *scene) tag(r *oci.Repository, desc ocispec.Descriptor, tags ...string) {
	s.t.Helper()
	for _, tag := range tags {
		if err := r.Tag(s.t.Context(), desc, tag); err != nil {
			s.t.Fatal(err)
		}
	}
}

// attest signs the statements about an artifact.
func (s *scene) attest(h *hydration, desc ocispec.Descriptor) {
	s.t.Helper()
	provenance, err := sign.NewProvenance(desc.Digest, sign.Provenance{
		Claim: h.claim,
		Lock:  sign.ResourceDescriptor{Digest: map[string]string{"sha256": h.lock.Encoded()}},
		Dependencies: []sign.ResourceDescriptor{
			sign.GitCommit(policy.DependencySource, "https://github.com/acme/app.git", strings.TrimPrefix(h.claim.Release, "git-")),
			sign.GitCommit(policy.DependencyGitOps, "https://github.com/acme/gitops.git", h.gitOps),
			sign.Image("image", "ghcr.io/acme/app", image),
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, statement := range []sign.Statement{sign.NewSignature(desc.Digest, h.claim), provenance} {
		if _, err := sign.Attest(s.t.Context(), h.repository, desc, h.key, statement); err != nil {
			s.t.Fatal(err)
		}
	}
}

// publish pushes and attests under the candidate's tag of the stage that it was made for.
func (s *scene) publish(h *hydration) ocispec.Descriptor {
	s.t.Helper()
	desc := s.push(h, oci.CandidateTag(h.claim.Stage, h.claim.Release))
	s.attest(h, desc)
	return desc
}

// request asks for the candidate of the pipeline app for production.
func (s *scene) request() verify.Request {
	s.t.Helper()
	return verify.Request{
		Pipeline:   s.pipelines[0],
		Stage:      "production",
		Repository: s.repository("app"),
		Reference:  oci.CandidateTag("production", release),
		Release:    release,
		Files:      s.files,
		Trunk:      trunk{gitOps},
	}
}

// find is the one request that a query makes.
func (s *scene) find(q verify.Query) (verify.Request, error) {
	s.t.Helper()
	requests, err := verify.Find(s.t.Context(), q, s.pipelines, s.files, s.client)
	if err != nil {
		return verify.Request{}, err
	}
	if len(requests) != 1 {
		s.t.Fatalf("%d requests, want 1", len(requests))
	}
	r := requests[0]
	r.Files, r.Trunk = s.files, trunk{gitOps}
	return r, nil
}

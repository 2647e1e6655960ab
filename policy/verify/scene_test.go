package verify_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

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

// scene is a registry, the hydrator's key, and the files at the policy ref: the pipelines app and other, each in a
// repository of its own with the stages staging and production, and both with releases of the commits source and older.
type scene struct {
	*testworld.Registry
	t         *testing.T
	key       *sign.Key
	files     fstest.MapFS
	pipelines []*pipeline.Pipeline
	bare      string // has the ledger
}

// Remote implements [verify.Remotes].
func (s *scene) Remote(context.Context, string) (*git.Remote, error) {
	return testworld.Remote(s.t, s.bare), nil
}

// Remotes implements [verify.Remotes].
func (s *scene) Remotes(context.Context) ([]string, error) { return []string{"origin"}, nil }

// Root implements [verify.Remotes].
func (s *scene) Root() string { return "" }

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{Registry: testworld.NewRegistry(t, registry.Options{}), t: t, key: testworld.Key(t), files: fstest.MapFS{}, bare: testworld.Bare(t, "")}
	s.files["keys/hydrator.pub"] = &fstest.MapFile{Data: s.key.PublicKey().PEM()}
	for _, name := range []string{"app", "other"} {
		s.files[name+".yaml"] = &fstest.MapFile{Data: []byte(testworld.Pipeline(name, s.Host, "hydrator"))}
		for _, commit := range []string{older, source} {
			s.lock(name, commit, image)
		}
	}
	var err error
	if s.pipelines, err = pipeline.Load(s.files, nil, "app.yaml", "other.yaml"); err != nil {
		t.Fatal(err)
	}
	return s
}

// tamper has the registry serve other bytes.
func (s *scene) tamper(change func(path string, body []byte) []byte) {
	s.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		maps.Copy(w.Header(), answer.Header())
		body := change(r.URL.Path, answer.Body.Bytes())
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(body)
	})
}

// lock writes a release's lock, which is the current one then.
func (s *scene) lock(pipeline, commit string, image digest.Digest) {
	l := testworld.Lock(commit)
	l.Image.Digest = image
	testworld.AddLock(s.files, "locks/"+pipeline, l)
}

func (s *scene) repository(name string) *oci.Repository { return s.Repository(s.t, name) }

// hydration is an artifact and the statements about it. A test changes it before it is published.
type hydration struct {
	repository  *oci.Repository
	claim       sign.Claim
	lock        digest.Digest
	gitOps      string
	tip         string // of the policy ref, that the hydrator saw
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
		lock:       file.Meaning(),
		gitOps:     gitOps,
		tip:        gitOps,
		content:    "kind: ConfigMap # " + stage + "\n",
		key:        s.key,
	}
	h.claim = sign.Claim{Pipeline: "app", Stage: stage, Release: release, Repository: h.repository.Name()}
	return h
}

// tree is the content of the artifact.
func (h *hydration) tree() fstest.MapFS {
	return fstest.MapFS{"configmap-app.yaml": {Data: []byte(h.content)}}
}

// push stores the artifact, unsigned, under the tags.
func (s *scene) push(h *hydration, tags ...string) ocispec.Descriptor {
	s.t.Helper()
	files := h.tree()
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
	return testworld.Push(s.t, h.repository, files, annotations, tags...).Descriptor
}

// entry is what the ledger holds of an artifact, without statements.
func (s *scene) entry(h *hydration, desc ocispec.Descriptor) ledger.Entry {
	s.t.Helper()
	content, err := oci.ContentDigest(h.tree())
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := ledger.FilesID(h.tree())
	if err != nil {
		s.t.Fatal(err)
	}
	return ledger.Entry{
		Artifact: ledger.Artifact{
			Claim:   h.claim,
			Digests: oci.Digests{Digest: desc.Digest, Content: content},
			Files:   files,
			Source:  ledger.Origin{URL: "https://github.com/acme/app.git", Commit: strings.TrimPrefix(h.claim.Release, "git-")},
			GitOps:  ledger.Origin{URL: "https://github.com/acme/gitops.git", Commit: h.gitOps},
		},
		Input: digest.FromString(h.content),
		Image: image,
	}
}

// attest signs the statements about an artifact, and returns the entry that has them.
func (s *scene) attest(h *hydration, desc ocispec.Descriptor) ledger.Entry {
	s.t.Helper()
	e := s.entry(h, desc)
	p := verify.Provenance(e, "ghcr.io/acme/app", 1, nil)
	p.Meaning = h.lock
	p.Dependencies = append(p.Dependencies, sign.GitCommit(policy.DependencyPolicy, e.GitOps.URL, h.tip))
	provenance, err := sign.NewProvenance(desc.Digest, p)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, statement := range []sign.Statement{sign.NewSignature(desc.Digest, h.claim), provenance} {
		e.Bundles = append(e.Bundles, testworld.Attest(s.t, h.repository, desc, h.key, statement))
	}
	return e
}

// publish pushes, attests and records under the candidate's tag of the stage that it was made for.
func (s *scene) publish(h *hydration) ocispec.Descriptor {
	s.t.Helper()
	desc := s.push(h, oci.CandidateTag(h.claim.Stage, h.claim.Release))
	s.record(s.attest(h, desc))
	return desc
}

// record writes an entry to the ledger.
func (s *scene) record(e ledger.Entry) {
	s.t.Helper()
	name := ledger.Candidate{Branch: "candidates/" + e.Pipeline, Claim: e.Claim}
	change := ledger.Change{Artifact: e.Artifact, Hydration: &ledger.Hydration{
		Candidates: name.Branch, Entry: e,
		Stays: func(context.Context, ledger.Entry) (bool, error) { return false, nil },
	}}
	if _, err := ledger.NewWriter(testworld.Remote(s.t, s.bare), nil).Write(s.t.Context(), []ledger.Change{change}); err != nil {
		s.t.Fatal(err)
	}
}

// request asks for what the candidate's tag of the pipeline app names for production, by digest.
func (s *scene) request() verify.Request {
	s.t.Helper()
	desc, err := s.repository("app").Resolve(s.t.Context(), oci.CandidateTag("production", release))
	if err != nil {
		s.t.Fatal(err)
	}
	return verify.Request{
		Pipeline:   s.pipelines[0],
		Stage:      "production",
		Repository: s.repository("app"),
		Reference:  desc.Digest.String(),
		Release:    release,
		Files:      s.files,
		PolicyRef:  testworld.History{gitOps},
	}
}

// find is the one request that a query makes.
func (s *scene) find(q verify.Query) (verify.Request, error) {
	s.t.Helper()
	requests, err := verify.Find(s.t.Context(), q, s.pipelines, s.files, testworld.Client(), s)
	if err != nil {
		return verify.Request{}, err
	}
	if len(requests) != 1 {
		s.t.Fatalf("%d requests, want 1", len(requests))
	}
	r := requests[0]
	r.Files, r.PolicyRef = s.files, testworld.History{gitOps}
	return r, nil
}

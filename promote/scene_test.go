package promote_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// scene is a GitOps repository, a registry and a Git server, and both servers can be made to fail and be set back. It holds two
// releases, hydrated for the stages staging and production of the demonstration's pipeline.
type scene struct {
	t             testing.TB
	demo          demo.Setup
	cache         string
	releases      [2]string // the older one first
	withReferrers bool
	clock         clock
	faults        faults

	mu     sync.Mutex
	served served
}

// served is what the servers serve.
type served struct {
	root     string // holds registry and gitops.git
	registry *registry.Registry
	git      http.Handler
}

// clock is the time of a scene. It advances by a second whenever it is read.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time { return c.add(time.Second) }

// add advances the clock and returns its time.
func (c *clock) add(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

const (
	production = "production"
	head       = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: codeai
lock: warehouses/codeai/builds
artifacts: HOST/acme/codeai-manifests
vars: apps/codeai/deployments/{stage}/deployment.yaml
render:
  releaseName: codeai
  namespace: "{namespace}"
  kubeVersion: "1.34"
  values: ["apps/codeai/envTypes/{envType}.values.yaml", "apps/codeai/deployments/{stage}/values.yaml"]
  set: {image: "{image}"}
sign:
  hydrator: {key: KEYS/hydrator.key}
  promoter: {key: KEYS/promoter.key}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
stages:
  - {name: staging, auto: true}
  - {name: production, auto: true, after: [staging]}
`
	mirrored = "mirror: {path: \"apps/codeai/{stage}/deploy\"}\n"
)

func newScene(t testing.TB, withReferrers bool, declared string) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("a scene starts a registry and a Git server, and hydrates")
	}
	s := &scene{t: t, cache: t.TempDir(), withReferrers: withReferrers, clock: clock{now: time.Date(2026, 3, 22, 12, 0, 0, 0, time.UTC)}}
	s.serve(t.TempDir())
	t.Cleanup(func() { _ = s.now().registry.Close() })
	host := testworld.Serve(t, s.faults.wrap("registry", func(w http.ResponseWriter, r *http.Request) { s.now().registry.ServeHTTP(w, r) })).Host
	forge := testworld.Serve(t, s.faults.wrap("git", func(w http.ResponseWriter, r *http.Request) { s.now().git.ServeHTTP(w, r) }))

	s.demo = testworld.Demo(t, host, s.clock.now.Add(-24*time.Hour))
	s.write("lockage.yaml", strings.NewReplacer("HOST", host, "KEYS", filepath.Dir(s.demo.PrivateKey)).Replace(declared))
	bare := filepath.Join(s.now().root, "gitops.git")
	if err := os.Rename(s.demo.GitOpsDir+".git", bare); err != nil {
		t.Fatal(err)
	}
	testworld.Serveable(t, bare)
	testworld.Git(t, s.demo.GitOpsDir, "remote", "set-url", "origin", forge.URL+"/gitops.git")
	s.push("the stages")
	s.releases[0] = "git-" + s.demo.Commit
	s.hydrate()
	s.releases[1] = testworld.DemoRelease(t, s.demo)
	s.hydrate()
	return s
}

func (s *scene) now() served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

// serve lets the servers serve what is in a folder.
func (s *scene) serve(root string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = served{
		root, registry.New(registry.Options{Dir: filepath.Join(root, "registry"), WithoutReferrers: !s.withReferrers}), testworld.GitBackend(root),
	}
}

// keep keeps what registry and Git server hold; setBack brings a copy of it back.
func (s *scene) keep() string {
	s.t.Helper()
	kept := s.t.TempDir()
	if err := os.CopyFS(kept, os.DirFS(s.now().root)); err != nil {
		s.t.Fatal(err)
	}
	return kept
}

func (s *scene) setBack(kept string) {
	s.t.Helper()
	dir, err := os.MkdirTemp(s.t.TempDir(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(kept)); err != nil {
		s.t.Fatal(err)
	}
	before := s.now()
	s.serve(dir)
	_ = before.registry.Close()
	if before.root != kept {
		_ = os.RemoveAll(before.root)
	}
}

func (s *scene) write(name, content string) {
	s.t.Helper()
	testworld.Write(s.t, s.demo.GitOpsDir, map[string]string{name: content})
}

func (s *scene) push(message string) {
	s.t.Helper()
	testworld.Commit(s.t, s.demo.GitOpsDir, message)
	testworld.Git(s.t, s.demo.GitOpsDir, "push", "-q", "origin", "HEAD")
}

func (s *scene) workspace() *workspace.Workspace {
	s.t.Helper()
	w, err := workspace.Open(s.t.Context(), s.demo.GitOpsDir, git.Options{
		Dir: s.demo.GitOpsDir, CacheDir: s.cache, Environ: testworld.Environ(), Warn: func(string) {}, Backoff: time.Millisecond,
	}, policy.Kinds())
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s *scene) hydrate(stages ...string) {
	s.t.Helper()
	releases, err := publish.Run(s.t.Context(), publish.Options{
		Environment: s.environment(),
		Stages:      stages,
		Renderers:   map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range releases {
		for _, stage := range r.Stages {
			if stage.Err != nil {
				s.t.Fatal(stage.Err)
			}
		}
	}
}

func (s *scene) environment() publish.Environment {
	s.t.Helper()
	return publish.Environment{
		Workspace: s.workspace(),
		Client:    testworld.Client(),
		Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
		Version:   "test",
		Now:       s.clock.read,
		Random:    func(n int64) int64 { return n / 100 },
		Warn:      func(string) {},
		Step:      func(string) {},
	}
}

func (s *scene) options(release string, stages ...string) promote.Options {
	s.t.Helper()
	return promote.Options{Environment: s.environment(), Stages: stages, Release: release}
}

type verb func(context.Context, promote.Options) ([]promote.Result, error)

// try runs one verb on one stage.
func (s *scene) try(do verb, release, stage string) (promote.Result, error) {
	s.t.Helper()
	results, err := do(s.t.Context(), s.options(release, stage))
	if err != nil {
		return promote.Result{}, err
	}
	return results[0], results[0].Err
}

func (s *scene) must(do verb, release, stage string) promote.Result {
	s.t.Helper()
	r, err := s.try(do, release, stage)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// stage is where a stage's state is kept, for a reader who trusts only the policy ref.
func (s *scene) stage(name string) live.Stage {
	s.t.Helper()
	w := s.workspace()
	policyRef, err := w.Policy(s.t.Context(), "", func(string) {})
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := policyRef.Files(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	pipelines, err := w.Pipelines(files, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	current, err := lock.Current(files, demo.LockDir)
	if err != nil {
		s.t.Fatal(err)
	}
	declared, err := pipelines[0].Expand(name, current.Lock, files)
	if err != nil {
		s.t.Fatal(err)
	}
	stage, err := live.Open(s.t.Context(), files, policyRef, declared, testworld.Client(), w.Repository)
	if err != nil {
		s.t.Fatal(err)
	}
	return stage
}

// sound makes sure that whatever a stage's tag names is signed by the promoter, in both forms, that the live ref verifies,
// and that its history is whole. It returns what is live, and what was promoted, the newest first.
func (s *scene) sound(name string) (live.State, []predicate.Artifact) {
	s.t.Helper()
	stage := s.stage(name)
	state, err := live.Read(s.t.Context(), stage)
	if err != nil {
		s.t.Errorf("%s: %v", name, err)
		return state, nil
	}
	if state.Tag != "" {
		reader := stage.Artifacts
		desc, _, err := reader.Manifest(s.t.Context(), state.Tag.String())
		if err != nil {
			s.t.Fatal(err)
		}
		statements, _, err := sign.Verify(s.t.Context(), reader, desc, stage.Promoter.Verifier)
		if err != nil {
			s.t.Fatal(err)
		}
		signed := false
		for _, v := range statements {
			signed = signed || v.PredicateType() == sign.PredicateSignature && v.Claim().Stage == name
		}
		images, _, err := sign.VerifyImage(s.t.Context(), reader, desc, stage.Promoter.Verifier)
		if err != nil || len(images) == 0 || !signed {
			s.t.Errorf("%s: the tag names %s, which the promoter did not sign: %d statements, %d signatures, %v", name, state.Tag, len(statements), len(images), err)
		}
	}
	var all []predicate.Artifact
	for p, err := range live.History(s.t.Context(), stage) {
		if err != nil {
			s.t.Errorf("%s: history: %v", name, err)
			break
		}
		all = append(all, p.To)
	}
	return state, all
}

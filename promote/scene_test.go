package promote_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
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
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/promote"
	"github.com/lockage/lockage/promote/live"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
	"github.com/lockage/lockage/sign/predicate"
)

// scene is a GitOps repository, a registry and a Git server, both of which fail when they are told to, and can be set back.
// It holds two releases, hydrated for the stages staging and production of the demonstration's pipeline.
type scene struct {
	serial        sync.Mutex
	t             testing.TB
	demo          demo.Setup
	cache         string
	releases      [2]string // the older one first
	withReferrers bool

	faults faults

	mu       sync.Mutex
	root     string // holds registry and gitops.git, as the servers serve them now
	registry *registry.Registry
	started  time.Time
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
  hydrator: {key: env://HYDRATOR_KEY}
  promoter: {key: env://PROMOTER_KEY}
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
	for name, value := range map[string]string{
		"HOME": t.TempDir(), "GIT_CONFIG_NOSYSTEM": "1", sign.PasswordVariable: "",
		"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.com",
		"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.com",
	} {
		t.Setenv(name, value)
	}
	s := &scene{t: t, cache: t.TempDir(), withReferrers: withReferrers}
	s.serve(t.TempDir())
	t.Cleanup(func() { _ = s.registry.Close() })
	reg := httptest.NewServer(s.faults.wrap("registry", func(w http.ResponseWriter, r *http.Request) {
		// One request at a time: olareg reads whether a folder exists without a lock, which the race detector sees.
		s.serial.Lock()
		defer s.serial.Unlock()
		s.now().registry.ServeHTTP(w, r)
	}))
	t.Cleanup(reg.Close)
	forge := httptest.NewServer(s.faults.wrap("git", s.serveGit))
	t.Cleanup(forge.Close)

	host := strings.TrimPrefix(reg.URL, "http://")
	s.started = time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	var err error
	if s.demo, err = demo.Prepare(t.Context(), filepath.Join(t.TempDir(), "stand"), demo.Options{Registry: host, Now: s.started, NewKey: testworld.KeyPair}); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(s.demo.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(demo.PrivateKeyVariable, string(key))
	private, public := newKey(t)
	t.Setenv("PROMOTER_KEY", private)
	s.write("keys/promoter.pub", public)
	s.write("lockage.yaml", strings.ReplaceAll(declared, "HOST", host))
	if err := os.Rename(s.demo.GitOpsDir+".git", filepath.Join(s.root, "gitops.git")); err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"http.receivepack", "uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"} {
		run(t, filepath.Join(s.root, "gitops.git"), "config", option, "true")
	}
	run(t, s.demo.GitOpsDir, "remote", "set-url", "origin", forge.URL+"/gitops.git")
	s.push("the stages")
	s.releases[0] = "git-" + s.demo.Commit
	s.hydrate()
	s.releases[1] = s.release()
	s.hydrate()
	return s
}

func newKey(t testing.TB) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
}

func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

type served struct {
	root     string
	registry *registry.Registry
}

func (s *scene) now() served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return served{s.root, s.registry}
}

// serve lets the servers serve what lies in a folder.
func (s *scene) serve(root string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.root = root
	s.registry = registry.New(registry.Options{Dir: filepath.Join(root, "registry"), WithoutReferrers: !s.withReferrers})
}

func (s *scene) serveGit(w http.ResponseWriter, r *http.Request) {
	(&cgi.Handler{
		Path: "/bin/sh", Args: []string{"-c", "exec git http-backend"},
		Env:        []string{"GIT_PROJECT_ROOT=" + s.now().root, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"), "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent"},
		InheritEnv: []string{"PATH"},
	}).ServeHTTP(w, r)
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
	file := filepath.Join(s.demo.GitOpsDir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) push(message string) {
	s.t.Helper()
	run(s.t, s.demo.GitOpsDir, "add", "-A")
	run(s.t, s.demo.GitOpsDir, "commit", "-q", "-m", message)
	run(s.t, s.demo.GitOpsDir, "push", "-q", "origin", "HEAD")
}

// linear is a history in which what is released later comes later.
type linear struct{}

func (linear) IsAncestor(context.Context, string, string) (bool, error) { return false, nil }

// release makes a release with one object more than those before.
func (s *scene) release() string {
	s.t.Helper()
	n := run(s.t, s.demo.SourceDir, "rev-list", "--count", "HEAD")
	file := filepath.Join(s.demo.SourceDir, demo.ChartPath, "templates", "more-"+n+".yaml")
	if err := os.WriteFile(file, []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more-"+n+"}\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	run(s.t, s.demo.SourceDir, "add", "-A")
	run(s.t, s.demo.SourceDir, "commit", "-q", "-m", "more")
	commit := run(s.t, s.demo.SourceDir, "rev-parse", "HEAD")
	current, err := lock.Current(os.DirFS(s.demo.GitOpsDir), demo.LockDir)
	if err != nil {
		s.t.Fatal(err)
	}
	next := current.Lock
	next.ReleaseID, next.GitCommit, next.CreatedAt = "git-"+commit, commit, s.started.UTC().Format(time.RFC3339)
	root, err := os.OpenRoot(s.demo.GitOpsDir)
	if err != nil {
		s.t.Fatal(err)
	}
	defer root.Close()
	if _, err := lock.Write(s.t.Context(), root, demo.LockDir, next, linear{}); err != nil {
		s.t.Fatal(err)
	}
	s.push("release " + commit)
	return next.ReleaseID
}

func (s *scene) workspace() *workspace.Workspace {
	s.t.Helper()
	w, err := workspace.Open(s.t.Context(), s.demo.GitOpsDir, git.Options{
		Dir: s.demo.GitOpsDir, CacheDir: s.cache, Warn: func(string) {}, Backoff: time.Millisecond,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

func (s *scene) hydrate() {
	s.t.Helper()
	releases, err := publish.Run(s.t.Context(), publish.Options{
		Workspace: s.workspace(),
		Renderers: map[string]hydrate.Renderer{lock.Helm: helm.Renderer{}},
		Client:    oci.NewClient(oci.Options{}),
		Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
		Version:   "test",
		Random:    func(int64) int64 { return 0 },
		Warn:      func(string) {},
		Step:      func(string) {},
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

func (s *scene) options(release string, stages ...string) promote.Options {
	s.t.Helper()
	return promote.Options{
		Stages: stages, Release: release,
		Workspace: s.workspace(),
		Client:    oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond}),
		Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
		Version:   "test",
		Now:       time.Now,
		Random:    func(n int64) int64 { return n / 100 },
		Warn:      func(string) {},
		Step:      func(string) {},
	}
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

// stage is where a stage's state is kept, as somebody sees it who trusts only what the policy ref says.
func (s *scene) stage(name string) live.Stage {
	s.t.Helper()
	w := s.workspace()
	trunk, err := w.Policy(s.t.Context(), "", func(string) {})
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := trunk.Files(s.t.Context())
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
	stage, err := live.Open(s.t.Context(), files, declared, oci.NewClient(oci.Options{MaxRetryWait: time.Millisecond}), w.Repository)
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
		reader := stage.Repository
		desc, _, err := reader.Manifest(s.t.Context(), state.Tag.String())
		if err != nil {
			s.t.Fatal(err)
		}
		statements, _, err := sign.Verify(s.t.Context(), reader, desc, stage.Promoter)
		if err != nil {
			s.t.Fatal(err)
		}
		signed := false
		for _, v := range statements {
			signed = signed || v.PredicateType() == sign.PredicateSignature && v.Claim().Stage == name
		}
		images, _, err := sign.VerifyImage(s.t.Context(), reader, desc, stage.Promoter)
		if err != nil || len(images) == 0 || !signed {
			s.t.Errorf("%s: the tag names %s, which the promoter did not sign: %d statements, %d signatures, %v", name, state.Tag, len(statements), len(images), err)
		}
	}
	var all []predicate.Artifact
	err = live.History(s.t.Context(), stage, func(p live.Promotion) (bool, error) {
		all = append(all, p.To)
		return true, nil
	})
	if err != nil {
		s.t.Errorf("%s: history: %v", name, err)
	}
	return state, all
}

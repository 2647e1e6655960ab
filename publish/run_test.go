package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/demo"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/ledger"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

// scene is a source repository, a GitOps repository with a remote, a key and a registry.
type scene struct {
	demo.Setup
	cache string

	mu              sync.Mutex
	warnings, steps []string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	setup := testworld.Demo(t, testworld.NewRegistry(t, registry.Options{}).Host, time.Unix(1_774_180_000, 0))
	return &scene{Setup: setup, cache: t.TempDir()}
}

// declare changes the pipeline file, on the policy ref.
func (s *scene) declare(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.GitOpsDir, "lockage.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		t.Fatalf("lockage.yaml has no %q", from)
	}
	testworld.Write(t, s.GitOpsDir, map[string]string{"lockage.yaml": strings.Replace(string(text), from, to, 1)})
	testworld.Commit(t, s.GitOpsDir, "Change the pipeline")
	testworld.Git(t, s.GitOpsDir, "push", "-q", "origin", "HEAD")
}

func (s *scene) run(t *testing.T, change func(*publish.Options)) ([]publish.Release, error) {
	t.Helper()
	w, err := workspace.Open(t.Context(), s.GitOpsDir, git.Options{Dir: s.GitOpsDir, CacheDir: s.cache, Environ: testworld.Environ(), Warn: func(string) {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.warnings, s.steps = nil, nil
	keep := func(lines *[]string) func(string) {
		return func(line string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			*lines = append(*lines, line)
		}
	}
	o := publish.Options{
		Environment: publish.Environment{
			Workspace: w,
			Client:    testworld.Client(),
			Keys:      sign.NewKeyring(sign.PasswordFromEnv(nil)),
			Version:   "test",
			Random:    func(int64) int64 { return 0 },
			Warn:      keep(&s.warnings),
			Step:      keep(&s.steps),
		},
		Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}},
	}
	if change != nil {
		change(&o)
	}
	return publish.Run(t.Context(), o)
}

// actions are what became of the stages of the only release.
func actions(t *testing.T, releases []publish.Release, err error) string {
	t.Helper()
	if err != nil || len(releases) != 1 || releases[0].Err != nil {
		t.Fatalf("%+v, %v", releases, err)
	}
	var b strings.Builder
	for _, s := range releases[0].Stages {
		if s.Err != nil {
			t.Errorf("%s: %v", s.Name, s.Err)
		}
		b.WriteString(s.Name + " " + string(s.Action) + "\n")
	}
	return strings.TrimSpace(b.String())
}

// written are the tags in the artifact repository.
func written(t *testing.T, s *scene) []string {
	t.Helper()
	repository, err := testworld.Client().Repository(s.Artifacts)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := repository.Tags(t.Context(), "")
	if err != nil && !errors.Is(err, oci.ErrNotFound) {
		t.Fatal(err)
	}
	return tags
}

func TestRun(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	const all = "staging pushed\ntest pushed\nreview pushed\nproduction pushed"

	releases, err := s.run(t, func(o *publish.Options) { o.DryRun, o.Keys = true, nil })
	if got := actions(t, releases, err); got != all {
		t.Errorf("dry run: %s", got)
	}
	if tags := written(t, s); len(tags) != 0 {
		t.Errorf("a dry run wrote the tags %v", tags)
	}

	releases, err = s.run(t, nil)
	if got := actions(t, releases, err); got != all {
		t.Errorf("first run: %s", got)
	}
	if r := releases[0]; r.Pipeline != "codeai" || r.Lock.GitCommit != s.Commit {
		t.Errorf("result of %s at commit %s", r.Pipeline, r.Lock.GitCommit)
	}
	if len(s.steps) != 4 {
		t.Errorf("steps %q", s.steps)
	}

	releases, err = s.run(t, func(o *publish.Options) { o.Stages = []string{"test"} })
	if got := actions(t, releases, err); got != "test unchanged" {
		t.Errorf("one stage again: %s", got)
	}

	// A mirror that is declared later makes no new artifacts, and the branches are all that is written
	s.declare(t, "stages:", "mirror: {branch: \"stage/{stage}\", path: manifests}\nstages:")
	releases, err = s.run(t, nil)
	if got := actions(t, releases, err); got != all {
		t.Errorf("mirrored: %s", got)
	}
	for _, stage := range releases[0].Stages {
		tip, _, _ := strings.Cut(testworld.Git(t, s.GitOpsDir, "ls-remote", "origin", "refs/heads/stage/"+stage.Name), "\t")
		if stage.Branch != "stage/"+stage.Name || stage.Commit == "" || stage.Commit != tip {
			t.Errorf("%s: branch %s at %s, want %s", stage.Name, stage.Branch, stage.Commit, tip)
		}
	}
}

// A newer hydration supersedes an older one only as long as its entry has the hydrator's signature: a provenance alone does not count.
func TestRunUnsignedEntry(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	run := func(at string) string {
		releases, err := s.run(t, func(o *publish.Options) { o.Stages, o.At = []string{"test"}, at })
		return actions(t, releases, err)
	}
	run("")
	older := testworld.Git(t, s.GitOpsDir, "rev-parse", "HEAD")
	testworld.Write(t, s.GitOpsDir, map[string]string{"apps/codeai/deployments/test/values.yaml": "migrations: {backoffLimit: 7}\n"})
	testworld.Commit(t, s.GitOpsDir, "Other values")
	testworld.Git(t, s.GitOpsDir, "push", "-q", "origin", "HEAD")
	run("")
	if got := run(older); got != "test superseded" {
		t.Errorf("by a newer hydration: %s", got)
	}
	dir := testworld.Clone(t, s.GitOpsDir+".git", "-b", "candidates/codeai")
	name := "test/git-" + s.Commit + ".jsonl"
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	e, err := ledger.ParseEntry(text)
	if err != nil {
		t.Fatal(err)
	}
	e.Bundles = slices.DeleteFunc(e.Bundles, func(b sign.Bundle) bool {
		v, err := sign.Claimed(e.Digest, b)
		return err == nil && v.PredicateType() == sign.PredicateSignature
	})
	if text, err = e.Encode(); err != nil {
		t.Fatal(err)
	}
	testworld.Write(t, dir, map[string]string{name: string(text)})
	testworld.Commit(t, dir, "Remove a signature")
	testworld.Git(t, dir, "push", "-q", "origin", "HEAD")
	if got := run(older); got != "test pushed" {
		t.Errorf("by one that nobody signed: %s", got)
	}
}

// What is wrong with one pipeline is in its result, and nothing was written for it.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ from, to, want string }{
		"no key to sign with": {"sign:\n  hydrator:", "sign:\n  promoter:", "sign.hydrator.key is missing"},
		"remote of a mirror": {
			"stages:", "mirror: {remote: missing, branch: \"stage/{stage}\", path: manifests}\nstages:", "mirror.remote of stage staging",
		},
		"key of commits": {
			"stages:", "mirror: {branch: \"stage/{stage}\", path: manifests, signCommits: {key: env://COMMIT_KEY}}\nstages:",
			"mirror.signCommits.key env://COMMIT_KEY: the variable is not set",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.declare(t, test.from, test.to)
			releases, err := s.run(t, nil)
			if err != nil || len(releases) != 1 {
				t.Fatalf("%+v, %v", releases, err)
			}
			var configuration *publish.ConfigurationError
			if err := releases[0].Err; !errors.As(err, &configuration) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one of configuration with %q", err, test.want)
			}
			if len(releases[0].Stages) != 0 {
				t.Errorf("stages %+v", releases[0].Stages)
			}
			if tags := written(t, s); len(tags) != 0 {
				t.Errorf("it wrote the tags %v", tags)
			}
		})
	}
}

// A key that nobody trusts is found before anything is written, and fails its stages.
func TestRunUntrustedKey(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	other, _ := testworld.KeyFile(t)
	s.declare(t, s.PrivateKey, other)
	releases, err := s.run(t, nil)
	if err != nil || len(releases) != 1 || len(releases[0].Stages) != 4 {
		t.Fatalf("%+v, %v", releases, err)
	}
	for _, stage := range releases[0].Stages {
		var configuration *publish.ConfigurationError
		if stage.Action != publish.Failed || !errors.As(stage.Err, &configuration) {
			t.Errorf("%s: %s, %v", stage.Name, stage.Action, stage.Err)
		}
	}
	if tags := written(t, s); len(tags) != 0 {
		t.Errorf("it wrote the tags %v", tags)
	}
}

// What concerns everything is the error of the run.
func TestRunStops(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if _, err := s.run(t, func(o *publish.Options) { o.Stages = []string{"moon"} }); !errors.Is(err, pipeline.ErrNoStage) {
		t.Errorf("a stage that does not exist: %v", err)
	}
	testworld.Git(t, s.GitOpsDir, "commit", "-q", "--allow-empty", "-m", "Not pushed")
	if _, err := s.run(t, nil); !errors.Is(err, workspace.ErrOffPolicy) {
		t.Errorf("a commit that is not on the policy ref: %v", err)
	}
}

package repair_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
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
	"github.com/lockage/lockage/promote/repair"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/sign"
)

// scene is the demonstration with one stage, to which a release was promoted.
type scene struct {
	*testing.T
	demo     demo.Setup
	registry *testworld.Registry
	cache    string
	artifact string // that is live
}

const declared = `apiVersion: lockage.dev/v1alpha1
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
mirror: {path: "apps/codeai/{stage}/deploy"}
sign:
  hydrator: {key: KEYS/hydrator.key}
  promoter: {key: KEYS/promoter.key}
identities:
  hydrator: {key: keys/hydrator.pub}
  promoter: {key: keys/promoter.pub}
stages:
  - {name: staging}
`

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{T: t, registry: testworld.NewRegistry(t, registry.Options{Deletes: true}), cache: t.TempDir()}
	s.demo = testworld.Demo(t, s.registry.Host, time.Now().Add(-24*time.Hour))
	s.declare(strings.NewReplacer("HOST", s.registry.Host, "KEYS", filepath.Dir(s.demo.PrivateKey)).Replace(declared))
	s.hydrate()
	s.artifact = s.must(promote.Promote, "").To.Digest.String()
	return s
}

func (s *scene) hydrate() {
	s.Helper()
	releases, err := publish.Run(s.Context(), publish.Options{
		Environment: s.environment(), Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}},
	})
	if err != nil || releases[0].Err != nil || releases[0].Stages[0].Err != nil {
		s.Fatal(err, releases)
	}
}

// must promotes a release, or rolls back to it.
func (s *scene) must(do func(context.Context, promote.Options) ([]promote.Result, error), release string) promote.Result {
	s.Helper()
	results, err := do(s.Context(), promote.Options{Environment: s.environment(), Stages: []string{"staging"}, Release: release})
	if err != nil || results[0].Err != nil {
		s.Fatal(err, results)
	}
	return results[0]
}

// next makes the next release, and makes it live.
func (s *scene) next() promote.Result {
	s.Helper()
	testworld.DemoRelease(s, s.demo)
	s.hydrate()
	return s.must(promote.Promote, "")
}

// declare writes the pipeline file, on the policy ref.
func (s *scene) declare(text string) {
	s.Helper()
	testworld.Write(s, s.demo.GitOpsDir, map[string]string{"lockage.yaml": text})
	testworld.Commit(s, s.demo.GitOpsDir, "Change the pipeline")
	testworld.Git(s, s.demo.GitOpsDir, "push", "-q", "origin", "HEAD")
}

// edit replaces a text in the pipeline file, on the policy ref.
func (s *scene) edit(from, to string) {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.demo.GitOpsDir, "lockage.yaml"))
	if err != nil || !strings.Contains(string(text), from) {
		s.Fatalf("lockage.yaml has no %q (%v)", from, err)
	}
	s.declare(strings.Replace(string(text), from, to, 1))
}

func (s *scene) environment() publish.Environment {
	s.Helper()
	o := git.Options{Dir: s.demo.GitOpsDir, CacheDir: s.cache, Environ: testworld.Environ(), Warn: func(string) {}}
	w, err := workspace.Open(s.Context(), s.demo.GitOpsDir, o, policy.Kinds())
	if err != nil {
		s.Fatal(err)
	}
	return publish.Environment{
		Workspace: w, Client: testworld.Client(), Keys: sign.NewKeyring(sign.PasswordFromEnv(nil)), Version: "test",
		Now: time.Now, Random: func(int64) int64 { return 0 }, Warn: func(string) {}, Step: func(string) {},
	}
}

// repair runs repair on the stage.
func (s *scene) repair(dryRun bool, reason string) repair.Result {
	s.Helper()
	return s.repairStage("staging", dryRun, reason)
}

// repairStage runs repair on a stage that has another name.
func (s *scene) repairStage(name string, dryRun bool, reason string) repair.Result {
	s.Helper()
	o := repair.Options{Environment: s.environment(), Stages: []string{name}, Reason: reason}
	o.DryRun = dryRun
	results, err := repair.Stages(s.Context(), o)
	if err != nil || len(results) != 1 {
		s.Fatalf("%+v, %v", results, err)
	}
	return results[0]
}

// findings requires findings whose texts contain these in their order, all done or none.
func (s *scene) findings(r repair.Result, done bool, want ...string) {
	s.Helper()
	if r.Err != nil || len(r.Findings) != len(want) {
		s.Fatalf("%+v, want %q", r, want)
	}
	for i, f := range r.Findings {
		if f.Done != done || !strings.Contains(f.What, want[i]) {
			s.Errorf("%+v, want %q", f, want[i])
		}
	}
}

// refs lists the branches of the remote.
func (s *scene) refs() string { return testworld.Git(s, s.demo.GitOpsDir, "ls-remote", "origin") }

// TestRegistry puts back what an emptied registry lost, and a dry run writes nothing.
func TestRegistry(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.findings(s.repair(false, ""), true)
	empty := registry.New(registry.Options{})
	t.Cleanup(func() { _ = empty.Close() })
	s.registry.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) { empty.ServeHTTP(w, r) })
	s.registry.Forget()
	const tag = "codeai-manifests:staging does not exist"
	lost := s.artifact + " (git-" + s.demo.Commit + ") is not in the registry"
	s.findings(s.repair(true, ""), false, lost, tag)
	if n := s.registry.Writes(); n > 0 {
		t.Errorf("a dry run wrote %d times", n)
	}
	refs := s.refs()
	r := s.repair(false, "")
	s.findings(r, true, lost, tag)
	if r.Record != "" || s.refs() != refs {
		t.Errorf("record %s was signed to put a registry back", r.Record)
	}
	repository := s.registry.Repository(t, "codeai-manifests")
	if d, err := repository.Lookup(t.Context(), "staging"); err != nil || d.String() != s.artifact {
		t.Errorf("the tag names %s (%v), want %s", d, err, s.artifact)
	}
	s.findings(s.repair(false, ""), true)
}

// TestPlace carries a history over once, by the promoter's key alone, and a dry run plans it.
func TestPlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.edit("apps/codeai/{stage}/deploy", "moved/{stage}")
	const moved = "changed its path from apps/codeai/staging/deploy to moved/staging"
	s.findings(s.repair(true, ""), false, moved)
	if r := s.repair(false, "for no reason"); r.Err == nil || !errors.Is(r.Err, policy.ErrDenied) || !strings.Contains(r.Err.Error(), "leave --reason out") {
		t.Errorf("with a reason: %+v", r)
	}
	other, _ := testworld.KeyFile(t)
	s.edit(s.demo.Promoter, other)
	refs := s.refs()
	var configuration *publish.ConfigurationError
	if r := s.repair(false, ""); !errors.As(r.Err, &configuration) || s.refs() != refs {
		t.Errorf("by another key: %+v", r)
	}
	s.edit(other, s.demo.Promoter)
	r := s.repair(false, "")
	s.findings(r, true, moved, "lacks signatures, records or tags")
	if r.Record == "" || r.Commit == "" || !strings.Contains(s.refs(), r.Commit+"\trefs/heads/live/codeai/staging") {
		t.Errorf("record %s in commit %s, which is not the live ref's:\n%s", r.Record, r.Commit, s.refs())
	}
	s.findings(s.repair(false, ""), true)
	s.findings(s.repair(false, "nothing is broken"), true)
}

// TestName carries a history over to another name and back. Where two names came at once, neither has it, and a history that is gone
// was set back under another name, too.
func TestName(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	for _, name := range []string{"one", "two", "live"} {
		if err := os.CopyFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments", name), os.DirFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/staging"))); err != nil {
			t.Fatal(err)
		}
	}
	s.edit("{name: staging}", "{name: one}\n  - {name: two}")
	s.findings(s.repairStage("one", true, ""), false)
	s.edit("{name: one}\n  - {name: two}", "{name: staging}")
	s.edit("{name: staging}", "{name: live}")
	head := testworld.Git(t, s.demo.GitOpsDir, "ls-remote", "origin", "refs/heads/live/codeai/staging")[:40]
	testworld.Git(t, s.demo.GitOpsDir, "fetch", "-q", "origin", head)
	testworld.Git(t, s.demo.GitOpsDir, "push", "-q", "origin", ":refs/heads/live/codeai/staging")
	if r := s.repairStage("live", true, ""); !errors.Is(r.Err, policy.ErrDenied) || !strings.Contains(r.Err.Error(), "set back") {
		t.Errorf("without its history: %+v", r)
	}
	testworld.Git(t, s.demo.GitOpsDir, "push", "-q", "origin", head+":refs/heads/live/codeai/staging")
	if r := s.repairStage("live", false, ""); r.Err != nil || r.Record == "" || !strings.Contains(r.Findings[0].What, "the stage's name from staging to live") {
		t.Errorf("renamed: %+v", r)
	}
	s.edit("{name: live}", "{name: staging}")
	results, err := promote.Promote(t.Context(), promote.Options{Environment: s.environment(), Stages: []string{"staging"}})
	if err != nil || !errors.Is(results[0].Err, policy.ErrDenied) || !strings.Contains(results[0].Err.Error(), "still where it was") {
		t.Errorf("promoted where it was before: %+v, %v", results, err)
	}
	if r := s.repair(false, ""); r.Err != nil || r.Record == "" || !strings.Contains(r.Findings[0].What, "the stage's name from live to staging") {
		t.Errorf("and back: %+v", r)
	}
}

// TestNameOfBefore carries on a history whose pipeline has a former name again, and another place and stage: what the registry knows of that
// name is below.
func TestNameOfBefore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.edit("name: codeai\n", "name: shop\n")
	s.edit("apps/codeai/{stage}/deploy", "shop/{stage}")
	if r := s.repair(false, ""); r.Err != nil || r.Record == "" {
		t.Fatalf("%+v", r)
	}
	s.edit("name: shop\n", "name: codeai\n")
	s.edit("shop/{stage}", "again/{stage}")
	if err := os.CopyFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/live"), os.DirFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/staging"))); err != nil {
		t.Fatal(err)
	}
	s.edit("{name: staging}", "{name: live}")
	if r := s.repairStage("live", true, ""); r.Err != nil || !strings.Contains(r.Findings[0].What, "the history with promotion 2 is on branch live/shop/staging") {
		t.Errorf("%+v", r)
	}
}

// TestMerged finds the place that the history has reached, on whichever side of a merge it was declared.
func TestMerged(t *testing.T) {
	t.Parallel()
	type edit struct{ from, to string }
	path, artifacts := edit{"apps/codeai/{stage}/deploy", "at/last/{stage}"}, edit{"codeai-manifests", "moved-manifests"}
	for name, c := range map[string]struct {
		carried, next edit
		pull          bool // the branch is what the policy ref was, and next is not on it
		changed       string
	}{
		"git pull":                            {artifacts, path, true, "its path from apps/codeai/staging/deploy to at/last/staging"},
		"a pull request and a new registry":   {artifacts, path, false, "its path from apps/codeai/staging/deploy to at/last/staging"},
		"a pull request in the same registry": {path, artifacts, false, "/acme/moved-manifests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			run := func(args ...string) string { t.Helper(); return testworld.Git(t, s.demo.GitOpsDir, args...) }
			main := run("branch", "--show-current")
			run("branch", "other")
			s.edit(c.carried.from, c.carried.to)
			if r := s.repair(false, ""); r.Err != nil || r.Record == "" {
				t.Fatalf("%+v", r)
			}
			if c.pull {
				s.edit(c.next.from, c.next.to)
			}
			run("switch", "-q", "other")
			s.edit(`"1.34"`, `"1.33"`)
			if c.pull {
				run("merge", "-q", "-m", "Merge main", main)
				run("push", "-q", "origin", "HEAD:"+main)
			} else {
				s.edit(c.next.from, c.next.to)
				run("switch", "-q", main)
				run("merge", "-q", "--no-ff", "-m", "Merge a pull request", "other")
				run("push", "-q", "origin", "HEAD")
			}
			if r := s.repair(true, ""); r.Err != nil || !strings.Contains(r.Findings[0].What, c.changed+", and the history with promotion 2") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestMergedRemote asks no remote that only an inner commit of a merged branch names: nobody reviewed that one by itself.
func TestMergedRemote(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	run := func(args ...string) string { t.Helper(); return testworld.Git(t, s.demo.GitOpsDir, args...) }
	if err := os.CopyFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/qa"), os.DirFS(filepath.Join(s.demo.GitOpsDir, "apps/codeai/deployments/staging"))); err != nil {
		t.Fatal(err)
	}
	s.edit("{name: staging}", "{name: staging}\n  - {name: qa}")
	main := run("branch", "--show-current")
	run("switch", "-q", "-c", "other")
	const another = "ledger: {remote: \"http://127.0.0.1:1/gitops.git\"}\nlock: "
	s.edit("lock: ", another)
	s.edit(another, "lock: ")
	s.edit(`"1.34"`, `"1.33"`)
	run("switch", "-q", main)
	run("merge", "-q", "--no-ff", "-m", "Merge a pull request", "other")
	run("push", "-q", "origin", "HEAD")
	for _, stage := range []string{"qa", "staging"} {
		if r := s.repairStage(stage, true, ""); r.Err != nil || len(r.Findings) > 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestSetBack refuses to choose what is live where the registry proves that a promotion is lost, unless a person gives a reason.
func TestSetBack(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	testworld.Git(t, s.demo.GitOpsDir, "push", "-q", "origin", ":refs/heads/live/codeai/staging")
	for _, dryRun := range []bool{true, false} {
		if r := s.repair(dryRun, ""); !errors.Is(r.Err, policy.ErrDenied) || !strings.Contains(r.Err.Error(), "set back") || len(r.Findings) > 0 {
			t.Errorf("without a reason: %+v", r)
		}
	}
	s.findings(s.repair(true, "incident 4711"), false, "set back")
	r := s.repair(false, "incident 4711")
	s.findings(r, true, "set back")
	if want := "begin anew at nothing, with number 2; held: git-" + s.demo.Commit; r.Findings[0].Mend != want {
		t.Errorf("%s, want %s", r.Findings[0].Mend, want)
	}
	s.findings(s.repair(false, "again"), true)
}

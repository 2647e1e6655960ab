package plan_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
)

const sourceURL = "https://git.example.com/acme/app.git"

// renderer opens packages whose only input is the file named chart, and counts them.
type renderer struct{ opens atomic.Int32 }

func (*renderer) Version(o hydrate.Options) string { return fmt.Sprintf("test v%d", max(o.Helm, 3)) }

func (*renderer) Overlays() bool { return false }

func (r *renderer) Open(_ context.Context, source hydrate.Source) (hydrate.Package, error) {
	r.opens.Add(1)
	data, err := fs.ReadFile(source.Files, path.Join(source.Path, "chart"))
	return pkg(data), err
}

// overlayer opens the overlay file of every stage, and counts them.
type overlayer struct{ opens atomic.Int32 }

func (*overlayer) Version(hydrate.Options) string { return "overlay v1" }

func (*overlayer) Overlays() bool { return true }

func (o *overlayer) Open(_ context.Context, source hydrate.Source) (hydrate.Package, error) {
	o.opens.Add(1)
	data, err := fs.ReadFile(source.Overlay.GitOps, source.Overlay.Options.Overlay+"/overlay")
	if err != nil {
		return nil, err
	}
	base, err := fs.ReadFile(source.Files, "k8s/chart")
	return pkg(string(base) + string(data)), err
}

// pkg is a package by its content.
type pkg string

func (p pkg) Inputs() []hydrate.Input {
	var sum [32]byte
	copy(sum[:], p)
	return []hydrate.Input{{Path: "chart", SHA256: sum}}
}

func (pkg) Render(context.Context, hydrate.Request) (hydrate.Rendered, error) {
	return hydrate.Rendered{}, errors.New("a plan renders nothing")
}

// sources has one source repository, under sourceURL, and counts how often it is asked for.
type sources struct {
	dir   string
	cache string
	asked atomic.Int32
}

func (s *sources) Remote(ctx context.Context, url string) (*git.Remote, error) {
	s.asked.Add(1)
	if url != sourceURL {
		return nil, fmt.Errorf("no repository %s", url)
	}
	return git.OpenRemote(ctx, s.dir, git.Options{CacheDir: s.cache, Environ: testworld.Environ()})
}

// scene is a source repository of two commits and a GitOps repository.
type scene struct {
	t          *testing.T
	sources    *sources
	helm       renderer
	kustomize  overlayer
	old, newer string // commits of the source
	files      fstest.MapFS
}

func newScene(t *testing.T) *scene {
	t.Helper()
	dir, _ := testworld.Checkout(t, nil)
	s := &scene{t: t, sources: &sources{dir: dir, cache: t.TempDir()}, files: fstest.MapFS{}}
	s.old, s.newer = s.commit(map[string]string{"k8s/chart": "old"}), s.commit(map[string]string{"k8s/chart": "new"})
	return s
}

// commit commits files to the source repository.
func (s *scene) commit(files map[string]string) string {
	s.t.Helper()
	testworld.Write(s.t, s.sources.dir, files)
	return string(testworld.Commit(s.t, s.sources.dir, "change"))
}

// declare adds a pipeline with the stages staging and production, which is after staging although it is declared
// first, and locks it to a commit.
func (s *scene) declare(name, commit string, change func(*lock.Lock)) {
	s.t.Helper()
	s.files[name+".yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: %[1]s
lock: locks/%[1]s
artifacts: registry.example.com/acme/%[1]s
render:
  releaseName: "{stage}"
  namespace: app
  kubeVersion: "1.34"
  values: ["values/{stage}.yaml"]
  set: {image: "{image}"}
  overlay: overlays/{stage}
identities:
  hydrator: {key: keys/hydrator.pub}
stages:
  - {name: production, after: [staging]}
  - {name: staging}
`, name)}
	for _, stage := range []string{"staging", "production"} {
		s.files["values/"+stage+".yaml"] = &fstest.MapFile{Data: []byte("stage: " + stage + "\n")}
		s.files["overlays/"+stage+"/overlay"] = &fstest.MapFile{Data: []byte(stage)}
	}
	l := testworld.Lock(commit)
	l.Packaging.SourceRepo, l.Packaging.SourcePath = sourceURL, "k8s"
	if change != nil {
		change(&l)
	}
	testworld.AddLock(s.files, "locks/"+name, l)
}

// make plans the named pipelines.
func (s *scene) make(change func(*plan.Request), names ...string) ([]plan.Release, error) {
	s.t.Helper()
	var files []string
	for _, name := range names {
		files = append(files, name+".yaml")
	}
	pipelines, err := pipeline.Load(s.files, nil, files...)
	if err != nil {
		s.t.Fatal(err)
	}
	r := plan.Request{
		Files:     s.files,
		Pipelines: pipelines,
		Sources:   s.sources,
		Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: &s.helm, lock.Kustomize: &s.kustomize},
	}
	if change != nil {
		change(&r)
	}
	return plan.Make(s.t.Context(), r)
}

// require plans, and fails where a pipeline could not be planned.
func (s *scene) require(change func(*plan.Request), names ...string) []plan.Release {
	s.t.Helper()
	releases, err := s.make(change, names...)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range releases {
		if r.Err != nil {
			s.t.Fatal(r.Err)
		}
	}
	return releases
}

// shape describes the stages, as «pipeline:stage stage».
func shape(releases []plan.Release) []string {
	var all []string
	for _, r := range releases {
		var stages []string
		for _, stage := range r.Stages {
			stages = append(stages, stage.Name)
		}
		all = append(all, r.Pipeline.Name+":"+strings.Join(stages, " "))
	}
	return all
}

func requireShape(t *testing.T, releases []plan.Release, want ...string) {
	t.Helper()
	if got := shape(releases); !slices.Equal(got, want) {
		t.Errorf("plan is %q, want %q", got, want)
	}
}

func TestPackageIsOpenedOnceForAllStages(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("one", s.newer, nil)
	s.declare("two", s.newer, nil)
	s.declare("old", s.old, nil)
	releases := s.require(nil, "two", "one", "old")
	requireShape(t, releases, "two:staging production", "one:staging production", "old:staging production")
	if n := s.helm.opens.Load(); n != 2 {
		t.Errorf("%d packages were opened, want one a source commit: 2", n)
	}
	if n := s.sources.asked.Load(); n != 2 {
		t.Errorf("the source repository was asked for %d times, want one a commit: 2", n)
	}
	for _, r := range releases {
		want := "new"
		if r.Pipeline.Name == "old" {
			want = "old"
		}
		for _, stage := range r.Stages {
			if stage.Package != pkg(want) {
				t.Errorf("stage %s of %s has the package %q, want %q", stage.Name, r.Pipeline.Name, stage.Package, want)
			}
		}
	}
}

func TestStageHasAllThatItIsRenderedWith(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	release := s.require(nil, "app")[0]
	if got := release.Committed.Format("2006-01-02T15:04:05Z07:00"); got != "2026-03-22T10:34:56Z" || release.SourceURL != sourceURL {
		t.Errorf("release was committed at %s to %s", got, release.SourceURL)
	}
	stage := release.Stages[1]
	r := stage.Options
	if stage.Name != "production" || stage.Declared.Stage != "production" || r.ReleaseName != "production" || r.Namespace != "app" || r.KubeVersion != "1.34" {
		t.Errorf("request of production is %+v", r)
	}
	if len(r.Values) != 1 || r.Values[0].Path != "values/production.yaml" || string(r.Values[0].Data) != "stage: production\n" {
		t.Errorf("values are %+v", r.Values)
	}
	want := hydrate.SetValue{Key: "image", Value: fmt.Appendf(nil, "%q", "ghcr.io/acme/app@"+testworld.Image)}
	if !reflect.DeepEqual(r.Set, []hydrate.SetValue{want}) {
		t.Errorf("set is %v, want %v", r.Set, want)
	}
}

func TestOverlayIsOpenedForEachStage(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, func(l *lock.Lock) { l.Packaging.Kind = lock.Kustomize })
	release := s.require(nil, "app")[0]
	if n := s.kustomize.opens.Load(); n != 2 {
		t.Errorf("%d overlays were opened, want one a stage: 2", n)
	}
	for _, stage := range release.Stages {
		if want := pkg("new" + stage.Name); stage.Package != want || stage.Renderer != "overlay v1" {
			t.Errorf("stage %s has the package %q of %s, want %q", stage.Name, stage.Package, stage.Renderer, want)
		}
	}
}

func TestOnePipelineThatFailsStopsNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*scene)
		want  string
	}{
		"no release":     {func(s *scene) { delete(s.files, "locks/bad/current.yaml") }, "lock directory locks/bad has releases and no current.yaml"},
		"unknown commit": {func(s *scene) { s.declare("bad", strings.Repeat("d", 40), nil) }, "source repository"},
		"unknown source": {func(s *scene) {
			s.declare("bad", s.newer, func(l *lock.Lock) { l.Packaging.SourceRepo = "https://git.example.com/other.git" })
		}, "no repository https://git.example.com/other.git"},
		"unknown folder": {func(s *scene) {
			s.declare("bad", s.newer, func(l *lock.Lock) { l.Packaging.SourcePath = "charts" })
		}, "is the lock's packaging.sourcePath right?"},
		"package that does not open": {func(s *scene) {
			s.declare("bad", s.newer, func(l *lock.Lock) { l.Packaging.SourcePath = "." })
		}, "read chart: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.declare("bad", s.newer, nil)
			s.declare("good", s.newer, nil)
			c.spoil(s)
			releases, err := s.make(nil, "bad", "good")
			if err != nil {
				t.Fatal(err)
			}
			requireShape(t, releases, "bad:", "good:staging production")
			if releases[0].Err == nil || !strings.Contains(releases[0].Err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", releases[0].Err, c.want)
			}
			if releases[1].Err != nil {
				t.Errorf("the other pipeline failed too: %v", releases[1].Err)
			}
			if n := len(plan.InputDigests(releases)); n != 2 {
				t.Errorf("there are %d input digests, want those of the 2 stages that were planned", n)
			}
		})
	}
}

func TestOneStageThatFailsStopsNoOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*scene)
		want  string
	}{
		"values missing": {func(s *scene) { delete(s.files, "values/staging.yaml") },
			`app.yaml:10:12: values file values/staging.yaml does not exist in the GitOps repository: file does not exist; create and commit it, take it out of render.values, or write {file: "values/staging.yaml", optional: true}`},
		"values too big": {func(s *scene) { s.files["values/staging.yaml"].Data = make([]byte, 16<<20+1) }, "larger than the limit of 16777216 bytes"},
		"schemas missing": {func(s *scene) {
			s.files["app.yaml"].Data = bytes.ReplaceAll(s.files["app.yaml"].Data, []byte("{name: staging}"), []byte("{name: staging, render: {validate: true, schemas: none}}"))
		}, "none is not a folder of the GitOps repository"},
		"overlay that does not open": {func(s *scene) {
			s.declare("app", s.newer, func(l *lock.Lock) { l.Packaging.Kind = lock.Kustomize })
			delete(s.files, "overlays/staging/overlay")
		}, "open overlays/staging/overlay"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			s.declare("app", s.newer, nil)
			c.spoil(s)
			releases := s.require(nil, "app")
			requireShape(t, releases, "app:staging production")
			if err := releases[0].Stages[0].Err; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
			if err := releases[0].Stages[1].Err; err != nil {
				t.Errorf("the other stage failed too: %v", err)
			}
			if n := len(plan.InputDigests(releases)); n != 1 {
				t.Errorf("there are %d input digests, want that of the stage that can be rendered", n)
			}
		})
	}
}

func TestValuesOfTheLargestSizeAreRead(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	s.files["values/staging.yaml"] = &fstest.MapFile{Data: make([]byte, 16<<20)}
	s.require(nil, "app")
}

func TestRendererThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	releases, err := s.make(func(r *plan.Request) { r.Renderers = nil }, "app")
	if err != nil {
		t.Fatal(err)
	}
	const want = "locks/app/current.yaml: packaging.kind helm is not supported yet"
	if err := releases[0].Err; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	s.declare("other", s.newer, nil)
	s.files["other.yaml"].Data = bytes.ReplaceAll(s.files["other.yaml"].Data, []byte("production"), []byte("live"))
	s.files["values/live.yaml"] = &fstest.MapFile{}
	for _, c := range []struct {
		stages []string
		want   []string
	}{
		{nil, []string{"other:staging live", "app:staging production"}},
		{[]string{"production", "live", "staging"}, []string{"other:staging live", "app:staging production"}},
		{[]string{"staging"}, []string{"other:staging", "app:staging"}},
		{[]string{"production"}, []string{"other:", "app:production"}}, // a pipeline without the stage has no error
	} {
		requireShape(t, s.require(func(r *plan.Request) { r.Stages = c.stages }, "other", "app"), c.want...)
	}

	asked := s.sources.asked.Load()
	_, err := s.make(func(r *plan.Request) { r.Stages = []string{"staging", "prod"} }, "other", "app")
	if !errors.Is(err, pipeline.ErrNoStage) || !strings.Contains(err.Error(), `"prod"; the stages are live, production, staging`) {
		t.Errorf("error is %v, want %v with the stages that there are", err, pipeline.ErrNoStage)
	}
	if s.sources.asked.Load() != asked {
		t.Error("the source was asked for before the stages were checked")
	}
}

func TestReleaseAndCommit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.old, nil)
	s.declare("app", s.newer, nil)
	for name, c := range map[string]struct {
		release, commit string
		want            pkg
		id, path        string
	}{
		"current":          {"", "", "new", "git-" + s.newer, "locks/app/current.yaml"},
		"release":          {"git-" + s.old, "", "old", "git-" + s.old, "locks/app/git-" + s.old + ".yaml"},
		"commit":           {"", s.old, "old", "git-" + s.old, "locks/app/current.yaml"},
		"release, another": {"git-" + s.old, s.newer, "new", "git-" + s.newer, "locks/app/git-" + s.old + ".yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := s.require(func(r *plan.Request) { r.Release, r.Commit = c.release, c.commit }, "app")[0]
			if release.Lock.ReleaseID != c.id || release.Lock.Path != c.path {
				t.Errorf("lock is %s of %s, want %s of %s", release.Lock.ReleaseID, release.Lock.Path, c.id, c.path)
			}
			for _, stage := range release.Stages {
				if stage.Package != c.want || stage.Lock.ReleaseID != c.id || "git-"+stage.Lock.GitCommit != c.id {
					t.Errorf("stage %s has the package %q at %s of %s, want %q", stage.Name, stage.Package, stage.Lock.GitCommit, stage.Lock.ReleaseID, c.want)
				}
			}
		})
	}
	t.Run("unknown release", func(t *testing.T) {
		t.Parallel()
		releases, err := s.make(func(r *plan.Request) { r.Release = "git-" + strings.Repeat("d", 40) }, "app")
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(releases[0].Err, fs.ErrNotExist) {
			t.Errorf("error is %v, want %v", releases[0].Err, fs.ErrNotExist)
		}
	})
}

func TestInputDigests(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	s.declare("other", s.newer, nil)
	before := plan.InputDigests(s.require(nil, "app", "other"))
	if again := plan.InputDigests(s.require(nil, "other", "app")); len(again) != 4 || fmt.Sprint(again) != fmt.Sprint(before) {
		t.Errorf("input digests are %v, and of the same inputs %v", before, again)
	}
	s.files["values/staging.yaml"] = &fstest.MapFile{Data: []byte("stage: other\n")}
	after := plan.InputDigests(s.require(nil, "app"))
	for _, stage := range []string{"staging", "production"} {
		key := plan.Key{Pipeline: "app", Stage: stage, Release: "git-" + s.newer}
		if before[key] == "" || after[key] == "" {
			t.Errorf("there is no input digest of %+v", key)
		}
		if changed := before[key] != after[key]; changed != (stage == "staging") {
			t.Errorf("input digest of %s changed: %v", stage, changed)
		}
	}
}

func TestEndedPlan(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.declare("app", s.newer, nil)
	pipelines, err := pipeline.Load(s.files, nil, "app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = plan.Make(ctx, plan.Request{Files: s.files, Pipelines: pipelines, Sources: s.sources, Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: &s.helm}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

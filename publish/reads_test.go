package publish_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/kustomize"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/workspace"
	"github.com/lockage/lockage/internal/git"
	"github.com/lockage/lockage/internal/testworld"
	"github.com/lockage/lockage/oci/registry"
	"github.com/lockage/lockage/policy"
	"github.com/lockage/lockage/policy/verify"
	"github.com/lockage/lockage/publish"
	"github.com/lockage/lockage/publish/rebuild"
	"github.com/lockage/lockage/sign"
)

const helmPipeline = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: helm
lock: locks/helm
artifacts: HOST/acme/helm
vars: vars.yaml
render:
  kubeVersion: "1.34"
  assertImage: false
  values: [values/a.yaml, {file: values/b.yaml, optional: true}, {file: extra.yaml, from: source}]
  set: {domain: "{domain}"}
sign: {hydrator: {key: PRIVATE}}
identities: {hydrator: {key: hydrator.pub}}
stages: [{name: staging}]
`

const kustomizePipeline = `apiVersion: lockage.dev/v1alpha1
kind: Pipeline
name: kustomize
lock: locks/kustomize
artifacts: HOST/acme/kustomize
render: {assertImage: false}
sign: {hydrator: {key: PRIVATE}}
identities: {hydrator: {key: hydrator.pub}}
stages:
  - {name: overlay, render: {overlay: overlays/a}}
  - {name: generated, render: {kustomize: {components: [part]}}}
`

// readsScene is a source repository, a GitOps repository of a pipeline of each kind, a key and a registry.
type readsScene struct {
	t     *testing.T
	dir   string // of the GitOps repository
	cache string
	base  string // its first commit

	since     string               // of the hydrations
	opened    counting             // overlays
	private   string               // file of the hydrator's key
	workspace *workspace.Workspace // as it was opened last
}

func configMap(name, value string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {value: " + value + "}\n"
}

func newReadsScene(t *testing.T) *readsScene {
	t.Helper()
	source, commit := testworld.Checkout(t, map[string]string{
		"chart/Chart.yaml":            "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"chart/values.yaml":           "color: red\n",
		"chart/extra.yaml":            "size: 1\n",
		"chart/templates/app.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {values: {{ .Values | toJson | quote }}}\n",
		"k8s/kustomization.yaml":      "resources: [app.yaml]\n",
		"k8s/app.yaml":                configMap("app", "base"),
		"k8s/part/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: of-source-\n",
	})
	private, public := testworld.KeyFile(t)
	text := strings.NewReplacer("HOST", testworld.NewRegistry(t, registry.Options{}).Host, "PRIVATE", private)
	files := map[string]string{
		"hydrator.pub": public, "README.md": "Read me.\n",
		"helm.yaml": text.Replace(helmPipeline), "kustomize.yaml": text.Replace(kustomizePipeline),
		"vars.yaml": "domain: example.com\nother: 1\n", "values/a.yaml": "color: blue\n",
		"overlays/a/kustomization.yaml": "resources: [../linked, own.yaml]\n", "overlays/a/own.yaml": configMap("own", "a"),
		"overlays/b/kustomization.yaml": "resources: [b.yaml]\n", "overlays/b/b.yaml": configMap("b", "b"),
		"overlays/c/kustomization.yaml": "resources: [b.yaml]\n", "overlays/c/b.yaml": configMap("b", "c"),
	}
	for kind, folder := range map[lock.Kind]string{lock.Helm: "chart", lock.Kustomize: "k8s"} {
		l := testworld.Lock(string(commit))
		l.Packaging = lock.Packaging{Kind: kind, SourceRepo: source, SourcePath: folder}
		for _, name := range []string{"current", l.ReleaseID} {
			files["locks/"+string(kind)+"/"+name+".yaml"] = string(lock.Format(l))
		}
	}
	dir, _ := testworld.Checkout(t, files)
	s := &readsScene{t: t, dir: dir, cache: t.TempDir(), private: private}
	s.link("b")
	s.base = string(testworld.Commit(t, dir, "Link"))
	testworld.Git(t, dir, "remote", "add", "origin", testworld.Bare(t, dir))
	return s
}

// link points overlays/linked to another folder.
func (s *readsScene) link(to string) {
	name := filepath.Join(s.dir, "overlays", "linked")
	_ = os.Remove(name)
	if err := os.Symlink(to, name); err != nil {
		s.t.Fatal(err)
	}
}

// move moves a file, and names it anew in the pipeline file.
func (s *readsScene) move(from, to string) {
	testworld.Git(s.t, s.dir, "mv", from, to)
	s.edit("helm.yaml", from, to)
}

func (s *readsScene) edit(name, from, to string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil || !strings.Contains(string(data), from) {
		s.t.Fatalf("%s has no %q: %v", name, from, err)
	}
	testworld.Write(s.t, s.dir, map[string]string{name: strings.Replace(string(data), from, to, 1)})
}

// hydrate pushes what is checked out, and hydrates it.
func (s *readsScene) hydrate(dry bool) (map[string]publish.Stage, *workspace.Policy) {
	s.t.Helper()
	testworld.Git(s.t, s.dir, "push", "-q", "--force", "origin", "HEAD:main")
	w, err := workspace.Open(s.t.Context(), s.dir, git.Options{Dir: s.dir, CacheDir: s.cache, Environ: testworld.Environ(), Warn: func(string) {}}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.workspace = w
	releases, err := publish.Run(s.t.Context(), publish.Options{
		Environment: publish.Environment{
			Workspace: w, Files: []string{"[ho]*.yaml", "kustomize.yaml"}, DryRun: dry, Client: testworld.Client(), Keys: sign.NewKeyring(sign.PasswordFromEnv(nil)),
			Version: "test", Random: func(int64) int64 { return 0 }, Warn: func(string) {}, Step: func(string) {},
		},
		Since:     s.since,
		Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}, lock.Kustomize: &s.opened},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	stages := map[string]publish.Stage{}
	for _, r := range releases {
		for _, stage := range r.Stages {
			stages[stage.Name] = stage
			if r.Err != nil || stage.Err != nil {
				s.t.Fatalf("%s: %v, %v", stage.Name, r.Err, stage.Err)
			}
		}
	}
	ref, err := w.Policy(s.t.Context(), "", func(string) {})
	if err != nil {
		s.t.Fatal(err)
	}
	return stages, ref
}

// hydration returns what the hydrator stated of a stage's artifact.
func (s *readsScene) hydration(stage publish.Stage, ref *workspace.Policy) policy.Hydration {
	s.t.Helper()
	repository, err := testworld.Client().Repository(strings.TrimSuffix(stage.Reference, "@"+stage.Digest.String()))
	if err != nil {
		s.t.Fatal(err)
	}
	desc, err := repository.Resolve(s.t.Context(), stage.Digest.String())
	if err != nil {
		s.t.Fatal(err)
	}
	files, err := ref.Files(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	keys, err := verify.PublicKeys(files, "hydrator.pub")
	if err != nil {
		s.t.Fatal(err)
	}
	hydrator, err := sign.NewVerifier(sign.Identity{Name: "hydrator", PublicKey: keys[0]})
	if err != nil {
		s.t.Fatal(err)
	}
	h, err := verify.Hydration(s.t.Context(), repository, desc, verify.Keys{Verifier: hydrator}, ref)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// provenance returns the provenance of a stage's artifact.
func (s *readsScene) provenance(stage publish.Stage, ref *workspace.Policy) sign.Provenance {
	s.t.Helper()
	h := s.hydration(stage, ref)
	i := slices.IndexFunc(h.Statements, func(v sign.Verified) bool { _, err := v.Provenance(); return err == nil })
	p, err := h.Statements[i].Provenance()
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// examine verifies the artifact of a stage by its statements in the registry, or by others.
func (s *readsScene) examine(file string, stage publish.Stage, ref *workspace.Policy, statements ...sign.Bundle) verify.Examined {
	s.t.Helper()
	files, err := ref.Files(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	pipelines, err := pipeline.Load(files, nil, file)
	if err != nil {
		s.t.Fatal(err)
	}
	repository, err := testworld.Client().Repository(pipelines[0].Repository(stage.Name))
	if err != nil {
		s.t.Fatal(err)
	}
	e, err := verify.Examine(s.t.Context(), verify.Request{
		Pipeline: pipelines[0], Stage: stage.Name, Repository: repository, Reference: stage.Digest.String(), Statements: statements, Files: files, PolicyRef: ref,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *readsScene) rebuild(e verify.Examined, ref *workspace.Policy) policy.Check {
	s.t.Helper()
	r := rebuild.Rebuilder{Commits: ref, Sources: s.workspace.Repository, Renderers: renderers, Version: "test"}
	result, err := r.Rebuild(s.t.Context(), e)
	if err != nil {
		s.t.Fatal(err)
	}
	return result.Check
}

// TestRebuild renders charts and overlays again, and finds what a hydrator says in its provenance that it did not do.
func TestRebuild(t *testing.T) {
	t.Parallel()
	s := newReadsScene(t)
	stages, ref := s.hydrate(false)
	for name, file := range map[string]string{"staging": "helm.yaml", "overlay": "kustomize.yaml", "generated": "kustomize.yaml"} {
		e := s.examine(file, stages[name], ref)
		if check := s.rebuild(e, ref); e.Report.Result != policy.Pass || check.Result != policy.Pass || !strings.HasSuffix(check.Reason, "equal, byte for byte") {
			t.Errorf("%s: %+v, %+v", name, e.Report.Checks, check)
		}
	}
	key, err := sign.OpenKey(t.Context(), s.private, nil)
	if err != nil {
		t.Fatal(err)
	}
	const others = "the provenance names other options or files"
	for name, c := range map[string]struct {
		stage, file string
		change      func(*sign.Provenance)
		want        string
	}{
		"options":        {"staging", "helm.yaml", func(p *sign.Provenance) { p.Options = []byte(`{}`) }, others},
		"values":         {"staging", "helm.yaml", func(p *sign.Provenance) { p.Values[0].ID = s.base }, others},
		"fewer reads":    {"overlay", "kustomize.yaml", func(p *sign.Provenance) { p.Reads = p.Reads[1:] }, others},
		"lock":           {"staging", "helm.yaml", func(p *sign.Provenance) { p.Meaning = digest.FromString("a") }, "names another lock"},
		"source":         {"staging", "helm.yaml", func(p *sign.Provenance) { p.Dependencies[0].Digest["gitCommit"] = s.base }, "names another source than the lock"},
		"pipeline file":  {"staging", "helm.yaml", func(p *sign.Provenance) { p.File = "absent.yaml" }, "names pipeline file absent.yaml"},
		"other pipeline": {"staging", "helm.yaml", func(p *sign.Provenance) { p.File = "kustomize.yaml" }, "declares no stage staging of a pipeline helm"},
		"GitOps commit":  {"staging", "helm.yaml", func(p *sign.Provenance) { p.Dependencies[1].Digest["gitCommit"] = s.base[1:] + "0" }, "no provenance of this artifact"},
	} {
		p := s.provenance(stages[c.stage], ref)
		c.change(&p)
		statement, err := sign.NewProvenance(stages[c.stage].Digest, p)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := sign.Sign(t.Context(), key, statement)
		if err != nil {
			t.Fatal(err)
		}
		if check := s.rebuild(s.examine(c.file, stages[c.stage], ref, bundle), ref); check.Result != policy.Fail || !strings.Contains(check.Reason, c.want) {
			t.Errorf("%s: %+v, want %q", name, check, c.want)
		}
	}
	p := s.provenance(stages["staging"], ref)
	p.Renderer, p.Options = "helm v2", nil
	statement, err := sign.NewProvenance(stages["staging"].Digest, p)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := sign.Sign(t.Context(), key, statement)
	if err != nil {
		t.Fatal(err)
	}
	if check := s.rebuild(s.examine("helm.yaml", stages["staging"], ref, bundle), ref); check.Result != policy.Pass ||
		!strings.HasPrefix(check.Reason, "made by lockage test with helm v2, output 2, rendered again by lockage test with helm v3") {
		t.Errorf("by another renderer: %+v", check)
	}
}

// counting counts the overlays that are opened.
type counting struct {
	kustomize.Renderer
	overlays atomic.Int32
}

func (c *counting) Open(ctx context.Context, source hydrate.Source) (hydrate.Package, error) {
	c.overlays.Add(1)
	return c.Renderer.Open(ctx, source)
}

// TestSince opens no overlay a second time that finds at the earlier commit what it finds now.
func TestSince(t *testing.T) {
	t.Parallel()
	s := newReadsScene(t)
	testworld.Write(t, s.dir, map[string]string{"overlays/a/own.yaml": configMap("own", "other")})
	testworld.Commit(t, s.dir, "An overlay")
	s.since = s.base
	if stages, _ := s.hydrate(true); len(stages) != 1 || stages["overlay"].Name == "" {
		t.Errorf("selected %v", stages)
	}
	if got := s.opened.overlays.Load(); got != 3 { // both now, and the one that changed before
		t.Errorf("%d overlays were opened", got)
	}
}

// renderers render in this process.
var renderers = map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{}, lock.Kustomize: kustomize.Renderer{}}

// TestReadsEqual compares, after every kind of change, what provenance says was read with the input digest, which is the judge: a
// release whose inputs are equal is not hydrated again, so that a difference would never go away. For a candidate at that commit, a
// hydration of before gives what its stage has there if nothing differs that it read, whatever the candidate reads.
func TestReadsEqual(t *testing.T) {
	t.Parallel()
	s := newReadsScene(t)
	first, ref := s.hydrate(false)
	provenances, inputs := map[string]sign.Provenance{}, map[string]digest.Digest{}
	for name, stage := range first {
		provenances[name], inputs[name] = s.provenance(stage, ref), stage.InputDigest
	}
	candidate, before := s.hydration(first["generated"], ref), s.hydration(first["overlay"], ref)
	write := func(name, content string) { testworld.Write(t, s.dir, map[string]string{name: content}) }
	for _, c := range []struct {
		name   string
		change func()
		differ string // the stages whose inputs differ
	}{
		{"nothing", func() {}, ""},
		{"a file that nobody reads", func() { write("README.md", "Other.\n"); write("overlays/a/notes", "") }, ""},
		{"values", func() { write("values/a.yaml", "color: green\n") }, "staging"},
		{"values moved", func() { s.move("values/a.yaml", "values/z.yaml") }, ""},
		{"optional values that come", func() { write("values/b.yaml", "color: green\n") }, "staging"},
		{"optional values of another name", func() { s.edit("helm.yaml", "values/b.yaml", "values/c.yaml") }, "staging"},
		{"values of another origin", func() { s.edit("helm.yaml", "extra.yaml, from: source", "size.yaml"); write("size.yaml", "size: 1\n") }, ""},
		{"another order", func() {
			s.edit("helm.yaml", "values/a.yaml, ", "")
			s.edit("helm.yaml", "from: source}", "from: source}, values/a.yaml")
		}, "staging"},
		{"a variable that nobody uses", func() { s.edit("vars.yaml", "other: 1", "other: 2") }, ""},
		{"a variable", func() { s.edit("vars.yaml", "example.com", "example.org") }, "staging"},
		{"set", func() { s.edit("helm.yaml", "{domain: ", "{a: {B: 1, b: 2}, domain: ") }, "staging"},
		{"another Helm", func() { s.edit("helm.yaml", "render:\n", "render:\n  helm: 4\n") }, "staging"},
		{"the default Helm", func() { s.edit("helm.yaml", "render:\n", "render:\n  helm: 3\n") }, ""},
		{"the lock", func() {
			for _, name := range []string{"current", provenances["staging"].Release} {
				s.edit("locks/helm/"+name+".yaml", "ghcr.io/acme/app", "ghcr.io/acme/other")
			}
		}, "staging"},
		{"the pipeline file moved", func() { testworld.Git(t, s.dir, "mv", "helm.yaml", "other.yaml") }, ""},
		{"an overlay's file", func() { write("overlays/a/own.yaml", configMap("own", "other")) }, "overlay"},
		{"a file behind a link", func() { write("overlays/b/b.yaml", configMap("b", "other")) }, "overlay"},
		{"a file that the link does not lead to", func() { write("overlays/c/b.yaml", configMap("b", "other")) }, ""},
		{"a link that leads to another folder", func() { s.link("c") }, "overlay"},
		{"a folder in a link's place", func() {
			testworld.Git(t, s.dir, "rm", "-q", "overlays/linked")
			write("overlays/linked/kustomization.yaml", "resources: [b.yaml]\n")
			write("overlays/linked/b.yaml", configMap("b", "b"))
		}, "overlay"},
		{"a name that was looked for in vain", func() {
			write("part/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: ours-\n")
		}, "generated"},
		{"a generated overlay, written out", func() {
			s.edit("kustomize.yaml", "{components: [part]}", "{image: ghcr.io/acme/app, components: [part]}")
		}, ""},
		{"another namespace", func() { s.edit("kustomize.yaml", "{kustomize: ", "{namespace: other, kustomize: ") }, "generated"},
		{"an option that overlays do not know", func() { s.edit("kustomize.yaml", "{overlay: ", "{releaseName: other, overlay: ") }, ""},
		{"another layout", func() { s.edit("kustomize.yaml", "{assertImage", "{layout: single, assertImage") }, "generated overlay"},
	} {
		testworld.Git(t, s.dir, "reset", "-q", "--hard", s.base)
		testworld.Git(t, s.dir, "clean", "-qfd")
		c.change()
		commit := testworld.Commit(t, s.dir, c.name)
		s.since = s.base
		selected, _ := s.hydrate(true)
		if names := slices.Sorted(maps.Keys(selected)); !slices.Equal(names, strings.Fields(c.differ)) {
			t.Errorf("%s: --since selects %v", c.name, names)
		}
		s.since = ""
		now, ref := s.hydrate(true)
		for name, p := range provenances {
			difference, err := verify.ReadsEqual(t.Context(), p, ref, string(commit), "other.yaml")
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			differs := slices.Contains(strings.Fields(c.differ), name)
			if got := now[name].InputDigest != inputs[name]; got != differs {
				t.Errorf("%s: the inputs of %s differ is %v, want %v", c.name, name, got, differs)
			}
			if (difference != "") != differs {
				t.Errorf("%s: what %s read differs is %q, want %v", c.name, name, difference, differs)
			}
		}
		made := verify.Made{Stage: "generated", Commit: string(commit), Hydration: candidate}
		if ok, _, _, err := made.Gives(t.Context(), "overlay", before, ref, "kustomize.yaml"); err != nil || ok == slices.Contains(strings.Fields(c.differ), "overlay") {
			t.Errorf("%s: the overlay of before is what the stage has there is %v, %v", c.name, ok, err)
		}
	}
}

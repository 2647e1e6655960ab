package plan_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm"
	"github.com/lockage/lockage/hydrate/kustomize"
	"github.com/lockage/lockage/hydrate/lock"
	"github.com/lockage/lockage/hydrate/pipeline"
	"github.com/lockage/lockage/hydrate/plan"
	"github.com/lockage/lockage/internal/testworld"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the mutations to make; 0 for other ones every time")
	stepsFlag = flag.Int("steps", 60, "how many mutations to make")
)

// TestExactlyWhoUsesItChanges changes one thing at a time of a GitOps repository, its locks, the source and the charts that
// it depends on, and compares whose input digests change with who uses the thing, which is known by construction.
func TestExactlyWhoUsesItChanges(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
	before := w.digests()
	if len(before) != 9 {
		t.Fatalf("%d stages", len(before))
	}
	seen := map[string]int{}
	for step := range *stepsFlag {
		mutations := w.mutations()
		m := mutations[w.random.IntN(len(mutations))]
		what, users := m()
		after := w.digests()
		var changed []string
		for stage := range before {
			if after[stage] != before[stage] {
				changed = append(changed, stage)
			}
		}
		slices.Sort(changed)
		slices.Sort(users)
		if !slices.Equal(changed, users) {
			t.Fatalf("step %d: %s: %q changed, and %q use it; repeat with -seed %d", step, what, changed, users, seed)
		}
		seen[strings.Fields(what)[0]]++
		before = after
	}
	t.Logf("seed %d: %v", seed, seen)
}

// world is all that plans are made of. Stages are named "pipeline/stage".
type world struct {
	*scene
	random   *rand.Rand
	count    int // makes every change one to what was never there
	pipes    []*pipe
	files    map[string]string // of the GitOps repository, but for pipelines and locks
	archives map[string]string // what the charts of the repository hold, by name
	commits  []string
	cache    string
}

// pipe is a pipeline as it is declared.
type pipe struct {
	name     string
	lock     lock.Lock
	fixed    string                       // lines of render that no mutation touches
	defaults map[string]string            // of render, by key
	stages   map[string]map[string]string // what they override
	other    string                       // lines that change no output
}

// readers lists the stages that use a file of the GitOps repository.
var readers = map[string][]string{
	"README.md":                             nil,
	"values/nobody.yaml":                    nil,
	"values/all.yaml":                       {"blog/production", "blog/staging", "shop/production", "shop/staging", "shop/test"},
	"values/shop/staging.yaml":              {"shop/staging"},
	"values/shop/production.yaml":           {"shop/production"},
	"values/blog/production.yaml":           {"blog/production"},
	"overlays/staging/unread.env":           nil,
	"overlays/staging/settings.env":         {"web/staging"},
	"overlays/production/replicas.yaml":     {"web/production"},
	"components/shared/label.yaml":          {"site/production", "site/staging", "web/production", "web/staging"},
	"components/prod/kustomization.yaml":    {"site/production"},
	"components/staging/kustomization.yaml": {"site/staging"},
}

func newWorld(t *testing.T, random *rand.Rand) *world {
	t.Helper()
	w := &world{scene: newScene(t), random: random, archives: map[string]string{"cache": "first", "queue": "first", "unused": "first"}, cache: t.TempDir()}
	w.files = map[string]string{
		"README.md": "hello", "values/nobody.yaml": "a: b", "values/all.yaml": "a: b",
		"values/shop/staging.yaml": "a: b", "values/shop/test.yaml": "a: b", "values/shop/production.yaml": "a: b",
		"values/blog/staging.yaml": "a: b", "values/blog/production.yaml": "a: b",
		"overlays/staging/unread.env": "a=b", "overlays/staging/settings.env": "a=b",
		"overlays/staging/kustomization.yaml": "resources: [\"" + sourceURL + "//k8s/kustomize/base\"]\ncomponents: [../../components/shared]\n" +
			"configMapGenerator: [{name: settings, envs: [settings.env]}]\n",
		"overlays/production/kustomization.yaml": "resources: [\"" + sourceURL + "//k8s/kustomize/base\", replicas.yaml]\ncomponents: [../../components/shared]\n",
		"overlays/production/replicas.yaml":      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: replicas}\n",
		"components/shared/kustomization.yaml":   "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [label.yaml]\n",
		"components/shared/label.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: label}\n",
		"components/prod/kustomization.yaml":     "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: x-\n",
		"components/staging/kustomization.yaml":  "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: x-\n",
		"vars/site-staging.yaml":                 "tier: staging\nnamespace: one\nteam: x\n",
		"vars/site-production.yaml":              "tier: prod\nnamespace: two\nteam: x\n",
	}
	for i := range 3 {
		w.commits = append(w.commits, w.source(i))
	}
	w.pipes = []*pipe{
		w.pipe("shop", lock.Helm, "k8s/shop", `values: [values/all.yaml, "values/shop/{stage}.yaml"]`, "staging", "test", "production"),
		w.pipe("blog", lock.Helm, "k8s/blog", `values: [values/all.yaml, "values/blog/{stage}.yaml"]`, "staging", "production"),
		w.pipe("web", lock.Kustomize, "k8s/kustomize", `overlay: overlays/{stage}`, "staging", "production"),
		w.pipe("site", lock.Kustomize, "k8s/kustomize", `kustomize: {base: base, components: [components/shared, "components/{tier}"]}`, "staging", "production"),
	}
	w.pipes[3].other = "vars: vars/site-{stage}.yaml\n"
	w.pipes[3].defaults["namespace"] = `"{namespace}"`
	return w
}

func (w *world) pipe(name string, kind lock.Kind, dir, fixed string, stages ...string) *pipe {
	p := &pipe{name: name, fixed: fixed, stages: map[string]map[string]string{}, defaults: map[string]string{"kubeVersion": `"1.30"`}}
	for _, stage := range stages {
		p.stages[stage] = map[string]string{}
	}
	p.lock = testworld.Lock(w.commits[0])
	p.lock.Packaging = lock.Packaging{Kind: kind, SourceRepo: sourceURL, SourcePath: dir}
	return p
}

// source commits to the source repository: two charts, one with dependencies in another repository and one with a chart beside
// it, and a kustomize base.
func (w *world) source(version int) string {
	const dependency = "- {name: %s, version: ^1.0.0, repository: https://charts.example.com}\n"
	return w.commit(map[string]string{
		"k8s/shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies:\n" + fmt.Sprintf(dependency, "cache") + fmt.Sprintf(dependency, "queue"),
		// As `helm dependency update` writes it.
		"k8s/shop/Chart.lock": "dependencies:\n- name: cache\n  repository: https://charts.example.com\n  version: 1.0.0\n- name: queue\n  repository: https://charts.example.com\n  version: 1.0.0\n" +
			"digest: " + lockDigest + "\ngenerated: \"2026-03-22T12:34:56Z\"\n",
		"k8s/blog/Chart.yaml":                    "apiVersion: v2\nname: blog\nversion: 0.1.0\ndependencies:\n- {name: lib, version: 0.1.0, repository: file://../lib}\n",
		"k8s/lib/Chart.yaml":                     "apiVersion: v2\nname: lib\nversion: 0.1.0\n",
		"k8s/kustomize/base/kustomization.yaml":  "resources: [deployment.yaml]\n",
		"k8s/kustomize/base/deployment.yaml":     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec: {template: {spec: {containers: [{name: app, image: ghcr.io/acme/app}]}}}\n",
		"k8s/kustomize/other/kustomization.yaml": "resources: []\n",
		"version":                                fmt.Sprint(version),
	})
}

// digests plans all pipelines from files on disk.
func (w *world) digests() map[string]digest.Digest {
	w.t.Helper()
	dir := w.t.TempDir()
	testworld.Write(w.t, dir, w.files)
	var names []string
	for _, p := range w.pipes {
		names = append(names, p.name+".yaml")
		file := string(lock.Format(p.lock))
		testworld.Write(w.t, dir, map[string]string{
			p.name + ".yaml": p.declaration(), "locks/" + p.name + "/current.yaml": file, "locks/" + p.name + "/" + p.lock.ReleaseID + ".yaml": file,
		})
	}
	files := os.DirFS(dir)
	pipelines, err := pipeline.Load(files, nil, names...)
	if err != nil {
		w.t.Fatal(err)
	}
	releases, err := plan.Make(w.t.Context(), plan.Request{
		Files: files, Pipelines: pipelines, Sources: w.sources,
		Renderers: map[lock.Kind]hydrate.Renderer{lock.Helm: helm.Renderer{Charts: w}, lock.Kustomize: kustomize.Renderer{}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	digests := map[string]digest.Digest{}
	for _, r := range releases {
		if r.Err != nil {
			w.t.Fatal(r.Err)
		}
		for _, stage := range r.Stages {
			digests[r.Pipeline.Name+"/"+stage.Name] = stage.InputDigest()
		}
	}
	return digests
}

// Archive implements helm.Archives.
func (w *world) Archive(_ context.Context, _, name, version string) ([]byte, error) {
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	metadata := fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\ndescription: %s\n", name, version, w.archives[name])
	err := tw.WriteHeader(&tar.Header{Name: name + "/Chart.yaml", Mode: 0o644, Size: int64(len(metadata))})
	_, writeErr := tw.Write([]byte(metadata))
	err = errors.Join(err, writeErr, tw.Close(), gz.Close())
	return out.Bytes(), err
}

func (p *pipe) declaration() string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: lockage.dev/v1alpha1\nkind: Pipeline\nname: %[1]s\nlock: locks/%[1]s\nidentities: {hydrator: {key: keys/h.pub}}\n%[2]s", p.name, p.other)
	if !strings.Contains(p.other, "artifacts:") {
		fmt.Fprintf(&b, "artifacts: registry.example.com/acme/%s\n", p.name)
	}
	fmt.Fprintf(&b, "render:\n  %s\n", p.fixed)
	for _, key := range slices.Sorted(maps.Keys(p.defaults)) {
		fmt.Fprintf(&b, "  %s: %s\n", key, p.defaults[key])
	}
	b.WriteString("stages:\n")
	for _, stage := range slices.Sorted(maps.Keys(p.stages)) {
		fmt.Fprintf(&b, "- name: %s\n  render:\n    hooks: deploy\n", stage)
		for _, key := range slices.Sorted(maps.Keys(p.stages[stage])) {
			fmt.Fprintf(&b, "    %s: %s\n", key, p.stages[stage][key])
		}
	}
	return b.String()
}

func (p *pipe) all() []string {
	var all []string
	for stage := range p.stages {
		all = append(all, p.name+"/"+stage)
	}
	return all
}

// mutations change one thing each, say what, and who uses it.
func (w *world) mutations() []func() (string, []string) {
	return []func() (string, []string){w.file, w.lockField, w.option, w.option, w.fallback, w.variable, w.archive, w.declared, w.branch}
}

// fresh returns a text that was not used before.
func (w *world) fresh() string { w.count++; return fmt.Sprintf("n%d", w.count) }

func pick[T any](w *world, from []T) T { return from[w.random.IntN(len(from))] }

func (w *world) file() (string, []string) {
	name := pick(w, slices.Sorted(maps.Keys(readers)))
	w.files[name] += "\n# " + w.fresh()
	return "file " + name, slices.Clone(readers[name])
}

func (w *world) lockField() (string, []string) {
	p := pick(w, w.pipes)
	l := &p.lock
	fields := map[string]func(){
		"image.ref":    func() { l.Image.Ref = "ghcr.io/acme/app:" + w.fresh() },
		"image.digest": func() { l.Image.Digest = digest.FromString(w.fresh()) },
		"createdAt":    func() { w.count++; l.CreatedAt = fmt.Sprintf("2026-03-22T12:34:56.%09dZ", w.count) },
		"images": func() {
			l.Others = []lock.NamedImage{{Name: "worker", Image: lock.Image{Ref: "ghcr.io/acme/worker:v1", Digest: digest.FromString(w.fresh())}}}
		},
		"gitCommit": func() {
			others := slices.DeleteFunc(slices.Clone(w.commits), func(c string) bool { return c == l.GitCommit })
			l.GitCommit = pick(w, others)
			l.ReleaseID = "git-" + l.GitCommit
		},
	}
	name := pick(w, slices.Sorted(maps.Keys(fields)))
	fields[name]()
	if name == "createdAt" { // a lock means the same without it
		return "lock " + p.name + " " + name, nil
	}
	return "lock " + p.name + " " + name, p.all()
}

// options are the keys of render, with what they can be: one of these, or something new for each "*".
var options = map[string][]string{
	"helm": {"3", "4"}, "releaseName": {"*"}, "kubeVersion": {`"1.31"`, `"1.32"`, `"1.33"`}, "apiVersions": {"[*/v1]"}, "set": {`{image: "{image}", x: "*"}`, `{"*": y}`, `{x: 1, "*": [y, null, {a: 0.5}]}`},
	"includeCRDs": {"true", "false"}, "hooks": {"deploy", "all", "none"}, "namespace": {"*"},
	"assertImage": {"true", "false", "anywhere"}, "requireDigests": {"true", "false"}, "rewriteImages": {"true", "false"},
	"nondeterminism": {"deny", "allow"}, "allowEmpty": {"true", "false"}, "allowSecrets": {"[*]"}, "layout": {"per-object", "single"},
}

// initial is what options are where nobody declares them; others are empty.
var initial = map[string]string{
	"helm": "3", "includeCRDs": "true", "hooks": "deploy", "assertImage": "true", "requireDigests": "false", "rewriteImages": "false", "nondeterminism": "deny", "allowEmpty": "false", "layout": "per-object",
}

// heeded reports whether a pipeline's stages are rendered with an option.
func (p *pipe) heeded(option string) bool {
	switch option {
	case "helm", "releaseName", "kubeVersion", "apiVersions", "set", "includeCRDs", "hooks":
		return p.lock.Packaging.Kind == lock.Helm
	case "namespace":
		return p.name != "web" // whose overlays say it themselves
	}
	return true
}

func (w *world) choose() (option, value string) {
	option = pick(w, slices.Sorted(maps.Keys(options)))
	return option, strings.ReplaceAll(pick(w, options[option]), "*", w.fresh())
}

// effective is an option of a stage. What is set is merged, key by key.
func (p *pipe) effective(stage, option string) string {
	if option == "set" {
		merged := map[string]string{}
		for _, declared := range []string{p.defaults[option], p.stages[stage][option]} {
			for _, pair := range strings.Split(strings.Trim(declared, "{}"), ", ") {
				if key, value, ok := strings.Cut(pair, ": "); ok {
					merged[key] = value
				}
			}
		}
		return fmt.Sprint(merged)
	}
	for _, declared := range []map[string]string{p.stages[stage], p.defaults} {
		if value, ok := declared[option]; ok {
			return value
		}
	}
	return initial[option]
}

// affected makes a change to a pipeline, and says for which stages an option is another one then.
func (p *pipe) affected(option string, change func()) (users []string) {
	before := map[string]string{}
	for stage := range p.stages {
		before[stage] = p.effective(stage, option)
	}
	change()
	for stage, value := range before {
		if p.heeded(option) && p.effective(stage, option) != value {
			users = append(users, p.name+"/"+stage)
		}
	}
	return users
}

func (w *world) option() (string, []string) {
	p := pick(w, w.pipes)
	stage := pick(w, slices.Sorted(maps.Keys(p.stages)))
	option, value := w.choose()
	if option == "hooks" {
		option, value = "layout", "single" // each stage has hooks of its own
	}
	return fmt.Sprintf("option %s of %s/%s: %s", option, p.name, stage, value), p.affected(option, func() { p.stages[stage][option] = value })
}

func (w *world) fallback() (string, []string) {
	p := pick(w, w.pipes)
	option, value := w.choose()
	if option == "hooks" || option == "namespace" && p.name == "site" {
		return "default none", nil // every stage has its own hooks; site's namespace is a placeholder
	}
	return fmt.Sprintf("default %s of %s: %s", option, p.name, value), p.affected(option, func() { p.defaults[option] = value })
}

// variable changes a variable of site: its namespace, or an unused one.
func (w *world) variable() (string, []string) {
	site := w.pipes[3]
	stage := pick(w, slices.Sorted(maps.Keys(site.stages)))
	name := "vars/site-" + stage + ".yaml"
	values := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(w.files[name]), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		values[key] = value
	}
	key := pick(w, []string{"namespace", "team"})
	values[key] = w.fresh()
	var lines strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&lines, "%s: %s\n", k, values[k])
	}
	w.files[name] = lines.String()
	if _, own := site.stages[stage]["namespace"]; own || key == "team" {
		return "variable " + key + " of site/" + stage, nil
	}
	return "variable " + key + " of site/" + stage, []string{"site/" + stage}
}

// archive has the chart repository put another archive in the place of a version.
func (w *world) archive() (string, []string) {
	name := pick(w, slices.Sorted(maps.Keys(w.archives)))
	w.archives[name] = w.fresh()
	if name == "unused" {
		return "archive " + name, nil
	}
	return "archive " + name, w.pipes[0].all()
}

// declared changes what no output is made of: where artifacts go, and in which order.
func (w *world) declared() (string, []string) {
	p := w.pipes[w.random.IntN(3)]
	p.other = "artifacts: registry.example.com/" + w.fresh() + "/" + p.name + "\n"
	return "declared artifacts of " + p.name, nil
}

// branch has the source go on, which nobody locks.
func (w *world) branch() (string, []string) {
	w.source(100 + w.count)
	w.count++
	return "branch moved", nil
}

const lockDigest = "sha256:ce716c2369c72d6567539d15ddd9455af0daf63f2438af71db2ca9e5841585c0"

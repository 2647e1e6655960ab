package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/lock"
)

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: a, image: web}, {name: b, image: "ghcr.io/acme/worker:v1"}]}}}
`

func files(pairs ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return m
}

// app is a source with a base, and an overlay of that base.
func app(overlay string) hydrate.Source {
	return hydrate.Source{
		Files:      files("k8s/base/kustomization.yaml", "resources: [deployment.yaml]\n", "k8s/base/deployment.yaml", deployment, "k8s/unread/kustomization.yaml", "?"),
		Repository: sourceRepo,
		Commit:     commit,
		Overlay: &hydrate.Overlay{
			GitOps:  files("apps/web/kustomization.yaml", overlay, "unread", "x"),
			Options: hydrate.Options{Overlay: "apps/web"},
			Images: []lock.NamedImage{
				{Image: lock.Image{Ref: "ghcr.io/acme/app:git-1", Digest: digest}},
				{Name: "worker", Image: lock.Image{Ref: "ghcr.io/acme/worker", Digest: workerDigest}},
			},
		},
	}
}

func open(t *testing.T, source hydrate.Source) (hydrate.Package, string, []string) {
	t.Helper()
	pkg, err := Renderer{}.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := pkg.Render(t.Context(), hydrate.Request{})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, m := range rendered.Manifests {
		all.Write(m.Data)
	}
	return pkg, all.String(), rendered.Warnings
}

func TestImages(t *testing.T) {
	t.Parallel()
	const base = "resources: [github.com/acme/app//k8s/base]\n"
	pinned := "ghcr.io/acme/app@" + digest
	worker := "ghcr.io/acme/worker@" + workerDigest
	for name, test := range map[string]struct{ images, want string }{
		"by newName":       {"images: [{name: web, newName: ghcr.io/acme/app, newTag: v1}]", pinned + " ghcr.io/acme/worker:v1"},
		"by name":          {"images: [{name: web, newName: ghcr.io/acme/app}, {name: ghcr.io/acme/worker, newTag: v2}]", pinned + " " + worker},
		"digest of before": {"images: [{name: web, newName: ghcr.io/acme/app, digest: \"sha256:1234\"}]", pinned + " ghcr.io/acme/worker:v1"},
		"name of another":  {"images: [{name: ghcr.io/acme/worker, newName: mirror.local/worker}]", "web " + worker},
		"tagSuffix":        {"images: [{name: ghcr.io/acme/worker, tagSuffix: -x}]", "web " + worker},
		"deprecated":       {"imageTags: [{name: ghcr.io/acme/worker, newTag: v3}]", "web " + worker},
		"not locked":       {"images: [{name: web, newName: ghcr.io/acme/app2, newTag: v1}]", "ghcr.io/acme/app2:v1 ghcr.io/acme/worker:v1"},
		"none":             {"namePrefix: x-", "web ghcr.io/acme/worker:v1"},
	} {
		_, got, _ := open(t, app(base+test.images))
		if images := imagesOf(got); images != test.want {
			t.Errorf("%s: %s, not %s", name, images, test.want)
		}
	}
}

func imagesOf(manifests string) string {
	var images []string
	for line := range strings.Lines(manifests) {
		if _, image, ok := strings.Cut(line, "image: "); ok {
			images = append(images, strings.TrimSpace(image))
		}
	}
	return strings.Join(images, " ")
}

func TestImageInTheSource(t *testing.T) {
	t.Parallel()
	o := app("resources: [github.com/acme/app//k8s/base]\n")
	o.Files = files("k8s/base/kustomization.yaml", "resources: [deployment.yaml]\nimages: [{name: web, newName: ghcr.io/acme/app, newTag: latest}]\n", "k8s/base/deployment.yaml", deployment)
	_, got, _ := open(t, o)
	if want := "ghcr.io/acme/app@" + digest + " ghcr.io/acme/worker:v1"; imagesOf(got) != want {
		t.Errorf("%s, not %s", imagesOf(got), want)
	}
}

func TestGenerated(t *testing.T) {
	t.Parallel()
	const component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {%s: x}\n"
	o := app("")
	o.Overlay.Options.Overlay = ""
	o.Files = files("k8s/base/kustomization.yaml", "resources: [deployment.yaml]", "k8s/base/deployment.yaml", deployment,
		"k8s/debug/kustomization.yaml", fmt.Sprintf(component, "source-debug"), "k8s/envTypes/large/kustomization.yaml", fmt.Sprintf(component, "source-large"))
	o.Overlay.GitOps = files("envTypes/large/kustomization.yaml", fmt.Sprintf(component, "gitops-large"))
	o.Path, o.Overlay.Options.Namespace = "k8s", "shop"
	o.Overlay.Options.Kustomize = &hydrate.Kustomize{Base: "base", Components: []string{"envTypes/large", "debug"}, Image: "web"}
	pkg, got, _ := open(t, o)
	want := "ghcr.io/acme/app@" + digest + " ghcr.io/acme/worker@" + workerDigest
	if imagesOf(got) != want {
		t.Errorf("%s, not %s", imagesOf(got), want)
	}
	for _, text := range []string{"gitops-large: x", "source-debug: x", "namespace: shop"} {
		if !strings.Contains(got, text) {
			t.Errorf("no %s in\n%s", text, got)
		}
	}
	if strings.Contains(got, "source-large") {
		t.Error("the source's component is taken where the GitOps repository has one")
	}
	if diff := cmp.Diff([]string{
		"generated/kustomization.yaml", "gitops/debug absent", "gitops/envTypes/large folder", "gitops/envTypes/large/Kustomization absent",
		"gitops/envTypes/large/kustomization.yaml", "gitops/envTypes/large/kustomization.yml absent", "source/k8s/base folder",
		"source/k8s/base/Kustomization absent", "source/k8s/base/deployment.yaml", "source/k8s/base/kustomization.yaml",
		"source/k8s/base/kustomization.yml absent", "source/k8s/debug folder", "source/k8s/debug/Kustomization absent",
		"source/k8s/debug/kustomization.yaml", "source/k8s/debug/kustomization.yml absent"}, inputNames(pkg)); diff != "" {
		t.Error(diff)
	}

	// Without an image name it is the repository; without a base, sourcePath.
	o.Path, o.Overlay.Options = "k8s/base", hydrate.Options{Kustomize: &hydrate.Kustomize{}}
	o.Overlay.Images = o.Overlay.Images[1:]
	if _, got, _ = open(t, o); imagesOf(got) != "web ghcr.io/acme/worker@"+o.Overlay.Images[0].Digest.String() || strings.Contains(got, "namespace") {
		t.Errorf("got %s", got)
	}
	for _, bad := range []hydrate.Kustomize{{Base: "absent"}, {Components: []string{"absent"}}, {Base: "deployment.yaml"}} {
		o.Overlay.Options.Kustomize = &bad
		if _, err := (Renderer{}).Open(t.Context(), o); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "render.kustomize: ") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func inputNames(pkg hydrate.Package) (names []string) {
	for _, in := range pkg.Inputs() {
		names = append(names, strings.TrimSpace(in.Path+" "+string(in.Kind)))
	}
	return names
}

func TestRefWarning(t *testing.T) {
	t.Parallel()
	for ref, warns := range map[string]bool{"": false, "?ref=" + commit: false, "?ref=" + strings.ToUpper(commit[:8]): false, "?timeout=9": false, "?ref=main": true, "?ref=0123": true} {
		_, _, warnings := open(t, app("resources:\n- github.com/acme/app//k8s/base"+ref+"\n"))
		if !warns {
			if len(warnings) > 0 {
				t.Errorf("%s: %q", ref, warnings)
			}
			continue
		}
		want := fmt.Sprintf("apps/web/kustomization.yaml:2: ref %s of remote base github.com/acme/app//k8s/base is not the locked commit; k8s/base is read at 0123456789ab",
			strings.TrimPrefix(ref, "?ref="))
		if !slices.Equal(warnings, []string{want}) {
			t.Errorf("%s: %q", ref, warnings)
		}
	}
}

// TestEveryInputCounts changes each input, and what was absent, in turn.
func TestEveryInputCounts(t *testing.T) {
	t.Parallel()
	w := readWorld(t, "kitchen-sink", strings.NewReplacer("$SOURCE", "https://github.com/acme/app", "$COMMIT", commit, "buildMetadata: [managedByLabel]", ""))
	o := hydrate.Source{Files: w.source, Repository: sourceRepo, Commit: commit, Overlay: &hydrate.Overlay{GitOps: w.gitops, Options: hydrate.Options{Overlay: "stages/prod"}, Images: app("").Overlay.Images}}
	pkg, before, _ := open(t, o)
	inputs := pkg.Inputs()
	for name := range w.source {
		if i := slices.IndexFunc(inputs, func(in hydrate.Input) bool { return in.Path == "source/"+name }); (i < 0) != (name == "README.md") {
			t.Errorf("source/%s: %v", name, i >= 0)
		}
	}
	for _, in := range inputs {
		root, name, _ := strings.Cut(in.Path, "/")
		tree := map[string]fstest.MapFS{"source": w.source, "gitops": w.gitops}[root]
		old := tree[name]
		switch in.Kind {
		case hydrate.InputFile:
			tree[name] = &fstest.MapFile{Data: append(slices.Clone(old.Data), "\n# changed\n"...)}
		case hydrate.InputAbsent:
			tree[name] = &fstest.MapFile{Data: []byte(configMap)}
		case hydrate.InputFolder:
			continue
		}
		after, err := Renderer{}.Open(t.Context(), o)
		if err == nil && slices.Equal(after.Inputs(), inputs) {
			t.Errorf("a change of %s is not seen", in.Path)
		}
		if delete(tree, name); old != nil {
			tree[name] = old
		}
	}
	again, after, _ := open(t, o)
	if after != before || !slices.Equal(again.Inputs(), inputs) {
		t.Error("the same inputs give other objects")
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, data := range map[string]string{"apps/web/kustomization.yaml": "resources: [base, here.yaml]", "shared/base/kustomization.yaml": "resources: [../common]",
		"shared/common/kustomization.yaml": "resources: [a.yaml]", "shared/common/a.yaml": configMap, "apps/web/real.yaml": strings.Replace(configMap, "name: a", "name: b", 1)} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"apps/web/base": "../../shared/base", "apps/web/here.yaml": "real.yaml", "circle": "circle", "out": dir} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	o := app("")
	o.Overlay.GitOps = root.FS()
	pkg, got, _ := open(t, o)
	if !strings.Contains(got, "name: a") || !strings.Contains(got, "name: b") {
		t.Errorf("got %s", got)
	}
	if names := inputNames(pkg); !slices.Contains(names, "gitops/shared/common/a.yaml") || !slices.Contains(names, "gitops/apps/web/real.yaml") {
		t.Errorf("inputs %q", names)
	}
	for _, link := range []string{"circle", "out"} {
		if _, err := followLinks(root.FS().(fs.ReadLinkFS), link+"/x"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", link, err)
		}
	}
}

func TestManagedBy(t *testing.T) {
	t.Parallel()
	_, got, _ := open(t, app("resources: [github.com/acme/app//k8s/base]\nbuildMetadata: [managedByLabel]\n"))
	if !strings.Contains(got, "app.kubernetes.io/managed-by: kustomize-"+release) {
		t.Errorf("got %s", got)
	}
}

func TestPrefetch(t *testing.T) {
	t.Parallel()
	o := app("resources: [github.com/acme/app//k8s/base]\n")
	o.Files = files("k8s/base/kustomization.yaml", "resources: [deployment.yaml, ../common]\nconfigMapGenerator: [{name: c, files: [k=f.txt]}]\n", "k8s/base/f.txt", "x",
		"k8s/base/deployment.yaml", deployment, "k8s/common/kustomization.yaml", "namePrefix: x-")
	var got []string
	o.Prefetch = func(_ context.Context, paths ...string) error {
		got = append(got, strings.Join(paths, " "))
		return fs.ErrNotExist // no reason to stop
	}
	open(t, o)
	if diff := cmp.Diff([]string{"k8s/base", "k8s/base/deployment.yaml k8s/common k8s/base/f.txt"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuildsAtOnce(t *testing.T) {
	t.Parallel()
	w := readWorld(t, "kitchen-sink", strings.NewReplacer("$SOURCE", "https://github.com/acme/app", "$COMMIT", commit))
	built := map[string]string{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 4 {
		for _, stage := range []string{"plain", "schema", "prod"} {
			group.Go(func() {
				_, got, _ := open(t, hydrate.Source{Files: w.source, Repository: sourceRepo, Commit: commit, Overlay: &hydrate.Overlay{GitOps: w.gitops, Options: hydrate.Options{Overlay: "stages/" + stage}}})
				mu.Lock()
				defer mu.Unlock()
				if built[stage] == "" {
					built[stage] = got
				}
				if got != built[stage] {
					t.Errorf("%s: two builds differ", stage)
				}
			})
		}
	}
	group.Wait()
}

func TestFailures(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	for name, test := range map[string]struct {
		change func(*hydrate.Source)
		want   string
	}{
		"no overlay":      {func(o *hydrate.Source) { o.Overlay.Options.Overlay = "apps/none" }, "overlay apps/none does not exist in the GitOps repository"},
		"overlay is file": {func(o *hydrate.Source) { o.Overlay.Options.Overlay = "unread" }, "overlay unread is a file"},
		"a fetch fails":   {func(o *hydrate.Source) { o.Files = failing{o.Files, "k8s/base/kustomization.yml", broken} }, "connection lost"},
		"a stat fails":    {func(o *hydrate.Source) { o.Files = failing{o.Files, "k8s/base", broken} }, "connection lost"},
		"a file too large": {func(o *hydrate.Source) {
			o.Overlay.GitOps = files("apps/web/kustomization.yaml", "#"+strings.Repeat("x", maxFileBytes))
		}, "at most 16777216 are read"},
		"overlays multiply": {func(o *hydrate.Source) { o.Overlay.GitOps = chain("resources", 40, 2) }, "do overlays multiply?"},
		"deep components":   {func(o *hydrate.Source) { o.Overlay.GitOps = chain("components", 40, 1) }, "components nest more than 16 deep"},
		"deep in between": {func(o *hydrate.Source) {
			tree := chain("components", 40, 1)
			for i := range 40 { // each second one has a component and is none
				tree[fmt.Sprintf("c%d/kustomization.yaml", i)].Data = fmt.Appendf(nil, "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [../r%d]", i)
				tree[fmt.Sprintf("r%d/kustomization.yaml", i)] = &fstest.MapFile{Data: fmt.Appendf(nil, "components: [../c%d]", i+1)}
			}
			o.Overlay.GitOps = tree
		}, "components nest more than 16 deep"},
	} {
		o := app("resources: [github.com/acme/app//k8s/base]\n")
		if test.change(&o); testing.Short() && name == "overlays multiply" {
			continue // this one takes seconds
		}
		if _, err := (Renderer{}).Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Renderer{}).Open(ctx, app("resources: [github.com/acme/app//k8s/base]\n")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// chain is an overlay that names another some times, which does so itself, length times.
func chain(field string, length, times int) fstest.MapFS {
	head := ""
	if field == "components" {
		head = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
	}
	tree := files("apps/web/kustomization.yaml", field+": [../../c0]", fmt.Sprintf("c%d/kustomization.yaml", length), head+"namePrefix: x-")
	for i := range length {
		next := strings.Repeat(fmt.Sprintf("../c%d, ", i+1), times)
		tree[fmt.Sprintf("c%d/kustomization.yaml", i)] = &fstest.MapFile{Data: []byte(head + field + ": [" + next + "]")}
	}
	return tree
}

// failing fails to open one name.
type failing struct {
	fs.FS
	name string
	err  error
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.err}
	}
	return f.FS.Open(name)
}

// FuzzJudge feeds kustomization files to a build that has neither git nor network: kustomize must not miss them.
func FuzzJudge(f *testing.F) {
	for _, seed := range []string{"resources: [github.com/acme/other]", "resources: [a.yaml]\nimages: [{name: a, newName: ghcr.io/acme/app}]", "\"Resources\": &a [git@x:y/z]\ncomponents: *a",
		"transformers:\n- |-\n  {apiVersion: builtin, kind: PatchTransformer, metadata: {name: n}, path: \"http://x/y\"}\n", "patchesStrategicMerge: [\"https://x\"]",
		"configMapGenerator: [{name: a, files: [\"a=http://x/y\"]}]", "openapi: {path: a.yaml}\nvars: [{name: X}]", "helmCharts: [{name: x}]"} {
		f.Add([]byte(seed))
	}
	f.Setenv("PATH", "")
	wire := &tripwire{}
	f.Setenv("TMPDIR", f.TempDir())
	restore := replaceTransport(wire)
	f.Cleanup(restore)
	f.Fuzz(func(t *testing.T, data []byte) {
		o := app("")
		o.Overlay.GitOps = files("apps/web/kustomization.yaml", string(data), "apps/web/a.yaml", configMap)
		_, err := Renderer{}.Open(t.Context(), o)
		if wire.requests.Load() > 0 || err != nil && strings.Contains(err.Error(), "no 'git' program on path") {
			t.Errorf("kustomize left the tree: %v", err)
		}
	})
}

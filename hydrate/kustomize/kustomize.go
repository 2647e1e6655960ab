package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/provenance"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"

	"github.com/lockage/lockage/hydrate"
)

// Renderer opens overlays. The zero Renderer is ready.
type Renderer struct{}

const (
	// version is that of the linked modules (api and kyaml). A test compares it with go.mod.
	version = "v0.21.2"

	// release is that of the program made of these modules, and part of every input digest. `buildMetadata:
	// [managedByLabel]` writes it into objects; internal/e2e/tools.sh builds it as the judge.
	release = "v5.8.2"
)

// Version names the release that the renderer equals, and the library: "kustomize v5.8.2 (api v0.21.2)".
func (Renderer) Version(hydrate.Options) string {
	return "kustomize " + release + " (api " + version + ")"
}

// Package is one stage's overlay, built: only the build itself finds out what it reads.
type Package struct {
	inputs   []hydrate.Input
	rendered hydrate.Rendered
}

// Inputs implements [hydrate.Package].
func (p *Package) Inputs() []hydrate.Input { return slices.Clone(p.inputs) }

// Render implements [hydrate.Package]. It looks at nothing in the request.
func (p *Package) Render(context.Context, hydrate.Request) (hydrate.Rendered, error) {
	return hydrate.Rendered{Manifests: slices.Clone(p.rendered.Manifests), Warnings: slices.Clone(p.rendered.Warnings)}, nil
}

// Overlays implements [hydrate.Renderer].
func (Renderer) Overlays() bool { return true }

// Open implements [hydrate.Renderer]: it builds the overlay.
func (Renderer) Open(ctx context.Context, source hydrate.Source) (hydrate.Package, error) {
	b := &build{
		Source: source,
		tree: &tree{
			ctx:    ctx,
			roots:  map[string]fs.FS{sourceRoot: source.Files, gitopsRoot: source.Overlay.GitOps},
			found:  map[string]place{},
			files:  map[string][]byte{},
			inputs: map[string]hydrate.Input{},
		},
		repository: repositoryName(source.Repository),
		named:      map[string][]named{},
		levels:     map[string]int{},
	}
	b.tree.judge = b.judge
	if err := b.prepare(); err != nil {
		return nil, err
	}
	manifests, err := b.run()
	if err != nil {
		return nil, err
	}
	return &Package{b.tree.list(), hydrate.Rendered{Manifests: manifests, Warnings: b.warnings}}, nil
}

// build is the build of one overlay.
type build struct {
	hydrate.Source
	tree       *tree
	repository string // the name of the source repository
	root       string // the folder that is built
	openAPI    bool   // some kustomization sets a schema
	warnings   []string

	named  map[string][]named // by each kustomization's folder
	levels map[string]int     // of components above each folder, at most
}

// named is a folder that a kustomization names.
type named struct {
	folder    string
	component bool
}

// nest records that the kustomization in dir names a folder, and reports whether components nest within the bound.
func (b *build) nest(dir string, n named) bool {
	b.named[dir] = append(b.named[dir], n)
	return b.deepen(n, b.levels[dir])
}

func (b *build) deepen(n named, level int) bool {
	if n.component {
		level++
	}
	if level <= b.levels[n.folder] {
		return true
	}
	b.levels[n.folder] = level
	return level <= maxComponentLevels && !slices.ContainsFunc(b.named[n.folder], func(next named) bool { return !b.deepen(next, level) })
}

// name names the overlay in messages.
func (b *build) name() string {
	if b.Overlay.Options.Kustomize != nil {
		return "render.kustomize"
	}
	return b.Overlay.Options.Overlay
}

// where names a path of the virtual tree for people: in the GitOps repository by its path alone.
func (b *build) where(name string) string {
	switch root := rootOf(name); root {
	case gitopsRoot:
		return within(root, name)
	case sourceRoot:
		return fmt.Sprintf("%s (source at %.12s)", within(root, name), b.Commit)
	default:
		return "render.kustomize"
	}
}

// prepare decides which folder is built.
func (b *build) prepare() error {
	if k := b.Overlay.Options.Kustomize; k != nil {
		b.root = generatedRoot
		return b.generate(*k)
	}
	overlay := b.Overlay.Options.Overlay
	b.root = path.Join(gitopsRoot, overlay)
	switch p := b.tree.lookup(b.root); {
	case errors.Is(p.err, fs.ErrNotExist):
		return fmt.Errorf("overlay %s does not exist in the GitOps repository: %w; commit it, or change render.overlay", overlay, fs.ErrNotExist)
	case p.err != nil:
		return p.err
	case !p.folder:
		return fmt.Errorf("overlay %s is a file: render.overlay names the folder of a kustomization", overlay)
	}
	return nil
}

// generate writes the overlay that options describe.
func (b *build) generate(g hydrate.Kustomize) error {
	base := path.Join(b.Path, g.Base)
	b.prefetch(base)
	k := types.Kustomization{Namespace: b.Overlay.Options.Namespace}
	switch p := b.tree.lookup(path.Join(sourceRoot, base)); {
	case errors.Is(p.err, fs.ErrNotExist) || p.err == nil && !p.folder:
		return fmt.Errorf("render.kustomize: base %s is not a folder of the source at %.12s: %w; it is packaging.sourcePath and render.kustomize.base together",
			base, b.Commit, fs.ErrNotExist)
	case p.err != nil:
		return p.err
	}
	k.Resources = []string{path.Join("..", sourceRoot, base)}
	for _, component := range g.Components {
		folder := path.Join(gitopsRoot, component)
		if p := b.tree.lookup(folder); errors.Is(p.err, fs.ErrNotExist) {
			folder = path.Join(sourceRoot, b.Path, component)
			b.prefetch(within(sourceRoot, folder))
			if p := b.tree.lookup(folder); errors.Is(p.err, fs.ErrNotExist) {
				return fmt.Errorf("render.kustomize: component %s is neither a folder of the GitOps repository nor below %s in the source at %.12s: %w",
					component, b.Path, b.Commit, fs.ErrNotExist)
			}
		}
		k.Components = append(k.Components, path.Join("..", folder))
	}
	for _, image := range b.Overlay.Images {
		name := image.Repository()
		if image.Name == "" && g.Image != "" {
			name = g.Image
		}
		k.Images = append(k.Images, types.Image{Name: name, NewName: image.Repository(), Digest: image.Digest.String()})
	}
	data, err := yaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("render.kustomize: %w", err)
	}
	b.tree.generated = data
	return b.tree.err
}

// prefetch fetches folders of the source, but not the root: that would be all packages. Errors show when files are read.
func (b *build) prefetch(names ...string) {
	names = slices.DeleteFunc(names, func(name string) bool { return name == "." || !fs.ValidPath(name) })
	if b.Prefetch != nil && len(names) > 0 {
		_ = b.Prefetch(b.tree.ctx, names...)
	}
}

// building is held while kustomize builds: it keeps schemas in global variables, which builds must not share.
var building sync.Mutex

// run builds the overlay.
func (b *build) run() (manifests []hydrate.Manifest, err error) {
	building.Lock()
	defer building.Unlock()
	built, err := b.kustomize()
	if b.openAPI {
		// The schema was added to those of earlier builds. All files are read now: build again with this schema alone, as
		// the program does, and leave none behind.
		openapi.ResetOpenAPI()
		defer openapi.ResetOpenAPI()
		built, err = b.kustomize()
	}
	if err == nil {
		manifests, err = b.manifests(built)
	}
	if b.tree.err != nil {
		return nil, b.tree.err
	}
	if err != nil {
		return nil, fmt.Errorf("kustomize build %s: %w", b.name(), err)
	}
	return manifests, nil
}

func (b *build) kustomize() (built resmap.ResMap, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("kustomize gave up: %v", r)
		}
	}()
	options := krusty.MakeDefaultOptions()            // paths within the root only, built-in plugins only
	options.Reorder = krusty.ReorderOptionUnspecified // as the program does
	return krusty.MakeKustomizer(options).Run(b.tree, b.root)
}

func (b *build) manifests(built resmap.ResMap) (manifests []hydrate.Manifest, err error) {
	ours := "kustomize-" + provenance.GetProvenance().Semver()
	for i, resource := range built.Resources() {
		if labels := resource.GetLabels(); labels[konfig.ManagedbyLabelKey] == ours {
			labels[konfig.ManagedbyLabelKey] = "kustomize-" + release
			if err := resource.SetLabels(labels); err != nil {
				return nil, err
			}
		}
		object, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, hydrate.Manifest{Source: b.name(), Document: i + 1, Data: object})
	}
	return manifests, nil
}

// relative returns the relative path from one folder of the virtual tree to another.
func relative(from, to string) string {
	return path.Join(strings.Repeat("../", strings.Count(from, "/")), strings.TrimPrefix(to, "/"))
}

package helm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm/engine"
	"github.com/lockage/lockage/internal/memo"
)

// Renderer opens charts. The zero Renderer is ready, and fetches nothing.
type Renderer struct {
	// Charts fetches the dependencies that Chart.lock pins and charts/ lacks; nil to refuse them.
	Charts Archives
}

// Version names the version of Helm that renders by these options: "helm v3.22.0".
func (Renderer) Version(options hydrate.Options) string {
	if options.Helm == 4 {
		return "helm " + version4
	}
	return "helm " + version3
}

// Overlays implements [hydrate.Renderer].
func (Renderer) Overlays() bool { return false }

// Open implements [hydrate.Renderer]. Dependencies of the chart may be in other folders of the source.
func (r Renderer) Open(ctx context.Context, source hydrate.Source) (hydrate.Package, error) {
	w := &weight{}
	parsed, inputs, err := readChart(ctx, source, source.Path, w)
	if errors.Is(err, errNoChart) {
		err = fmt.Errorf("%w; check the lock's packaging.sourcePath", err)
	}
	if err != nil {
		return nil, err
	}
	p := &Package{chart: parsed, documents: map[*byte][]document{}, several: map[*chart.Chart][]byte{}}
	if err := p.check(); err != nil {
		return nil, err
	}
	more, err := r.complete(ctx, source, parsed, w)
	if err != nil {
		return nil, err
	}
	p.inputs = append(inputs, more...)
	slices.SortFunc(p.inputs, func(a, b hydrate.Input) int { return strings.Compare(a.Path, b.Path) })
	p.inputs = slices.Compact(p.inputs)
	p.warnings = append(p.warnings, nestedWarnings(parsed)...)
	if err := p.inspect(parsed); err != nil {
		return nil, err
	}
	if err := p.prepare(parsed); err != nil {
		return nil, err
	}
	p.byName = mergedByName(parsed)
	return p, nil
}

// Package is a parsed chart, shared by the renders of all stages.
type Package struct {
	chart     *chart.Chart
	inputs    []hydrate.Input
	documents map[*byte][]document    // of the files in crds/, which no stage changes, by their address
	several   map[*chart.Chart][]byte // values.yaml of several documents, which Helm 4 merges
	byName    map[string]bool         // see mergedByName
	schemas   schemas
	warnings  []string
	pointers  []pointer
	engines   memo.Map[int, *engine.Engine] // by version of Helm
}

// document is one of a file in crds/.
type document struct {
	data []byte
	hash [sha256.Size]byte
}

// address identifies a file, whose bytes nobody changes.
func address(data []byte) *byte {
	if len(data) == 0 {
		return nil
	}
	return &data[0]
}

// Inputs implements [hydrate.Package].
func (p *Package) Inputs() []hydrate.Input { return slices.Clone(p.inputs) }

// load parses a chart, if the bounds on what is loaded with it allow that. Helm's parser may panic on unexpected metadata.
func load(files []*loader.BufferedFile, w *weight) (c *chart.Chart, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load chart: %v", r)
		}
	}()
	if err := checkPointers(files); err != nil {
		return nil, err
	}
	if err := w.add(files, 0); err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	c, err = loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("load chart: %w", err)
	}
	return c, nil
}

// check refuses what `helm template` refuses before it looks at values.
func (p *Package) check() error {
	meta := p.chart.Metadata
	if meta.Type != "" && meta.Type != "application" {
		return fmt.Errorf("chart %s is a %s chart, which renders nothing by itself; lock a chart that depends on it", meta.Name, meta.Type)
	}
	if meta.Deprecated {
		p.warnings = append(p.warnings, fmt.Sprintf("chart %s is deprecated", meta.Name))
	}
	return nil
}

// prepare brings c and its subcharts into the form that renders share: subcharts in a fixed order instead of that of a Go map,
// definitions of custom resources split.
func (p *Package) prepare(c *chart.Chart) error {
	dependencies := slices.Clone(c.Dependencies())
	slices.SortFunc(dependencies, func(a, b *chart.Chart) int {
		if order := cmp.Or(strings.Compare(a.Name(), b.Name()), strings.Compare(a.Metadata.Version, b.Metadata.Version)); order != 0 {
			return order
		}
		return bytes.Compare(contentHash(a), contentHash(b))
	})
	c.SetDependencies(dependencies...)
	for _, d := range dependencies {
		if err := p.prepare(d); err != nil {
			return err
		}
	}
	for _, f := range c.Raw {
		if f.Name != chartutil.ValuesfileName {
			continue
		}
		documents := hydrate.SplitStream(f.Data)
		for _, document := range documents {
			var values any // Helm has decoded it, and taken any of two keys that are one in JSON.
			if err := engine.DecodeYAML(document, &values); err != nil {
				return fmt.Errorf("%s of chart %s: %s", f.Name, c.Name(), cleanYAML(err))
			}
		}
		if len(documents) > 1 {
			p.several[c] = f.Data
		}
	}
	c.Raw = nil
	for _, f := range c.Files {
		if strings.HasPrefix(f.Name, "crds/") {
			stream := append(slices.Clone(f.Data), '\n') // as Helm prints it
			f.Data = stream[: len(stream)-1 : len(stream)-1]
			var documents []document
			for _, data := range hydrate.SplitStream(stream) {
				documents = append(documents, document{data, sha256.Sum256(data)})
			}
			p.documents[address(f.Data)] = documents
		}
	}
	return nil
}

func contentHash(c *chart.Chart) []byte {
	h := sha256.New()
	files := slices.Clone(c.Raw)
	slices.SortFunc(files, func(a, b *chart.File) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range files {
		fmt.Fprintf(h, "%q %x\n", f.Name, sha256.Sum256(f.Data))
	}
	return h.Sum(nil)
}

// clone copies what a render changes: the tree of charts and their metadata. Helm replaces values instead of changing them.
func clone(c *chart.Chart, u *untouched) *chart.Chart {
	meta := *c.Metadata
	meta.Annotations = maps.Clone(meta.Annotations)
	meta.Keywords, meta.Sources = slices.Clone(meta.Keywords), slices.Clone(meta.Sources) // sortAlpha sorts them where they are
	meta.Dependencies = slices.Clone(meta.Dependencies)
	for i, d := range meta.Dependencies {
		dependency := *d
		dependency.Tags = slices.Clone(d.Tags)
		dependency.ImportValues = slices.Clone(d.ImportValues)
		meta.Dependencies[i] = &dependency
	}
	out := &chart.Chart{Metadata: &meta, Lock: c.Lock, Templates: c.Templates, Values: u.valuesOf(c), Schema: c.Schema, Files: c.Files}
	for _, d := range c.Dependencies() {
		out.AddDependency(clone(d, u))
	}
	return out
}

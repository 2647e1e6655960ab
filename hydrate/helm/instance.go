package helm

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/lockage/lockage/hydrate"
	"github.com/lockage/lockage/hydrate/helm/engine"
)

// instance is a chart as one render uses it: with the subcharts that are enabled, by the names that they have. Files are
// shared by renders, by name.
type instance struct {
	name, path  string // path is from the root's name on: "web/charts/cache"
	root        bool
	library     bool // a library, whose files are partials or ignored
	metadata    any  // what templates know as .Chart
	schema      []byte
	templates   []file
	files       []file
	subcharts   []*instance
	definitions []file // of the root: those of all charts, named from the root's name on
}

type file struct {
	name string
	data []byte
}

// dialect is what versions of Helm do differently with a chart that is loaded.
type dialect interface {
	// parse parses a values file.
	parse(data []byte) (any, error)
	// instance decides by the user's values which subcharts are enabled, and merges all values.
	instance(p *Package, request hydrate.Request, user map[string]any) (root *instance, values map[string]any, capabilities any, err error)
	// values returns a map as templates know .Values.
	values(map[string]any) any
	// table returns the values of a subchart, which may have dots in its name, in what the parent's templates see.
	table(dot map[string]any, name string) (any, error)
	// engine is the version of Helm whose functions templates call.
	engine() int
	// documents splits a rendered file.
	documents(file string) [][]byte
}

// dialectOf returns the dialect that a request names.
func dialectOf(request hydrate.Request) (dialect, error) {
	switch request.Helm {
	case 0, 3:
		return helm3{}, nil
	case 4:
		return helm4{}, nil
	}
	return nil, fmt.Errorf("no version %d of Helm: render.helm is 3 or 4", request.Helm)
}

// execute renders the templates of an instance. release and capabilities are what all its templates see.
func (p *Package) execute(ctx context.Context, d dialect, root *instance, values map[string]any, capabilities any, request hydrate.Request) (engine.Result, error) {
	top := map[string]any{
		"Values": d.values(values), "Capabilities": capabilities,
		"Release": map[string]any{
			"Name": request.ReleaseName, "Namespace": namespace(request), "Revision": 1, "Service": "Helm", "IsInstall": true, "IsUpgrade": false,
		},
	}
	var templates []engine.Template
	root.dot(d, top, &templates)
	e, err := p.engines.Get(d.engine(), func() (*engine.Engine, error) { return engine.New(d.engine()), nil })
	if err != nil {
		return engine.Result{}, err
	}
	return e.Render(ctx, templates, engine.Request{Clock: request.Clock, Seed: request.Seed, Redraw: request.Redraw, Generate: request.Generate})
}

// dot returns what the templates of c see, and adds them to those of its subcharts.
func (c *instance) dot(d dialect, parent map[string]any, templates *[]engine.Template) map[string]any {
	subcharts := map[string]any{}
	files := make(map[string][]byte, len(c.files))
	for _, f := range c.files {
		files[f.name] = f.data
	}
	dot := map[string]any{
		"Chart": c.metadata, "Files": engine.NewFiles(files), "Release": parent["Release"], "Capabilities": parent["Capabilities"],
		"Values": d.values(map[string]any{}), "Subcharts": subcharts,
	}
	if c.root {
		dot["Values"] = parent["Values"]
	} else if values, err := d.table(parent, c.name); err == nil {
		dot["Values"] = values
	}
	for _, sub := range c.subcharts {
		subcharts[sub.name] = sub.dot(d, dot, templates)
	}
	for _, f := range c.templates {
		if c.library && !strings.HasPrefix(path.Base(f.name), "_") {
			continue
		}
		name := path.Join(c.path, f.name)
		self := d.values(map[string]any{"Name": name, "BasePath": path.Join(c.path, "templates")})
		*templates = append(*templates, engine.Template{Name: name, Data: f.data, Values: dot, Self: self})
	}
	return dot
}

// capabilities is what templates know as .Capabilities. Unlike Helm's types it leads to no pointer, which templates could
// print as an address in memory, and it names no version of Go.
type capabilities[K, V, H any] struct {
	KubeVersion K
	APIVersions V
	HelmVersion H
}

// String returns what Helm's type prints.
func (c *capabilities[K, V, H]) String() string { return fmt.Sprint(*c) }

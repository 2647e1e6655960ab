package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/lockage/lockage/hydrate"
)

// Options say how a pool starts children.
type Options struct {
	Program  string   // the path of the program, which calls [Serve]
	Args     []string // the first is the name of the program
	Size     int      // the most children at a time
	Bounds   Bounds
	Archives Archives // that children ask for; nil for none
}

// Pool renders in child processes. It starts them when something is to be rendered, and keeps them until it is closed.
type Pool struct {
	options Options
	slots   chan struct{} // holds one element for each render in progress

	mu       sync.Mutex
	packages uint64
	idle     []*child
}

// New returns a pool without children.
func New(o Options) *Pool { return &Pool{options: o, slots: make(chan struct{}, o.Size)} }

// Close ends all children. Renders in progress end by their context.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.end()
	}
	p.idle = nil
}

// Renderer returns a renderer that does in children what local does; they know it by its kind. Where a renderer has no overlays, a
// package is opened here as well, so that the inputs of a stage are known without a child.
func (p *Pool) Renderer(kind string, local hydrate.Renderer) hydrate.Renderer {
	return renderer{local, p, kind}
}

type renderer struct {
	hydrate.Renderer
	pool *Pool
	kind string
}

// Open implements [hydrate.Renderer].
func (r renderer) Open(ctx context.Context, source hydrate.Source) (hydrate.Package, error) {
	pkg := &openPackage{pool: r.pool, kind: r.kind, id: r.pool.number(), source: source}
	if !r.Overlays() {
		local, err := r.Renderer.Open(ctx, source)
		if err != nil {
			return nil, err
		}
		pkg.inputs = local.Inputs()
		return pkg, nil
	}
	out, err := r.pool.render(ctx, pkg, hydrate.Request{})
	if err != nil {
		return nil, err
	}
	return &builtPackage{out.Inputs, out.Rendered}, nil
}

func (p *Pool) number() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packages++
	return p.packages
}

// builtPackage is a package that a child rendered when it opened it.
type builtPackage struct {
	inputs   []hydrate.Input
	rendered hydrate.Rendered
}

// Inputs implements [hydrate.Package].
func (b *builtPackage) Inputs() []hydrate.Input { return slices.Clone(b.inputs) }

// Render implements [hydrate.Package].
func (b *builtPackage) Render(context.Context, hydrate.Request) (hydrate.Rendered, error) {
	rendered := b.rendered
	rendered.Manifests, rendered.Warnings = slices.Clone(rendered.Manifests), slices.Clone(rendered.Warnings)
	return rendered, nil
}

// openPackage is a package that children open when they render it.
type openPackage struct {
	pool   *Pool
	kind   string
	id     uint64
	source hydrate.Source
	inputs []hydrate.Input
}

// Inputs implements [hydrate.Package].
func (o *openPackage) Inputs() []hydrate.Input { return slices.Clone(o.inputs) }

// Render implements [hydrate.Package].
func (o *openPackage) Render(ctx context.Context, request hydrate.Request) (hydrate.Rendered, error) {
	out, err := o.pool.render(ctx, o, request)
	return out.Rendered, err
}

// render renders in a child. What ran out of memory in one that had rendered before, or ended it, is rendered again in a new one.
func (p *Pool) render(ctx context.Context, o *openPackage, request hydrate.Request) (reply, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
	if c := p.take(o.id); c != nil {
		out, err := p.use(ctx, c, o, request)
		if end := (*endError)(nil); !errors.As(err, &end) || !end.dependent() {
			return out, err
		}
	}
	c, err := start(p.options)
	if err != nil {
		return reply{}, fmt.Errorf("start a process that renders: %w", err)
	}
	return p.use(ctx, c, o, request)
}

func (p *Pool) use(ctx context.Context, c *child, o *openPackage, request hydrate.Request) (reply, error) {
	out, err := c.render(ctx, o, request)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if c.gone {
		c.end()
		return out, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	return out, err
}

// take returns an idle child, if one exists: rather one that has the package open.
func (p *Pool) take(id uint64) *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	i := max(0, slices.IndexFunc(p.idle, func(c *child) bool { return slices.Contains(c.packages, id) }))
	c := p.idle[i]
	p.idle = slices.Delete(p.idle, i, i+1)
	return c
}

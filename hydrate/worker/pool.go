package worker

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/lockage/lockage/hydrate"
)

// longWait is after how long without the end of a render one that waits gets the last of the children; it is longer than most
// renders take.
const longWait = 5 * time.Second

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
	freed   chan struct{} // a child was released

	mu       sync.Mutex
	packages uint64
	idle     []*child
	living   int       // idle and busy children
	ended    time.Time // when a render ended, or a child was started
}

// New returns a pool without children.
func New(o Options) *Pool { return &Pool{options: o, freed: make(chan struct{}, o.Size)} }

// Close ends all children. Renders in progress end by their context.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.end()
	}
	p.living -= len(p.idle)
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
func (p *Pool) render(ctx context.Context, o *openPackage, request hydrate.Request) (out reply, err error) {
	c, err := p.take(ctx, o.id)
	if err != nil {
		return reply{}, err
	}
	defer func() { p.release(c) }()
	before := c.used
	out, err = c.render(ctx, o, request)
	if end := (*endError)(nil); before && errors.As(err, &end) && end.dependent() && ctx.Err() == nil {
		c.end()
		if c, err = start(p.options); err == nil {
			out, err = c.render(ctx, o, request)
		}
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out, err
}

// take waits for a child, or starts one. Of as many children as processors the last is started only if others render for long: the
// parent needs a processor too, to decode what they render, and a child that helps little takes as much memory as any.
func (p *Pool) take(ctx context.Context, id uint64) (*child, error) {
	most := max(1, p.options.Size-1)
	waited := time.NewTimer(longWait)
	defer waited.Stop()
	for {
		if c, create := p.free(id, most); c != nil {
			return c, nil
		} else if create {
			c, err := start(p.options)
			if err != nil {
				p.release(nil)
			}
			return c, err
		}
		select {
		case <-p.freed:
		case <-waited.C:
			if rest := longWait - p.sinceEnd(); rest > 0 {
				waited.Reset(rest) // It is the queue that is long.
			} else {
				most = p.options.Size
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// free returns an idle child, rather one that has the package open, or reports whether to start one.
func (p *Pool) free(id uint64, most int) (c *child, create bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) > 0 {
		i := max(0, slices.IndexFunc(p.idle, func(c *child) bool { return slices.Contains(c.packages, id) }))
		c := p.idle[i]
		p.idle = slices.Delete(p.idle, i, i+1)
		return c, false
	}
	if p.living >= most {
		return nil, false
	}
	p.living++
	p.ended = time.Now()
	return nil, true
}

func (p *Pool) sinceEnd() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.ended)
}

// release returns a child. One that is gone, or nil for one that did not start, makes room for another.
func (p *Pool) release(c *child) {
	alive := c != nil && !c.gone
	if c != nil && c.gone {
		c.end()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = time.Now()
	if alive {
		p.idle = append(p.idle, c)
	} else {
		p.living--
	}
	select {
	case p.freed <- struct{}{}:
	default: // as many wait to be received as children exist
	}
}

package worker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockage/lockage/hydrate"
)

const (
	// maxPackages bounds the packages that a child keeps open. Stages of one package follow each other; two are of a comparison.
	maxPackages = 2
	// maxLastWords bounds what is kept of a child's standard error: the cause comes first, before the stacks.
	maxLastWords = 4 << 10
	// patience is how long a child may take to end by itself when its input ends; one that is idle takes none of it.
	patience = 5 * time.Second
)

// child is a child process, in the parent. One goroutine uses it at a time.
type child struct {
	cmd       *exec.Cmd
	in        io.Closer
	link      *link
	bounds    Bounds
	archives  Archives
	lastWords *head
	packages  []uint64 // that it has open, the last used first
	kept      map[uint64]*kept
	used      bool // it has rendered
	gone      bool // it is of no further use
}

func start(o Options) (*child, error) {
	cmd := exec.Command(o.Program)
	cmd.Args = o.Args
	cmd.Env = []string{"TZ=UTC"} // Templates can convert dates to the local time zone.
	cmd.Dir = "/"
	cmd.WaitDelay = patience
	detach(cmd)
	c := &child{cmd: cmd, bounds: o.Bounds, archives: o.Archives, lastWords: &head{}, kept: map[uint64]*kept{}}
	cmd.Stderr = c.lastWords
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.link = in, newLink(out, in)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process that renders: %w", err)
	}
	return c, nil
}

func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end ends the process, and waits for it.
func (c *child) end() {
	_ = c.in.Close()
	defer time.AfterFunc(patience, c.kill).Stop()
	_ = c.cmd.Wait()
}

// render renders in the child. If that ended the child, the error is an [endError].
func (c *child) render(ctx context.Context, o *openPackage, request hydrate.Request) (reply, error) {
	kill := context.AfterFunc(ctx, c.kill)
	defer func() { c.gone = !kill() || c.gone }()
	answers := &source{trees: []fs.FS{o.source.Files, nil}, prefetch: o.source.Prefetch, archives: c.archives}
	r := job{Kind: o.kind, Package: o.id, Source: o.source, Request: request, Bounds: c.bounds}
	r.Source.Files, r.Source.Prefetch = nil, nil
	if overlay := o.source.Overlay; overlay != nil {
		answers.trees[1] = overlay.GitOps
		copied := *overlay
		copied.GitOps, r.Source.Overlay = nil, &copied
	} else {
		r.Drop = c.keep(o.id)
	}
	r.Trees = [2]ability{abilityOf(answers.trees[0]), abilityOf(answers.trees[1])}
	c.used = true
	at := nameOf(o.source)
	out, exceeded, err := c.converse(ctx, r, answers, &at)
	if err != nil || exceeded != "" {
		c.gone = true
		return reply{}, c.ending(at, exceeded, err)
	}
	if out.Fault != nil {
		return reply{}, out.Fault.carry(answers.errs)
	}
	return out, nil
}

// keep records that the child has a package open, and returns those that it is to forget.
func (c *child) keep(id uint64) (drop []uint64) {
	c.packages = slices.DeleteFunc(c.packages, func(other uint64) bool { return other == id })
	c.packages = slices.Insert(c.packages, 0, id)
	if len(c.packages) > maxPackages {
		drop, c.packages = slices.Clone(c.packages[maxPackages:]), c.packages[:maxPackages]
	}
	for _, other := range drop {
		delete(c.kept, other)
	}
	if c.kept[id] == nil {
		c.kept[id] = new(kept)
	}
	return drop
}

// converse sends a request, and answers the child's questions until its reply.
func (c *child) converse(ctx context.Context, r job, answers *source, at *string) (reply, bound, error) {
	if err := c.link.send(message{Request: &r}); err != nil {
		if errors.Is(err, errMessage) {
			return reply{}, "", fmt.Errorf("values: %w", err)
		}
		return reply{}, "", err
	}
	known := cmp.Or(c.kept[r.Package], &kept{})
	var manifests []hydrate.Manifest
	left := c.bounds.Output
	for {
		m, err := c.link.receive()
		switch {
		case err != nil:
			return reply{}, "", err
		case m.Manifest != nil:
			if left -= int64(documentBytes + len(m.Manifest.Source) + len(m.Manifest.Data)); left < 0 {
				return reply{}, "", errMessage
			}
			if err := known.complete(m.Manifest); err != nil {
				return reply{}, "", err
			}
			manifests = append(manifests, m.Manifest.Manifest)
		case m.Reply != nil:
			m.Reply.Rendered.Manifests = manifests
			return *m.Reply, "", nil
		case m.Exceeded != "":
			return reply{}, m.Exceeded, nil
		case m.Progress != "":
			*at = m.Progress
		case m.Log != "":
			log.Print(m.Log)
		case m.Ask != nil:
			a := answers.answer(ctx, *m.Ask)
			if err := c.link.send(message{Answer: &a}); err != nil {
				return reply{}, "", err
			}
		default:
			return reply{}, "", errors.New("it sent a message that says nothing")
		}
	}
}

// ending finds out why the child is of no further use.
func (c *child) ending(at string, exceeded bound, err error) error {
	c.kill()         // for the case that it goes on
	_ = c.cmd.Wait() // which collects its last words
	e := &endError{at: at, exceeded: exceeded, bounds: c.bounds, cause: err}
	switch words := c.lastWords.String(); {
	case exceeded != "":
	case strings.Contains(words, "stack overflow"):
		e.exceeded = boundStack
	case strings.Contains(words, "out of memory"), strings.Contains(words, "cannot allocate memory"):
		e.exceeded = boundMemory
	default:
		line, _, _ := strings.Cut(strings.TrimSpace(words), "\n")
		e.cause = fmt.Errorf("%w (%v) %s", err, c.cmd.ProcessState, line)
	}
	return e
}

// endError is how a render ended a child.
type endError struct {
	at       string // what was rendered
	exceeded bound
	bounds   Bounds
	cause    error
}

func (e *endError) Error() string {
	if e.exceeded != "" {
		return e.at + ": " + e.bounds.describe(e.exceeded)
	}
	return fmt.Sprintf("%s: the process that rendered it ended: %v; does the machine have enough memory?", e.at, e.cause)
}

func (e *endError) Unwrap() error { return e.cause }

// dependent reports whether a new child might not end.
func (e *endError) dependent() bool { return e.exceeded == boundMemory || e.exceeded == "" }

// head keeps the first bytes that are written to it.
type head struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept.Write(p[:min(len(p), maxLastWords-h.kept.Len())])
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kept.String()
}

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/lockage/lockage/hydrate"
)

// Archives fetches packaged charts from repositories.
type Archives interface {
	// Archive returns the gzipped tar of a chart of this name and exact version. The repository is as Chart.lock has it, an
	// oci:// or https:// URL.
	Archive(ctx context.Context, repository, name, version string) ([]byte, error)
}

// Serve is all that a child process does: it answers requests from in until its end, which is nil. It confines the whole
// process. Renderers get charts from the parent, by the archives that they are given.
func Serve(ctx context.Context, in io.Reader, out io.Writer, renderers func(Archives) map[string]hydrate.Renderer) error {
	// The parent decides when a run ends. A signal to all processes of a terminal or job is meant for it.
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	closeInherited()
	s := &server{
		link:     newLink(in, out),
		requests: make(chan job),
		answers:  make(chan answer),
		ended:    make(chan struct{}),
		packages: map[uint64]*opened{},
	}
	s.renderers = renderers(s)
	log.SetOutput(logWriter{s})
	go s.receive()
	for {
		select {
		case <-s.ended:
			return s.err
		case r := <-s.requests:
			if err := s.work(hydrate.WithProgress(ctx, s.progress), r); err != nil {
				return err
			}
		}
	}
}

// server is a child.
type server struct {
	link      *link
	sending   sync.Mutex
	asking    sync.Mutex
	requests  chan job
	answers   chan answer
	ended     chan struct{} // closed when the parent is gone
	err       error         // why, if it is not the end of the input
	renderers map[string]hydrate.Renderer
	packages  map[uint64]*opened
	confined  bool
}

// opened is a package in a child.
type opened struct {
	hydrate.Package
	sent sent
}

func (s *server) receive() {
	defer close(s.ended)
	for {
		m, err := s.link.receive()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			s.err = fmt.Errorf("receive from the parent: %w", err)
			return
		case m.Request != nil:
			s.requests <- *m.Request
		case m.Answer != nil:
			s.answers <- *m.Answer
		}
	}
}

func (s *server) send(messages ...message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.link.send(messages...)
}

func (s *server) progress(name string) { _ = s.send(message{Progress: name}) }

// logWriter sends what Helm logs, such as values that hide others.
type logWriter struct{ *server }

func (w logWriter) Write(line []byte) (int, error) {
	return len(line), w.send(message{Log: string(line)})
}

// work renders, and returns when the reply is sent, the parent is gone or a bound is exceeded: all but the first end the process,
// while the render may go on.
func (s *server) work(ctx context.Context, r job) error {
	if !s.confined {
		s.confined = true
		confine(r.Bounds)
	}
	done := make(chan reply, 1)
	began := usage()
	go func() { done <- s.reply(ctx, r) }()
	watch := time.NewTicker(20 * time.Millisecond)
	defer watch.Stop()
	for {
		select {
		case <-s.ended:
			return s.err
		case out := <-done:
			return s.send(out.messages(s.opened(r.Package))...)
		case <-watch.C:
			exceeded := bound("")
			switch {
			case resident() > r.Bounds.Memory:
				exceeded = boundMemory
			case usage()-began > r.Bounds.Time:
				exceeded = boundTime
			default:
				continue
			}
			return errors.Join(s.send(message{Exceeded: exceeded}), errExceeded)
		}
	}
}

var errExceeded = errors.New("a bound is exceeded")

func (s *server) reply(ctx context.Context, r job) reply {
	out, err := s.render(ctx, r)
	if err != nil {
		return reply{Fault: faultOf(err)}
	}
	return out
}

func (s *server) render(ctx context.Context, r job) (out reply, err error) {
	for _, id := range r.Drop {
		delete(s.packages, id)
	}
	renderer, known := s.renderers[r.Kind]
	if !known {
		return reply{}, fmt.Errorf("no renderer of kind %q", r.Kind)
	}
	pkg, kept := s.packages[r.Package]
	if !kept {
		pkg = &opened{}
		if pkg.Package, err = renderer.Open(ctx, s.source(r)); err != nil {
			return reply{}, err
		}
	}
	if renderer.Overlays() {
		out.Inputs = pkg.Inputs()
	} else {
		s.packages[r.Package] = pkg
	}
	if out.Rendered, err = pkg.Render(ctx, r.Request); err != nil {
		return reply{}, err
	}
	if err := checkOutput(out.Rendered, r.Bounds.Output); err != nil {
		return reply{}, err
	}
	return out, nil
}

// opened returns what the parent has of a package; nothing if the package is not kept.
func (s *server) opened(id uint64) *sent {
	if pkg, kept := s.packages[id]; kept {
		return &pkg.sent
	}
	return &sent{}
}

// documentBytes is what a document counts beside its own bytes: empty ones fill a reply, too.
const documentBytes = 64

// checkOutput names the template with the largest part in an output that is too large.
func checkOutput(rendered hydrate.Rendered, limit int64) error {
	sizes := map[string]int64{}
	total, largest := int64(0), ""
	for _, m := range rendered.Manifests {
		size := int64(documentBytes + len(m.Source) + len(m.Data))
		total += size
		if sizes[m.Source] += size; sizes[m.Source] > sizes[largest] || largest == "" {
			largest = m.Source
		}
	}
	for _, w := range rendered.Warnings {
		total += int64(len(w))
	}
	if total <= limit {
		return nil
	}
	return fmt.Errorf("%s: %d of %d bytes that the stage renders to come from it, and at most %d are allowed; does a loop write more than it should?",
		largest, sizes[largest], total, limit)
}

// source returns the request's source, with the trees of the parent.
func (s *server) source(r job) hydrate.Source {
	source := r.Source
	source.Files = newFiles(s, 0, r.Trees[0])
	source.Prefetch = func(_ context.Context, paths ...string) error {
		_, err := s.ask(ask{Operation: opPrefetch, Names: paths})
		return err
	}
	if source.Overlay != nil {
		source.Overlay.GitOps = newFiles(s, 1, r.Trees[1])
	}
	return source
}

var errParent = errors.New("the parent process is gone")

// ask asks the parent, one question at a time.
func (s *server) ask(q ask) (answer, error) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if err := s.send(message{Ask: &q}); err != nil {
		return answer{}, err
	}
	select {
	case a := <-s.answers:
		if a.Fault != nil {
			return answer{}, remote{a.Fault}
		}
		return a, nil
	case <-s.ended:
		return answer{}, errParent
	}
}

// Archive implements [Archives].
func (s *server) Archive(_ context.Context, repository, name, version string) ([]byte, error) {
	a, err := s.ask(ask{Operation: opArchive, Repository: repository, Chart: name, Version: version})
	return a.Data, err
}

// nameOf names a package until it says itself what it renders.
func nameOf(s hydrate.Source) string {
	if s.Overlay == nil {
		return path.Clean(s.Path)
	}
	if s.Overlay.Options.Kustomize != nil {
		return "render.kustomize"
	}
	return s.Overlay.Options.Overlay
}

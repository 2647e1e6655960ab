// Package registry is a small OCI registry (distribution-spec v1.1) over a directory or in memory, for demonstrations,
// tests and machines without one. It keeps everything that is pushed: it collects no garbage. It has no users and no TLS,
// and so serves loopback addresses only, unless [Options] allow others.
package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/olareg/olareg/types"

	"github.com/lockage/lockage/internal/loopback"
)

const (
	readHeaderTimeout = 10 * time.Second
	// writeTimeout ends responses that no client reads: writers wait for them.
	writeTimeout = 2 * time.Minute
	// shutdownGrace is how long pending requests, and new connections without one, may last after the end.
	shutdownGrace = 2 * time.Second
	// maxManifest bounds a manifest that is pushed, in bytes.
	maxManifest = 8 << 20
)

// Options configure a registry.
type Options struct {
	// Dir holds one image layout a repository; it is made when needed. Empty means memory.
	Dir string
	// Deletes allows tags, manifests and blobs to be deleted.
	Deletes bool
	// WithoutReferrers switches off what distribution and older registries lack: the referrers API, and blobs in the request that begins
	// their upload.
	WithoutReferrers bool
	// AllowRemote lets Serve accept a listener that other machines can reach, and so write to.
	AllowRemote bool
	// Log receives the registry's log; nil drops it.
	Log *slog.Logger
}

// Registry is an [http.Handler] that serves /v2/. Close it when done.
type Registry struct {
	server *olareg.Server
	// lock is held for writing but while blobs are read and sent: olareg v0.1.2 rewrites lists of referrers without a lock, and reads or
	// makes a repository's directory while others look for it.
	lock sync.RWMutex
	// largest bounds a blob that is taken with the request that begins its upload, in bytes.
	largest int
}

// New returns a registry. Nothing is read or written before the first request.
func New(options Options) *Registry {
	yes, no := true, false
	referrers := !options.WithoutReferrers
	conf := config.Config{
		Storage: config.ConfigStorage{
			StoreType: config.StoreMem,
			GC: config.ConfigGC{
				Frequency: -1, GracePeriod: -1,
				Untagged: &no, EmptyRepo: &no, ReferrersDangling: &no, ReferrersWithSubj: &no,
			},
		},
		API: config.ConfigAPI{
			PushEnabled:   &yes,
			DeleteEnabled: &options.Deletes,
			Manifest:      config.ConfigAPIManifest{Limit: maxManifest},
			Blob:          config.ConfigAPIBlob{DeleteEnabled: &options.Deletes},
			Referrer:      config.ConfigAPIReferrer{Enabled: &referrers},
		},
		Log: options.Log,
	}
	if options.Dir != "" {
		conf.Storage.StoreType, conf.Storage.RootDir = config.StoreDir, options.Dir
	}
	r := &Registry{server: olareg.New(conf), largest: maxManifest}
	if options.WithoutReferrers {
		r.largest = 0
	}
	return r
}

// ServeHTTP implements [http.Handler].
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	switch manifest := strings.Contains(req.URL.Path, "/manifests/"); {
	case reads && !strings.Contains(req.URL.Path, "/blobs/"):
		r.lock.Lock()
		defer r.lock.Unlock()
	case reads:
		r.lock.RLock()
		defer r.lock.RUnlock()
	case manifest || req.Method == http.MethodPost:
		// The body is read before locking: a slow client blocks no other. The server refuses a manifest that is too large, and a blob is
		// taken in another request.
		body, err := io.ReadAll(io.LimitReader(req.Body, maxManifest+1))
		if err != nil {
			http.Error(w, "the request did not arrive", http.StatusBadRequest)
			return
		}
		if !manifest {
			w = &once{ResponseWriter: w}
			if len(body) > r.largest {
				query := req.URL.Query()
				query.Del("digest")
				body, req.URL.RawQuery = nil, query.Encode()
			}
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
		r.lock.Lock()
		defer r.lock.Unlock()
	}
	r.server.ServeHTTP(w, req)
}

// once drops a second status: olareg v0.1.2 sends another one after it took a blob with the request that begins its upload.
type once struct {
	http.ResponseWriter
	sent bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *once) WriteHeader(status int) {
	if !w.sent {
		w.sent = true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Close releases the storage. No request may be under way.
func (r *Registry) Close() error { return withoutAbsent(r.server.Close()) }

// withoutAbsent drops errors about missing files: olareg's Close looks for the index of every requested repository.
func withoutAbsent(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var left []error
		for _, e := range joined.Unwrap() {
			left = append(left, withoutAbsent(e))
		}
		return errors.Join(left...)
	}
	if errors.Is(err, types.ErrNotFound) {
		return nil
	}
	return err
}

// Serve answers on listener until ctx is done, lets pending requests finish, closes the listener, and returns nil.
func Serve(ctx context.Context, listener net.Listener, options Options) (err error) {
	if !options.AllowRemote && !loopback.Is(listener.Addr().String()) {
		return errors.Join(
			fmt.Errorf("serve registry: %s can be reached from other machines, and the registry has no users; listen on 127.0.0.1, or allow remote access", listener.Addr()),
			listener.Close())
	}
	registry := New(options)
	defer func() { err = errors.Join(err, registry.Close()) }()
	server := &http.Server{Handler: registry, ReadHeaderTimeout: readHeaderTimeout, WriteTimeout: writeTimeout}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve registry: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("stop registry: %w", err)
	}
	return nil
}

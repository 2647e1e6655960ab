package model

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/quirks"
	"github.com/lockage/lockage/oci"
	"github.com/lockage/lockage/oci/registry"
)

// errKilled is the answer to requests of a process that was killed.
var errKilled = errors.New("killed")

// store is the registry, as the transport of its clients. It can end a process at one of its writes.
type store struct {
	mu      sync.Mutex
	handler *registry.Registry
	quirks  []string           // see package quirks
	front   *quirks.Registry   // before the handler
	puts    map[string][]named // of manifests, in order, by repository

	writes int  // of the process
	at     int  // the write at which it ends; 0 for none
	done   bool // whether that write is still done
	kill   context.CancelFunc
	killed bool
}

// named is what a tag named from some time on, or a manifest that was pushed by digest: then the tag is "".
type named struct {
	tag    string
	digest digest.Digest
}

func newStore(t testing.TB, quirks []string) *store {
	t.Helper()
	s := &store{quirks: quirks}
	s.lose()
	t.Cleanup(func() { _ = s.handler.Close() })
	return s
}

// client returns a client of the registry, in a process of its own. It has a password if the registry wants one.
func (s *store) client() *oci.Client {
	return oci.NewClient(oci.Options{Transport: s, MaxRetryWait: time.Millisecond, Credentials: func(context.Context, string) (oci.Credential, error) {
		if len(s.quirks) == 0 {
			return oci.Credential{}, nil
		}
		return oci.Credential{Username: quirks.User, Password: quirks.Password}, nil
	}})
}

// lose empties the registry.
func (s *store) lose() {
	if s.handler != nil {
		_ = s.handler.Close()
	}
	s.handler, s.puts = registry.New(registry.Options{Deletes: true}), map[string][]named{}
	var err error
	if s.front, err = quirks.New(s.handler, quirks.Options{Switches: s.quirks, Storage: "storage.test"}); err != nil {
		panic(err)
	}
}

// RoundTrip implements [http.RoundTripper].
func (s *store) RoundTrip(r *http.Request) (*http.Response, error) {
	before, after := s.turn(r.Method != http.MethodGet && r.Method != http.MethodHead)
	if before {
		return nil, errKilled
	}
	request := r.Clone(r.Context())
	if request.Body == nil {
		request.Body = http.NoBody
	}
	request.Host = request.URL.Host
	recorder := httptest.NewRecorder()
	s.front.ServeHTTP(recorder, request)
	response := recorder.Result()
	response.Request = r
	if r.Method != http.MethodHead && response.ContentLength > int64(recorder.Body.Len()) { // as a connection that breaks off
		response.Body = io.NopCloser(io.MultiReader(response.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	s.remember(r, response)
	if after {
		s.kill()
		return nil, errKilled
	}
	return response, nil
}

// turn reports whether the process is dead before a request is served, and whether it dies after that.
func (s *store) turn(write bool) (before, after bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.killed && write && s.at > 0 {
		if s.writes++; s.writes == s.at {
			if s.killed = true; s.done {
				return false, true
			}
			s.kill()
		}
	}
	return s.killed, false
}

// remember keeps what was pushed.
func (s *store) remember(r *http.Request, response *http.Response) {
	if r.Method != http.MethodPut || path.Base(path.Dir(r.URL.Path)) != "manifests" || response.StatusCode != http.StatusCreated {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := named{path.Base(r.URL.Path), digest.Digest(response.Header.Get("Docker-Content-Digest"))}
	if digest.Digest(n.tag).Validate() == nil {
		n.tag = ""
	}
	of := strings.TrimPrefix(path.Dir(path.Dir(r.URL.Path)), "/v2")
	s.puts[of] = append(s.puts[of], n)
}

// arm lets the process that follows end before its write number at, counted from 1, or after it is done; 0 for never.
func (s *store) arm(at int, done bool, kill context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes, s.at, s.done, s.kill, s.killed = 0, at, done, kill, false
}

// tags returns all tags of a repository that were ever written, sorted.
func (s *store) tags(repository string) []string {
	var all []string
	for _, n := range s.of(repository) {
		if n.tag != "" {
			all = append(all, n.tag)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// of returns what was pushed to a repository.
func (s *store) of(repository string) []named {
	return s.puts[strings.TrimPrefix(repository, "registry.test")]
}

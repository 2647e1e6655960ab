// Package quirks makes a registry behave as real ones do that follow the distribution specification loosely, or have a proxy before them:
// one switch a quirk. It is a handler before any other, for tests.
package quirks

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
)

// User and Password are the only ones that registries with authentication know.
const (
	User     = "ada"
	Password = "hunter2"
)

// Options configure a [Registry].
type Options struct {
	// Switches are names of quirks; see [Names].
	Switches []string
	// Storage is another name of the server, as host[:port], to which blobs are redirected. It knows no users.
	Storage string
	// Tokens is the host of the token service; empty means the registry's own.
	Tokens string
}

// Registry is a handler with quirks before another one.
type Registry struct {
	next    http.Handler
	options Options
	on      []quirk

	mu     sync.Mutex
	tokens map[string]*token
	counts map[string]int
	fired  map[string]bool
	wrongs []string
}

// quirk is one deviation: front and before may answer a request, before and after the user is known, and after changes an answer.
type quirk struct {
	name    string
	refuses bool // lockage does not work with it, and says so

	auth   func(*auth) // what it adds to authentication
	front  func(q *Registry, w http.ResponseWriter, r *http.Request) (answered bool)
	before func(q *Registry, w http.ResponseWriter, r *http.Request) (answered bool)
	after  func(q *Registry, r *http.Request, answer *httptest.ResponseRecorder)
}

// Names returns the names of all quirks that lockage works with, sorted.
func Names() []string { return names(false) }

// Refused returns the names of all quirks that lockage does not work with, sorted.
func Refused() []string { return names(true) }

func names(refused bool) []string {
	all := switches()
	maps.DeleteFunc(all, func(_ string, q quirk) bool { return q.refuses != refused })
	return slices.Sorted(maps.Keys(all))
}

// New returns a registry with quirks. An unknown name is an error.
func New(next http.Handler, options Options) (*Registry, error) {
	q := &Registry{next: next, options: options, tokens: map[string]*token{}, counts: map[string]int{}, fired: map[string]bool{}}
	all := switches()
	for _, name := range options.Switches {
		one, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("no quirk %q; there are %v", name, slices.Concat(Names(), Refused()))
		}
		one.name = name
		q.on = append(q.on, one)
	}
	return q, nil
}

// Wrongs returns what clients did that no client may do, such as sending a password to another host.
func (q *Registry) Wrongs() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.wrongs)
}

func (q *Registry) wrong(format string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wrongs = append(q.wrongs, fmt.Sprintf(format, args...))
}

// Fired returns the names of the quirks that changed an answer, sorted: a test that names another one tests nothing.
func (q *Registry) Fired() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Sorted(maps.Keys(q.fired))
}

// fires notes that a quirk changed an answer, and returns changed.
func (q *Registry) fires(name string, changed bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if changed {
		q.fired[name] = true
	}
	return changed
}

// every reports whether this is one of every n calls for a name, the first one included.
func (q *Registry) every(n int, name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counts[name]++
	return q.counts[name]%n == 1
}

// first reports whether this is the first call for a name.
func (q *Registry) first(name string) bool { return q.every(1<<62, name) }

// ServeHTTP implements [http.Handler].
func (q *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, one := range q.on {
		if one.front != nil && q.fires(one.name, one.front(q, w, r)) {
			return
		}
	}
	switch {
	case r.URL.Path == "/token":
		q.serveToken(w, r)
		return
	case q.options.Storage != "" && r.Host == q.options.Storage:
		if r.Header.Get("Authorization") != "" {
			q.wrong("%s %s: the storage got credentials", r.Method, r.URL.Path)
		}
	default:
		if q.refuse(w, r) {
			return
		}
		for _, one := range q.on {
			if one.before != nil && q.fires(one.name, one.before(q, w, r)) {
				return
			}
		}
	}
	answer := httptest.NewRecorder()
	q.next.ServeHTTP(answer, r)
	for _, one := range q.on {
		if one.after != nil {
			code, header, body := answer.Code, answer.Header().Clone(), answer.Body.String()
			one.after(q, r, answer)
			same := answer.Code == code && answer.Body.String() == body && maps.EqualFunc(answer.Header(), header, slices.Equal[[]string])
			q.fires(one.name, !same)
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(answer.Body.Bytes())
	}
}

// fail answers with an error in the registry's words.
func fail(w http.ResponseWriter, status int, code, message string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	return true
}

// replace makes an answer one with an error.
func replace(answer *httptest.ResponseRecorder, status int, code, message string) {
	*answer = *httptest.NewRecorder()
	fail(answer, status, code, message)
}

// about reports whether a request is one for manifests, blobs, uploads, tags or referrers.
func about(r *http.Request, what string) bool { return strings.Contains(r.URL.Path, "/"+what+"/") }

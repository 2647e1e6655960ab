package testworld

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Server is an HTTP server on loopback that remembers its requests. Tests can intercept them.
type Server struct {
	URL  string
	Host string // host:port

	mu        sync.Mutex
	requests  []string
	intercept func(http.ResponseWriter, *http.Request, http.Handler)
}

// Serve starts a server that ends with the test.
func Serve(t testing.TB, handler http.Handler) *Server {
	t.Helper()
	s := &Server{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		intercept := s.intercept
		s.mu.Unlock()
		if intercept != nil {
			intercept(w, r, handler)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.URL, s.Host = server.URL, strings.TrimPrefix(server.URL, "http://")
	return s
}

// Intercept has f answer the requests from now on; nil lets the server's own handler answer again, which f gets as next. f is
// called by several goroutines at once.
func (s *Server) Intercept(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// Refuse answers the requests that match with an HTTP status from now on.
func (s *Server) Refuse(status int, match func(*http.Request) bool) {
	s.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if match(r) {
			http.Error(w, `{"errors":[{"code":"DENIED","message":"refused by the test"}]}`, status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RefuseWrites answers with status 403 from the n-th request on, counted from 1, that is neither GET nor HEAD.
func (s *Server) RefuseWrites(n int64) {
	var writes atomic.Int64
	s.Refuse(http.StatusForbidden, func(r *http.Request) bool { return !reads(r.Method) && writes.Add(1) >= n })
}

// Before has f called before each request is answered from now on.
func (s *Server) Before(f func(*http.Request)) {
	s.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		f(r)
		next.ServeHTTP(w, r)
	})
}

// Requests returns method and path of the requests since the last call of Forget, if they contain part.
func (s *Server) Requests(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(request string) bool { return !strings.Contains(request, part) })
}

// Forget empties the list of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Writes counts the requests since the last call of Forget that are neither GET nor HEAD.
func (s *Server) Writes() int {
	return len(slices.DeleteFunc(s.Requests(""), func(request string) bool {
		method, _, _ := strings.Cut(request, " ")
		return reads(method)
	}))
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

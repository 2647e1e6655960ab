package notify

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockage/lockage/hydrate/pipeline"
)

// server answers requests without a network.
type server func(*http.Request) (*http.Response, error)

func (s server) RoundTrip(r *http.Request) (*http.Response, error) { return s(r) }

func answer(code int) *http.Response {
	return &http.Response{StatusCode: code, Body: io.NopCloser(strings.NewReader("secret of the server"))}
}

func noEnvironment(string) string { return "" }

func TestSendIsBounded(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		server server
		want   string
		calls  int32
	}{
		"no answer": {func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, "no answer within 10s", maxAttempts},
		"no connection":    {func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") }, "refused", maxAttempts},
		"busy for ever":    {func(*http.Request) (*http.Response, error) { return answer(503), nil }, "it answers 503 Service Unavailable", maxAttempts},
		"refused":          {func(*http.Request) (*http.Response, error) { return answer(401), nil }, "it answers 401 Unauthorized: compare the secret with the receiver's", 1},
		"wrong path":       {func(*http.Request) (*http.Response, error) { return answer(404), nil }, "it answers 404 Not Found: compare the path with the receiver's", 1},
		"unknown answer":   {func(*http.Request) (*http.Response, error) { return answer(418), nil }, "it answers 418 I'm a teapot", 1},
		"taken":            {func(*http.Request) (*http.Response, error) { return answer(202), nil }, "", 1},
		"leads to another": {func(*http.Request) (*http.Response, error) { return answer(307), nil }, "it answers 307 Temporary Redirect, and redirects are not followed: write the address that it leads to", 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				s := &sender{getenv: noEnvironment, transport: server(func(r *http.Request) (*http.Response, error) {
					calls.Add(1)
					return test.server(r)
				})}
				got := s.send(t.Context(), []Notice{{Receivers: []pipeline.Receiver{{URL: "https://a.example.com/s3cret?t0ken"}}}})
				if want := (Outcome{"url https://a.example.com", test.want}); got[0][0] != want {
					t.Errorf("got %+v, want %+v", got[0][0], want)
				}
				if calls.Load() != test.calls {
					t.Errorf("%d calls, want %d", calls.Load(), test.calls)
				}
			})
		})
	}
}

// TestSendToTheWrongServerOfFlux calls the server for events of the notification-controller, which takes every call.
func TestSendToTheWrongServerOfFlux(t *testing.T) {
	t.Parallel()
	s := &sender{getenv: noEnvironment, transport: server(func(*http.Request) (*http.Response, error) { return answer(202), nil })}
	got := s.send(t.Context(), []Notice{{Receivers: []pipeline.Receiver{{Flux: "https://a.example.com/hook/x"}}}})
	if !strings.Contains(got[0][0].Error, "name the service webhook-receiver") {
		t.Errorf("got %+v", got[0][0])
	}
}

// TestSendGivesUpOnAServer calls a server that is away for a fleet.
func TestSendGivesUpOnAServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		s := &sender{getenv: noEnvironment, transport: server(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "b.example.com" {
				return answer(200), nil
			}
			calls.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		notices := make([]Notice, 100)
		for i := range notices {
			notices[i].Receivers = []pipeline.Receiver{{URL: "https://a.example.com/"}, {URL: "https://b.example.com/"}}
		}
		for _, outcomes := range s.send(t.Context(), notices) {
			if outcomes[0].Error == "" || outcomes[1].Error != "" {
				t.Fatalf("got %+v", outcomes)
			}
		}
		if calls.Load() > concurrency*maxAttempts {
			t.Errorf("%d calls of a server that does not answer", calls.Load())
		}
	})
}

func TestSendEndsWithTheRun(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := &sender{getenv: noEnvironment, transport: server(func(*http.Request) (*http.Response, error) {
		cancel()
		return nil, errors.New("refused")
	})}
	got := s.send(ctx, []Notice{{Receivers: []pipeline.Receiver{{URL: "https://a.example.com"}, {URL: "https://a.example.com"}}}})
	for _, o := range got[0] {
		if o.Error == "" {
			t.Errorf("got %+v", o)
		}
	}
}

func TestGitPage(t *testing.T) {
	t.Parallel()
	for remote, want := range map[string]string{
		"https://git.example.com/acme/gitops.git":          "https://git.example.com/acme/gitops",
		"https://git.example.com:8443/acme/gitops":         "https://git.example.com/acme/gitops",
		"git@git.example.com:acme/gitops.git":              "https://git.example.com/acme/gitops",
		"ssh://git@git.example.com:2222/acme/gitops.git":   "https://git.example.com/acme/gitops",
		"file:///srv/gitops.git":                           "",
		"/srv/gitops.git":                                  "",
		"../gitops.git":                                    "",
		"https://user:password@git.example.com/acme/a.git": "https://git.example.com/acme/a",
	} {
		if got := gitPage(remote); got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}

package forge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockage/lockage/internal/bounded"
)

// refuseAll is the transport where no request may happen.
type refuseAll struct{ t *testing.T }

func (r refuseAll) RoundTrip(request *http.Request) (*http.Response, error) {
	r.t.Errorf("unwanted request: %s %s", request.Method, request.URL)
	return nil, errors.New("no requests here")
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// clock is a time that passes only by sleeping.
type clock struct{ slept atomic.Int64 }

func (c *clock) now() time.Time { return noon.Add(time.Duration(c.slept.Load())) }
func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.slept.Add(int64(d))
	return ctx.Err()
}

const secret = "tok-3cr3t"

// fake is a forge of one kind with the handlers of a test, and the requests to it.
type fake struct {
	*httptest.Server
	*clock
	asked []string // «METHOD path?query»
	mux   *http.ServeMux
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{clock: &clock{}, mux: http.NewServeMux()}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+secret || r.Header.Get("Private-Token") != "" {
			t.Errorf("%s %s with Authorization %q", r.Method, r.URL, got)
		}
		f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
		w.Header().Set("Date", f.now().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		f.mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) on(pattern string, handler func(w http.ResponseWriter, r *http.Request)) {
	f.mux.HandleFunc(pattern, handler)
}

func (f *fake) open(t *testing.T, kind Kind) *Repository {
	t.Helper()
	r, err := Open(t.Context(), f.URL+"/acme/env.git", Options{Kind: kind, Token: secret, Now: f.now, Sleep: f.sleep})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// forget returns how many requests there were since it was called last.
func (f *fake) forget() int {
	n := len(f.asked)
	f.asked = nil
	return n
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	type answer struct {
		status int
		header string // «Name: value», comma-separated
		body   string
	}
	epoch := func(d time.Duration) string { return fmt.Sprint(noon.Add(d).Unix()) }
	for name, test := range map[string]struct {
		method  string
		answers []answer // the last one repeats; 200 after them
		slept   time.Duration
		until   time.Duration // of the RateLimitError
		status  int           // of the Error
	}{
		"Retry-After in seconds":         {"POST", []answer{{429, "Retry-After: 7", ""}}, 7 * time.Second, 0, 0},
		"Retry-After as a date":          {"GET", []answer{{429, "Retry-After: " + noon.Add(9*time.Second).Format(http.TimeFormat), ""}}, 9 * time.Second, 0, 0},
		"primary limit of GitHub":        {"POST", []answer{{403, "X-RateLimit-Remaining: 0;X-RateLimit-Reset: " + epoch(30*time.Second), ""}}, 31 * time.Second, 0, 0},
		"GitLab's reset":                 {"POST", []answer{{429, "RateLimit-Remaining: 0;RateLimit-Reset: " + epoch(5*time.Second), ""}}, 6 * time.Second, 0, 0},
		"secondary limit, no time":       {"POST", []answer{{403, "", `{"message":"You have exceeded a secondary rate limit."}`}}, time.Minute, 0, 0},
		"submitted too quickly":          {"POST", []answer{{422, "", `{"message":"Validation Failed","errors":[{"message":"was submitted too quickly"}]}`}}, time.Minute, 0, 0},
		"too long a wait":                {"GET", []answer{{429, "Retry-After: 3600", ""}}, 0, time.Hour, 0},
		"too many waits":                 {"POST", []answer{{429, "Retry-After: 50", ""}, {429, "Retry-After: 50", ""}, {429, "Retry-After: 50", ""}}, 100 * time.Second, 150 * time.Second, 0},
		"absurd Retry-After":             {"GET", []answer{{429, "Retry-After: 4000000000", ""}}, 0, 24 * time.Hour, 0},
		"forbidden, not limited":         {"GET", []answer{{403, "X-RateLimit-Remaining: 4000", `{"message":"Resource not accessible"}`}}, 0, 0, 403},
		"server fault, read":             {"GET", []answer{{502, "", ""}, {503, "Retry-After: 5", ""}}, 6 * time.Second, 0, 0},
		"server fault, write":            {"POST", []answer{{502, "", ""}}, 0, 0, 502},
		"server fault that does not end": {"GET", []answer{{502, "", ""}, {502, "", ""}, {502, "", ""}, {502, "", ""}}, 7 * time.Second, 0, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			tries := 0
			f.on("/", func(w http.ResponseWriter, r *http.Request) {
				if body, _ := io.ReadAll(r.Body); r.Method == "POST" && string(body) != "payload" {
					t.Errorf("body %q on try %d", body, tries)
				}
				if tries++; tries > len(test.answers) {
					return
				}
				answer := test.answers[tries-1]
				for line := range strings.SplitSeq(answer.header, ";") {
					if name, value, ok := strings.Cut(line, ": "); ok {
						w.Header().Set(name, value)
					}
				}
				w.WriteHeader(answer.status)
				_, _ = io.WriteString(w, answer.body)
			})
			client := &http.Client{Transport: &transport{
				Options: Options{Now: f.now, Sleep: f.sleep}.withDefaults(), host: strings.TrimPrefix(f.URL, "http://"), token: secret,
			}}
			request, err := http.NewRequestWithContext(t.Context(), test.method, f.URL, strings.NewReader("payload"))
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.Do(request)
			if err == nil {
				_ = response.Body.Close()
			}
			var limit *RateLimitError
			var refusal *Error
			switch {
			case errors.As(err, &limit):
				if !limit.Until.Equal(noon.Add(test.until)) {
					t.Errorf("until %s", limit.Until)
				}
			case errors.As(err, &refusal):
				if refusal.Status != test.status {
					t.Error(err)
				}
			case err != nil || test.until != 0 || test.status != 0:
				t.Errorf("answer %v, want %+v", err, test)
			}
			if got := time.Duration(f.slept.Load()); got != test.slept {
				t.Errorf("slept %s, want %s", got, test.slept)
			}
		})
	}
}

func TestWritesArePaced(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.on("POST /api/v3/repos/acme/env/issues/1/comments", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "{}")
	})
	r := f.open(t, GitHub)
	for range writeBurst + 3 {
		if err := r.driver.addComment(t.Context(), 1, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := time.Duration(f.slept.Load()); got != 3*writePause {
		t.Errorf("slept %s", got)
	}
}

func TestTokenStaysAtHome(t *testing.T) {
	t.Parallel()
	foreign := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the token was sent to another host: %s %s %s", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer foreign.Close()
	f := newFake(t)
	f.on("GET /api/v3/repos/acme/env/pulls/1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL+r.URL.Path, http.StatusMovedPermanently)
	})
	f.on("PATCH /api/v3/repos/acme/env/pulls/1", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	r := f.open(t, GitHub)
	if _, err := r.Get(t.Context(), 1); err == nil || strings.Contains(err.Error(), secret) {
		t.Error(err)
	}
	if _, err := r.Close(t.Context(), PullRequest{Number: 1, State: StateOpen}); err == nil || !strings.Contains(err.Error(), "has moved") {
		t.Error(err)
	}
}

func TestResponseIsBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.on("/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"body":"`)
		chunk := strings.Repeat("x", 1<<20)
		for range 40 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	if _, err := f.open(t, Gitea).Get(t.Context(), 1); err == nil || !errors.Is(err, bounded.ErrTooLarge) {
		t.Error(err)
	}
}

func FuzzRefusal(f *testing.F) {
	for _, seed := range []string{
		`{"message":"Validation Failed","errors":[{"resource":"PullRequest","code":"custom","message":"A pull request already exists for acme:x."}]}`,
		`{"message":["Another open merge request already exists for this source branch: !1"]}`,
		`{"message":{"title":["can't be blank"]}}`, `{"error":"404 Project Not Found"}`, `{"message":[[[[[["deep"]]]]]]}`, `[]`, `nope`, "{\"message\":\"a\\u0000b\"}",
	} {
		f.Add([]byte(seed), "7")
	}
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		if got := message(body); len(got) > maxMessage || strings.ContainsAny(got, "\n\r\x00\x1b") {
			t.Errorf("%q", got)
		}
		h := http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {header}}
		at := transport{Options: Options{Now: func() time.Time { return noon }}}
		if d, limited := at.limit(h, &Error{Status: 429}, 1); d < time.Second || d > maxPause || !limited {
			t.Errorf("reset %q: %s", header, d)
		}
	})
}

func TestMessage(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"message":"Validation Failed","errors":[{"message":"A pull request already exists."}]}`: "Validation Failed: A pull request already exists.",
		`{"message":["Another open\n merge request"]}`:                                            "Another open merge request",
		`{"message":{"title":["can't be blank"]}}`:                                                "title: can't be blank",
		`{"error":"invalid_token","error_description":"Token was revoked"}`:                       "invalid_token: Token was revoked",
		`<html>`:                             "",
		`{"message":"a\u001b[31mb"}`:         "a [31mb",
		`{"errors":["one",{"message":"x"}]}`: "one: x",
	} {
		if got := message([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

package forge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockage/lockage/internal/retry"
)

const (
	// MaxWait bounds how long one request waits for rate limits and faults to pass.
	MaxWait = 2 * time.Minute
	// MaxResponse bounds a response's body, in bytes.
	MaxResponse = 32 << 20

	maxRefusal = 64 << 10 // bytes read of the body of a refusal
	maxTries   = 4        // of one request

	faultPause  = time.Second     // before a read is repeated, doubled each time
	secondPause = time.Minute     // after a secondary limit without a time, doubled each time (GitHub's advice)
	writeBurst  = 20              // writes before they are paced
	writePause  = time.Second     // between writes from then on (GitHub's advice)
	maxPause    = 24 * time.Hour  // that a header may ask for
	skew        = 1 * time.Second // clock skew, added to a limit's end
)

// transport carries the requests of all client libraries. It sends the token to one host, bounds responses, waits as forges
// ask for, and repeats requests that had no effect: reads, and those that a rate limit refused. A refusal is an [Error]
// with every library.
type transport struct {
	Options
	host  string
	token string
	paced bool // writes have GitHub's intervals

	writing sync.Mutex // writes take turns
	writes  int
}

func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Host != t.host {
		return nil, fmt.Errorf("request for %s instead of %s", request.URL.Host, t.host)
	}
	var body []byte
	if request.Body != nil {
		data, err := io.ReadAll(request.Body)
		if closeErr := request.Body.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
		body = data
	}
	read := request.Method == http.MethodGet || request.Method == http.MethodHead
	if !read {
		t.writing.Lock()
		defer t.writing.Unlock()
		if t.writes++; t.paced && t.writes > writeBurst {
			if err := t.Sleep(request.Context(), writePause); err != nil {
				return nil, err
			}
		}
	}
	var waited time.Duration
	for try := 1; ; try++ {
		response, err := t.once(request, body)
		if err == nil && response.StatusCode < 400 {
			response.Body = &bounded{body: response.Body, left: MaxResponse}
			return response, nil
		}
		var pause time.Duration
		var limited bool
		if err == nil {
			var refusal *Error
			if refusal, err = t.refusal(response); refusal != nil {
				pause, limited = t.limit(response, refusal, try)
				err = refusal
			}
		}
		if limited {
			if waited+pause > MaxWait || try == maxTries {
				return nil, &RateLimitError{Host: t.host, Until: t.Now().Add(pause)}
			}
		} else {
			if !read || try == maxTries || !fault(err) || request.Context().Err() != nil {
				return nil, err
			}
			pause = max(pause, faultPause<<(try-1))
			if waited+pause > MaxWait {
				return nil, err
			}
		}
		if err := t.Sleep(request.Context(), pause); err != nil {
			return nil, err
		}
		waited += pause
	}
}

// once sends a copy of the request, since an http.RoundTripper must not change it.
func (t *transport) once(original *http.Request, body []byte) (*http.Response, error) {
	request := original.Clone(original.Context())
	if original.Body != nil {
		request.Body = io.NopCloser(bytes.NewReader(body))
		request.ContentLength = int64(len(body))
	}
	// All three accept a token in this form, instead of that of their libraries.
	for _, header := range []string{"Private-Token", "Job-Token"} {
		request.Header.Del(header)
	}
	request.Header.Set("Authorization", "Bearer "+t.token)
	request.Header.Set("User-Agent", t.UserAgent)
	return t.Transport.RoundTrip(request)
}

func (t *transport) refusal(response *http.Response) (*Error, error) {
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil {
		return nil, err
	}
	return &Error{Status: response.StatusCode, Message: message(data)}, nil
}

// limit reports whether a refusal is a rate limit's, and how long to wait. A pause without a limit is a fault's Retry-After.
func (t *transport) limit(response *http.Response, refusal *Error, try int) (pause time.Duration, limited bool) {
	words := strings.ToLower(refusal.Message)
	exhausted := remaining(response.Header) == "0"
	after, hasAfter := retry.After(response.Header, t.Now())
	switch refusal.Status {
	case http.StatusTooManyRequests:
		limited = true
	case http.StatusForbidden:
		limited = hasAfter || exhausted || strings.Contains(words, "rate limit") || strings.Contains(words, "abuse detection")
	case http.StatusUnprocessableEntity:
		limited = strings.Contains(words, "submitted too quickly")
	}
	switch {
	case hasAfter:
		pause = max(after, time.Second)
	case limited && exhausted:
		if pause = reset(response.Header, t.Now()); pause == 0 {
			pause = secondPause << (try - 1)
		}
	case limited:
		pause = secondPause << (try - 1)
	}
	return pause, limited
}

// remaining and reset read X-RateLimit-* (GitHub) and RateLimit-* (GitLab).
func remaining(header http.Header) string {
	return first(header, "X-Ratelimit-Remaining", "Ratelimit-Remaining")
}

func reset(header http.Header, now time.Time) time.Duration {
	seconds, err := strconv.ParseInt(first(header, "X-Ratelimit-Reset", "Ratelimit-Reset"), 10, 64)
	if err != nil || seconds <= 0 {
		return 0
	}
	return min(max(time.Unix(seconds, 0).Sub(now)+skew, time.Second), maxPause)
}

func first(header http.Header, names ...string) string {
	for _, name := range names {
		if value := header.Get(name); value != "" {
			return value
		}
	}
	return ""
}

// fault reports whether to repeat a read: after faults of the network, and transient ones of a server.
func fault(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		return hasStatus(err, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	}
	return true
}

// bounded fails if a body is longer than its limit.
type bounded struct {
	body io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		var one [1]byte
		if n, err := b.body.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("response of more than %d bytes", int64(MaxResponse))
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }

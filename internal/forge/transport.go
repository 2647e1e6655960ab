package forge

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/retry"
	"github.com/lockage/lockage/internal/terminal"
)

const (
	// MaxWait bounds how long one request waits for rate limits and faults to pass.
	MaxWait = 2 * time.Minute
	// MaxResponse bounds a response's body, in bytes.
	MaxResponse = 32 << 20

	maxRefusal  = 64 << 10       // bytes of a refusal in which its message is looked for
	maxTries    = 4              // of one request
	faultPause  = time.Second    // before a read is repeated, doubled each time
	secondPause = time.Minute    // after a secondary limit without a time, doubled each time (GitHub's advice)
	writeBurst  = 20             // writes before they are paced
	writePause  = time.Second    // between writes from then on (GitHub's advice)
	maxPause    = 24 * time.Hour // that a header may ask for
	skew        = time.Second    // clock skew, added to a limit's end
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
		var err error
		body, err = io.ReadAll(request.Body)
		if err := errors.Join(err, request.Body.Close()); err != nil {
			return nil, err
		}
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
		if err == nil {
			return response, nil
		}
		var pause time.Duration
		var limited bool
		if refusal, ok := errors.AsType[*Error](err); ok {
			pause, limited = t.limit(response.Header, refusal, try)
		}
		if !limited {
			if !read || !fault(err) || request.Context().Err() != nil {
				return nil, err
			}
			pause = max(pause, faultPause<<(try-1))
		}
		if waited+pause > MaxWait || try == maxTries {
			if limited {
				err = &RateLimitError{Host: t.host, Until: t.Now().Add(pause)}
			}
			return nil, err
		}
		if err := t.Sleep(request.Context(), pause); err != nil {
			return nil, err
		}
		waited += pause
	}
}

// once sends a copy of the request, since an http.RoundTripper must not change it, and reads the response. A refusal is
// returned with an [Error].
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
	response, err := t.Transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := bounded.Read(response.Body, MaxResponse)
	if err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if response.StatusCode >= 400 {
		return response, &Error{Status: response.StatusCode, Message: message(data[:min(len(data), maxRefusal)])}
	}
	response.Body = io.NopCloser(bytes.NewReader(data))
	return response, nil
}

// limit reports whether a refusal is a rate limit's, and how long to wait. A pause without a limit is a fault's Retry-After.
func (t *transport) limit(header http.Header, refusal *Error, try int) (pause time.Duration, limited bool) {
	words := strings.ToLower(refusal.Message)
	exhausted := rateLimit(header, "Remaining") == "0"
	after, hasAfter := retry.After(header, t.Now())
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
	case limited:
		pause = secondPause << (try - 1)
		if seconds, err := strconv.ParseInt(rateLimit(header, "Reset"), 10, 64); exhausted && err == nil && seconds > 0 {
			pause = min(max(time.Unix(seconds, 0).Sub(t.Now())+skew, time.Second), maxPause)
		}
	}
	return pause, limited
}

// rateLimit returns the header X-RateLimit-* (GitHub) or RateLimit-* (GitLab).
func rateLimit(header http.Header, name string) string {
	return cmp.Or(header.Get("X-Ratelimit-"+name), header.Get("Ratelimit-"+name))
}

// fault reports whether to repeat a read: after faults of the network, and transient ones of a server.
func fault(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bounded.ErrTooLarge) {
		return false
	}
	_, refused := errors.AsType[*Error](err)
	return !refused || hasStatus(err, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}

// Error is a forge's refusal.
type Error struct {
	Status  int    // of HTTP, or 422 where GraphQL refuses with 200
	Message string // of the forge, one line, at most 1,000 bytes
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// RateLimitError is returned if the forge accepts no more requests before Until, which is later than one request may wait.
// The request was not carried out.
type RateLimitError struct {
	Host  string
	Until time.Time
}

func (e *RateLimitError) Error() string {
	return fmt.Sprintf("rate limit of %s reached: run again after %s", e.Host, e.Until.UTC().Format(time.RFC3339))
}

// fail adds the repository and the next step to an error. It returns nil for nil.
func (r *Repository) fail(what string, err error) error {
	if err == nil {
		return nil
	}
	// The libraries' wrapping only repeats the request's URL.
	advice := ""
	if limit, ok := errors.AsType[*RateLimitError](err); ok {
		err = limit
	} else if refusal, ok := errors.AsType[*Error](err); ok {
		err = refusal
		advice = map[int]string{
			http.StatusUnauthorized: "; the token was not accepted: renew it",
			http.StatusForbidden:    "; the token needs " + r.access,
			http.StatusNotFound:     "; it does not exist, or the token cannot see it: it needs " + r.access,
		}[refusal.Status]
	}
	return fmt.Errorf("%s on %s: %w%s", what, r, err, advice)
}

// Refused reports whether an error is the forge's lasting refusal of the request, rather than a fault, a rate limit or an
// invalid token.
func Refused(err error) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && refusal.Status >= 400 && refusal.Status < 500 && refusal.Status != http.StatusUnauthorized
}

func hasStatus(err error, statuses ...int) bool {
	refusal, ok := errors.AsType[*Error](err)
	return ok && slices.Contains(statuses, refusal.Status)
}

// unsettled reports whether a request may have been carried out although it failed.
func unsettled(err error) bool {
	_, limited := errors.AsType[*RateLimitError](err)
	refusal, refused := errors.AsType[*Error](err)
	return !limited && (!refused || refusal.Status >= 500)
}

// maxMessage bounds the message of a refusal, in bytes.
const maxMessage = 1000

// message returns the text in the body of a refusal. GitHub: {"message", "errors": [{"message"}]}; GitLab: {"message": a
// string, a list, or an object of lists} or {"error"}; Gitea: {"message"}.
func message(body []byte) string {
	var object struct {
		Message     any `json:"message"`
		Error       any `json:"error"`
		Errors      any `json:"errors"`
		Description any `json:"error_description"`
	}
	if json.Unmarshal(body, &object) != nil {
		return ""
	}
	var words []string
	var collect func(value any, depth int)
	collect = func(value any, depth int) {
		if depth > 5 {
			return
		}
		switch value := value.(type) {
		case string:
			if word := strings.TrimSpace(value); word != "" {
				words = append(words, word)
			}
		case []any:
			for _, item := range value {
				collect(item, depth+1)
			}
		case map[string]any:
			if text, ok := value["message"]; ok {
				collect(text, depth+1)
				return
			}
			for _, key := range slices.Sorted(maps.Keys(value)) {
				words = append(words, key)
				collect(value[key], depth+1)
			}
		}
	}
	collect([]any{object.Message, object.Error, object.Description, object.Errors}, 0)
	return terminal.Words(strings.Join(words, ": "), maxMessage)
}

func checkRedirect(request *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet {
		return errors.New("the repository has moved: use its new address")
	}
	if len(via) >= 5 {
		return errors.New("more than 5 redirects")
	}
	if request.URL.Host != via[0].URL.Host || request.URL.Scheme != via[0].URL.Scheme {
		return fmt.Errorf("redirected to another host, %s", (&url.URL{Scheme: request.URL.Scheme, Host: request.URL.Host}))
	}
	return nil
}

package chartrepo

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/origin"
	"github.com/lockage/lockage/internal/redact"
	"github.com/lockage/lockage/internal/retry"
)

const (
	maxAttempts    = 4
	defaultBackoff = 500 * time.Millisecond
	maxWait        = time.Minute // the longest pause, whatever a server asks for
)

// web reads from chart repositories.
type web struct {
	client      *http.Client
	credentials func(ctx context.Context, name string) (user, password string, err error)
	userAgent   string
	retry       retry.Policy
	users       sync.Map // URL of a repository → login, once requested
}

type login struct{ name, password string }

func newWeb(options Options) *web {
	transport := cmp.Or(options.Transport, http.DefaultTransport)
	if t, ok := transport.(*http.Transport); ok && options.Transport == nil {
		t = t.Clone()
		t.DisableCompression = true // net/http would unpack archives that servers label as gzip-encoded
		transport = t
	}
	w := &web{
		client:      &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		credentials: options.Credentials,
		userAgent:   options.UserAgent,
		retry:       retry.Policy{Attempts: maxAttempts, First: cmp.Or(options.Backoff, defaultBackoff), Longest: maxWait},
	}
	if w.credentials == nil {
		w.credentials = dockerCredentials
	}
	return w
}

// safe refuses a target whose connection is less safe than the repository's own.
func safe(repository, target *url.URL) error {
	if origin.Safe(repository, target) {
		return nil
	}
	return fmt.Errorf("the repository refers to %s, which is not https", redact.URL(target.String()))
}

// checkRedirect follows safe redirects, and sends credentials to no other origin.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	request.Header.Del("Referer")
	if !origin.Same(request.URL, via[0].URL) {
		request.Header.Del("Authorization")
	}
	return safe(via[0].URL, request.URL)
}

// get returns a body of at most limit bytes, and repeats transient failures. An index may be compressed in transit.
func (w *web) get(ctx context.Context, repository, target *url.URL, limit int64, compressed bool) (data []byte, err error) {
	err = w.retry.Do(ctx, func() (err error) {
		data, err = w.once(ctx, repository, target, limit, compressed)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", redact.URL(target.String()), err)
	}
	return data, nil
}

func (w *web) once(ctx context.Context, repository, target *url.URL, limit int64, compressed bool) ([]byte, error) {
	response, err := w.send(ctx, repository, target, compressed)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	switch status := response.StatusCode; {
	case retry.Status(status):
		wait, _ := retry.After(response.Header, time.Time{})
		return nil, retry.Again(fmt.Errorf("the server answered %d", status), wait)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, fmt.Errorf("the server answered %d; run `docker login %s`", status, target.Host)
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("the server answered %d; if it hides what is private, run `docker login %s`", status, target.Host)
	case status != http.StatusOK:
		return nil, fmt.Errorf("the server answered %d", status)
	case response.ContentLength > limit:
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", response.ContentLength, limit)
	}
	body := io.Reader(response.Body)
	if compressed && response.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	data, err := bounded.Read(body, limit)
	if err != nil && !errors.Is(err, bounded.ErrTooLarge) {
		err = judge(ctx, err)
	}
	return data, err
}

// send makes a request, and repeats it with the repository's credentials if its origin asks for them, or may hide that it has what is
// asked for.
func (w *web) send(ctx context.Context, repository, target *url.URL, compressed bool) (*http.Response, error) {
	ours := origin.Same(repository, target)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, errors.New("invalid URL")
		}
		if w.userAgent != "" {
			request.Header.Set("User-Agent", w.userAgent)
		}
		if compressed {
			request.Header.Set("Accept-Encoding", "gzip")
		}
		known, asked := w.users.Load(repository.String())
		if user, _ := known.(login); ours && user.name != "" {
			request.SetBasicAuth(user.name, user.password)
		}
		response, err := w.client.Do(request)
		if err != nil {
			return nil, judge(ctx, err)
		}
		status := response.StatusCode
		hidden := status == http.StatusForbidden || status == http.StatusNotFound
		if status != http.StatusUnauthorized && !hidden || !ours || asked || !origin.Same(response.Request.URL, target) {
			return response, nil
		}
		user, password, err := w.credentials(ctx, repository.Host+repository.Path)
		if hidden && (err != nil || user == "") {
			return response, nil
		}
		_ = response.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", target.Host, err)
		}
		w.users.Store(repository.String(), login{user, password})
	}
}

// judge removes the URL, which may hold a secret, from a transport's error, and marks a transient one.
func judge(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if retry.Transient(err) {
		return retry.Again(err, 0)
	}
	return err
}

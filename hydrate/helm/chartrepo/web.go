package chartrepo

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	maxAttempts    = 4
	defaultBackoff = 500 * time.Millisecond
	maxWait        = time.Minute // the longest Retry-After that is honoured
)

// web reads from chart repositories.
type web struct {
	client      *http.Client
	credentials func(context.Context, string) (string, string, error)
	userAgent   string
	backoff     time.Duration

	mu    sync.Mutex
	users map[string]login // by scheme and host, of those that asked for one
}

type login struct{ user, password string }

func newWeb(options Options) *web {
	transport := options.Transport
	if transport == nil {
		transport = http.DefaultTransport
		if t, ok := transport.(*http.Transport); ok {
			t = t.Clone()
			// net/http would unpack archives from servers that call gzip an encoding of them.
			t.DisableCompression = true
			transport = t
		}
	}
	w := &web{
		client:      &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		credentials: options.Credentials,
		userAgent:   options.UserAgent,
		backoff:     options.Backoff,
		users:       map[string]login{},
	}
	if w.credentials == nil {
		w.credentials = dockerCredentials
	}
	if w.backoff == 0 {
		w.backoff = defaultBackoff
	}
	return w
}

// loopback tells whether a URL's host is this machine: the only case in which plain HTTP cannot be overheard.
func loopback(u *url.URL) bool {
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

// safe refuses a URL that a repository leads to over a connection that is not as safe as the repository's own.
func safe(repository, target *url.URL) error {
	if target.Scheme == "https" || target.Scheme == "http" && loopback(target) && repository.Scheme == "http" {
		return nil
	}
	return fmt.Errorf("the repository leads to %s, which is not https", redact(target.String()))
}

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// checkRedirect follows as far as it is safe, and takes credentials to no other host.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	request.Header.Del("Referer")
	if !sameHost(request.URL, via[0].URL) {
		request.Header.Del("Authorization")
	}
	return safe(via[0].URL, request.URL)
}

// get returns a body of at most limit bytes, trying again after what may pass. The repository's credentials go to its
// own host. An index may come compressed; an archive comes as it is.
func (w *web) get(ctx context.Context, repository, target *url.URL, limit int64, compressed bool) ([]byte, error) {
	pause := w.backoff
	for attempt := 1; ; attempt++ {
		data, wait, err := w.once(ctx, repository, target, limit, compressed)
		if err == nil {
			return data, nil
		}
		var passing passingError
		if !errors.As(err, &passing) || attempt == maxAttempts {
			return nil, fmt.Errorf("%s: %w", redact(target.String()), err)
		}
		timer := time.NewTimer(min(max(pause, wait), maxWait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		case <-timer.C:
		}
		pause *= 2
	}
}

// passingError is one that may not come again.
type passingError struct{ error }

func (e passingError) Unwrap() error { return e.error }

func (w *web) once(ctx context.Context, repository, target *url.URL, limit int64, compressed bool) (data []byte, wait time.Duration, err error) {
	response, err := w.send(ctx, repository, target, compressed)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = response.Body.Close() }()
	switch status := response.StatusCode; {
	case status == http.StatusOK:
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= http.StatusInternalServerError:
		seconds, _ := strconv.ParseUint(response.Header.Get("Retry-After"), 10, 16)
		return nil, time.Duration(seconds) * time.Second, passingError{fmt.Errorf("the server answered %d", status)}
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil, 0, fmt.Errorf("the server answered %d; run `docker login %s`", status, target.Host)
	default:
		return nil, 0, fmt.Errorf("the server answered %d", status)
	}
	if response.ContentLength > limit {
		return nil, 0, fmt.Errorf("it has %d bytes, at most %d are read", response.ContentLength, limit)
	}
	body := io.Reader(response.Body)
	if compressed && response.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, 0, err
		}
	}
	data, err = io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return nil, 0, judge(ctx, err)
	case int64(len(data)) > limit:
		return nil, 0, fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, 0, nil
}

// send makes a request, and again with credentials if the repository's host asks for them.
func (w *web) send(ctx context.Context, repository, target *url.URL, compressed bool) (*http.Response, error) {
	ours := sameHost(repository, target)
	host := target.Scheme + "://" + target.Host
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return nil, errors.New("no request can be made of this URL")
		}
		if w.userAgent != "" {
			request.Header.Set("User-Agent", w.userAgent)
		}
		if compressed {
			request.Header.Set("Accept-Encoding", "gzip")
		}
		w.mu.Lock()
		known, asked := w.users[host]
		w.mu.Unlock()
		if ours && known.user != "" {
			request.SetBasicAuth(known.user, known.password)
		}
		response, err := w.client.Do(request)
		if err != nil {
			return nil, judge(ctx, err)
		}
		if response.StatusCode != http.StatusUnauthorized || !ours || asked || !sameHost(response.Request.URL, target) {
			return response, nil
		}
		_ = response.Body.Close()
		user, password, err := w.credentials(ctx, target.Host)
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", target.Host, err)
		}
		w.mu.Lock()
		w.users[host] = login{user, password}
		w.mu.Unlock()
	}
}

// judge takes the URL, which may hold a secret, out of a transport's error, and tells whether it may pass.
func judge(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return passingError{err}
	}
	return err
}

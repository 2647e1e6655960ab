package git

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"

	"github.com/lockage/lockage/internal/redact"
	"github.com/lockage/lockage/internal/retry"
)

const (
	defaultBackoff = 500 * time.Millisecond
	maxBackoff     = time.Minute // the longest pause, whatever a server asks for
)

// httpLink speaks smart HTTP (gitprotocol-http(5)) to one repository.
type httpLink struct {
	client *http.Client
	creds  *credentials
	retry  retry.Policy
	count  *counters
	stay   bool // follows no redirect at all

	authorities bool // http.sslCAInfo names the only ones

	mu   sync.Mutex
	base *url.URL // of the repository, after redirects
	adv  *advertisement
}

// counters are those of Stats.
type counters struct{ bytes, trips atomic.Int64 }

// newHTTPLink returns a link to the repository at an address, which is the remote of a name, if it has one.
func newHTTPLink(a address, conf *config, name string, opts Options, count *counters) (*httpLink, error) {
	transport, err := newTransport(conf, name, a.url, opts)
	if err != nil {
		return nil, err
	}
	follow, _ := conf.lastForURL("http", "followredirects", a.url)
	info, _ := conf.lastForURL("http", "sslcainfo", a.url)
	return &httpLink{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		creds: newCredentials(a, conf, opts), count: count, base: a.url, stay: follow != "" && slices.Contains(off, strings.ToLower(follow)),
		authorities: cmp.Or(opts.getenv("GIT_SSL_CAINFO"), info) != "",
		retry:       retry.Policy{Attempts: maxAttempts, First: cmp.Or(opts.Backoff, defaultBackoff), Longest: maxBackoff},
	}, nil
}

// advertisement returns the server's capabilities, which it asks for once.
func (l *httpLink) advertisement(ctx context.Context) (*advertisement, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.adv != nil {
		return l.adv, nil
	}
	return l.discover(ctx, uploadPack)
}

// The services that a server offers.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

const infoRefs = "/info/refs"

// discover reads info/refs, follows redirects, and keeps the repository's final URL.
func (l *httpLink) discover(ctx context.Context, service string) (*advertisement, error) {
	base := l.base
	for range maxRedirects + 1 {
		body, moved, err := l.do(ctx, base, gitCall(service, http.MethodGet, infoRefs+"?service="+service, nil))
		if err != nil {
			return nil, err
		}
		if moved != nil && l.stay {
			return nil, fmt.Errorf("redirected to %s, and http.followRedirects forbids to go there", redact.URL(moved.String()))
		}
		if moved == nil {
			adv, err := readAdvertisement(newPktReader(io.LimitReader(body, maxAdvertisement)))
			if err = errors.Join(err, body.Close()); err != nil {
				return nil, err
			}
			if l.base = base; service == uploadPack {
				l.adv = adv
			}
			return adv, nil
		}
		path, ok := strings.CutSuffix(moved.Path, infoRefs)
		if !ok || moved.Scheme != "https" && moved.Scheme != base.Scheme {
			return nil, fmt.Errorf("redirected to %s, which is not a path of the same repository", redact.URL(moved.String()))
		}
		base = &url.URL{Scheme: moved.Scheme, Host: moved.Host, Path: path}
	}
	return nil, fmt.Errorf("redirected more than %d times", maxRedirects)
}

func (l *httpLink) references(ctx context.Context, prefixes []string) ([]reference, error) {
	l.mu.Lock()
	known := l.adv != nil
	l.mu.Unlock()
	adv, err := l.advertisement(ctx)
	if err != nil {
		return nil, err
	}
	if adv.version == 2 {
		body, err := l.post(ctx, uploadPack, encodeLsRefs(prefixes))
		if err != nil {
			return nil, err
		}
		refs, err := readLsRefs(io.LimitReader(body, maxAdvertisement))
		return refs, errors.Join(err, body.Close())
	}
	if known {
		// The first list may be old by now.
		l.mu.Lock()
		defer l.mu.Unlock()
		if adv, err = l.discover(ctx, uploadPack); err != nil {
			return nil, err
		}
	}
	return adv.refs, nil
}

// pack sends the request and passes the pack to keep.
func (l *httpLink) pack(ctx context.Context, q request, keep func(io.Reader) error) error {
	adv, err := l.advertisement(ctx)
	if err != nil {
		return err
	}
	body, err := l.post(ctx, uploadPack, q.encode(adv))
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	r, err := openPack(body, q, adv)
	if err != nil {
		return err
	}
	return keep(r)
}

// push implements receiver.
func (l *httpLink) push(ctx context.Context, request func(*advertisement) (*packp.ReferenceUpdateRequest, error)) (*packp.ReportStatus, string, error) {
	l.mu.Lock()
	adv, err := l.discover(ctx, receivePack)
	l.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	req, err := request(adv)
	if err != nil {
		return nil, "", err
	}
	var content bytes.Buffer
	if err := req.Encode(&content); err != nil {
		return nil, "", err
	}
	body, err := l.post(ctx, receivePack, content.Bytes())
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = body.Close() }()
	return readReport(body, req)
}

func (l *httpLink) post(ctx context.Context, service string, content []byte) (io.ReadCloser, error) {
	l.mu.Lock()
	base := l.base
	l.mu.Unlock()
	body, moved, err := l.do(ctx, base, gitCall(service, http.MethodPost, "/"+service, content))
	if err == nil && moved != nil {
		err = fmt.Errorf("redirected to %s after the first request", redact.URL(moved.String()))
	}
	return body, err
}

// call is a request to the server.
type call struct {
	service string // whose credentials it takes
	method  string
	path    string // behind the base
	header  http.Header
	content []byte
	kind    string // what the content type of the answer begins with; "" for any
}

// gitCall returns a request to one of git's services.
func gitCall(service, method, path string, content []byte) call {
	header := http.Header{"Git-Protocol": {"version=2"}}
	if method == http.MethodPost {
		header.Set("Content-Type", "application/x-"+service+"-request")
		header.Set("Accept", "application/x-"+service+"-result")
	}
	return call{service, method, path, header, content, "application/x-" + service + "-"}
}

// do makes a request, again after a fault that may pass, and once more with other credentials that there are. That is safe: the
// server refuses a push that was done, since its old value is gone. It returns a body or a redirect's target.
func (l *httpLink) do(ctx context.Context, base *url.URL, c call) (io.ReadCloser, *url.URL, error) {
	for {
		var res *http.Response
		err := l.retry.Do(ctx, func() (err error) {
			if res, err = l.once(ctx, base, c); err != nil { //nolint:bodyclose // handed to the caller, or closed below and by statusError
				if transient(err) {
					return retry.Again(err, 0)
				}
				return err
			}
			if retry.Status(res.StatusCode) {
				wait, _ := retry.After(res.Header, time.Time{})
				return retry.Again(statusError(res), wait)
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, nil, err
		case res.StatusCode == http.StatusOK:
			l.creds.accept(ctx, base, c.service)
			return &countingBody{ReadCloser: res.Body, n: &l.count.bytes}, nil, nil
		case slices.Contains([]int{301, 302, 303, 307, 308}, res.StatusCode):
			_ = res.Body.Close()
			moved, err := res.Location()
			if err != nil {
				return nil, nil, errors.New("the server redirects without an address")
			}
			return nil, moved, nil
		}
		refused := statusError(res)
		if !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, res.StatusCode) {
			return nil, nil, refused
		}
		if again, err := l.creds.refused(ctx, base, c.service, res); err != nil || !again {
			return nil, nil, errors.Join(err, refused)
		}
	}
}

func (l *httpLink) once(ctx context.Context, base *url.URL, c call) (*http.Response, error) {
	target := base.String()
	if c.path != "" {
		target = strings.TrimRight(target, "/") + c.path
	}
	if base.RawQuery != "" && c.path != "" {
		return nil, errors.New("a query in a repository's URL is not supported")
	}
	req, err := http.NewRequestWithContext(ctx, c.method, target, bytes.NewReader(c.content))
	if err != nil {
		return nil, errors.New("the remote's URL is malformed")
	}
	for key, values := range c.header {
		req.Header[key] = slices.Clone(values)
	}
	req.Header.Set("User-Agent", "git/lockage") // some servers serve git to git only
	if req.Header.Get("Authorization") == "" {
		if err := l.creds.apply(req, base, c.service); err != nil {
			return nil, err
		}
	}
	l.count.trips.Add(1)
	res, err := l.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // it adds the URL, which the caller names
		}
		return nil, explain(err, l.authorities)
	}
	if res.StatusCode == http.StatusOK {
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if !strings.HasPrefix(kind, c.kind) {
			_ = res.Body.Close()
			return nil, fmt.Errorf("the response is not git's (content type %q): check the URL", harmless(kind))
		}
	}
	return res, nil
}

// statusFault is an unsuccessful answer of a server.
type statusFault struct {
	status int
	text   string
}

func (f *statusFault) Error() string { return f.text }

// statusError closes a response's body, and returns its status with the next step.
func statusError(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxMessage))
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusUnauthorized:
		if res.Request != nil && res.Request.Header.Get("Authorization") != "" {
			return errors.New("authentication failed (HTTP 401): the server refuses the credentials of LOCKAGE_GIT_TOKEN, the git credential helper or http.extraHeader: set others")
		}
		return errors.New("authentication failed (HTTP 401): set LOCKAGE_GIT_TOKEN (for servers that a remote of the checkout has), a git credential helper or http.extraHeader")
	case http.StatusForbidden:
		return fmt.Errorf("access denied (HTTP 403) %s: check what the credentials allow", harmless(string(text)))
	case http.StatusProxyAuthRequired:
		return errors.New(proxyRefuses)
	case http.StatusNotFound:
		return &statusFault{res.StatusCode, "no such repository, or none that these credentials may see (HTTP 404): check the URL, and LOCKAGE_GIT_TOKEN or the credential helper"}
	}
	return &statusFault{res.StatusCode, fmt.Sprintf("the server answered HTTP %d %s", res.StatusCode, harmless(string(text)))}
}

// transient reports whether to repeat a request. Not after a timeout: a server that packed for minutes would do so again.
func transient(err error) bool {
	var op *net.OpError
	var alert tls.AlertError // of the server, which stays with it
	return errors.As(err, &op) && !errors.As(err, &alert) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || retry.Ended(err)
}

// countingBody counts the bytes read.
type countingBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countingBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

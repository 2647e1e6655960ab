package oci

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	orasretry "oras.land/oras-go/v2/registry/remote/retry"

	"github.com/lockage/lockage/internal/memo"
	"github.com/lockage/lockage/internal/retry"
)

const (
	defaultMaxRetryWait = time.Minute
	// maxIdlePerHost lets concurrent pushes to one registry keep their connections; net/http would close all but two.
	maxIdlePerHost = 32
)

// Options configure a [Client]. The zero value is ready to use.
type Options struct {
	// Credentials finds the credential for a repository; nil means [DockerCredentials].
	Credentials CredentialFunc
	// UserAgent is sent with every request, if not empty.
	UserAgent string
	// Transport carries the requests; nil means a copy of net/http's default. Retries and authentication are laid over it.
	Transport http.RoundTripper
	// MaxRetryWait bounds one wait between two attempts, Retry-After included; zero means a minute.
	MaxRetryWait time.Duration
	// BaseDir is where relative directories of image layouts begin; empty means the working directory.
	BaseDir string
	// Warn receives each warning of a registry once, and notices of long waits, from several goroutines.
	Warn func(message string)
}

// Client opens repositories. They share connections, tokens and credentials. It is safe for concurrent use.
type Client struct {
	options Options
	auth    *authenticator
	jitter  func() float64 // in [0, 1)

	mu     sync.Mutex
	opened map[string]*Repository
	warned sync.Map // messages
	hosts  sync.Map // name → *host

	// contents are blobs and manifests that were read from repositories or written to them, so that no run reads one twice. They are
	// looked up by digest, and verified again.
	contents memo.Recent[contentKey, []byte]
}

type contentKey struct {
	repository string
	manifest   bool
	digest     digest.Digest
}

// maxContents bounds the blobs and manifests that a client keeps, in bytes.
const maxContents = 32 << 20

// NewClient returns a client. It looks up credentials when a registry asks for them.
func NewClient(options Options) *Client {
	c := &Client{
		options: options,
		jitter:  rand.Float64,
		opened:  map[string]*Repository{},
	}
	c.contents.Limit = maxContents
	credentials := options.Credentials
	if credentials == nil {
		credentials = dockerCredentials()
	}
	transport := cmp.Or(options.Transport, http.DefaultTransport)
	if t, ok := transport.(*http.Transport); ok && options.Transport == nil {
		t = t.Clone()
		t.MaxIdleConnsPerHost = maxIdlePerHost
		t.DisableCompression = true // net/http would unpack layers that servers label as gzip-encoded
		transport = t
	}
	wait := cmp.Or(options.MaxRetryWait, defaultMaxRetryWait)
	c.auth = &authenticator{
		http: &http.Client{
			Transport:     newRetrier(newPacer(transport, wait), wait, c.jitter, c.warnOf),
			CheckRedirect: checkRedirect,
		},
		credentials: remember(credentials),
		userAgent:   options.UserAgent,
		lookup:      lookup,
	}
	return c
}

// Repository opens "host[:port]/path" or the layout "oci-layout:DIR", without a request. The same name is the same value.
func (c *Client) Repository(name string) (*Repository, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.opened[name]; ok {
		return r, nil
	}
	r := &Repository{name: name}
	if dir, ok := strings.CutPrefix(name, layoutPrefix); ok {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(c.options.BaseDir, dir)
		}
		r.backend = newLayout(dir)
	} else {
		backend, err := newRemote(name, c)
		if err != nil {
			return nil, fmt.Errorf("repository %q: %w", name, err)
		}
		r.backend, r.host = backend, backend.host
	}
	c.opened[name] = r
	return r, nil
}

// warn passes a message on, once.
func (c *Client) warn(message string) { c.warnOf(message, message) }

// warnOf passes a message on, if it is the first about something.
func (c *Client) warnOf(what, message string) {
	if c.options.Warn == nil {
		return
	}
	if _, known := c.warned.LoadOrStore(what, true); !known {
		c.options.Warn(harmless(message))
	}
}

const (
	maxRetries  = 6
	maxRefusals = 12 // retries after 429, which only says that it is too early
	firstWait   = 250 * time.Millisecond
	noticedWait = 2 * time.Second // longer waits are reported
)

// retries repeats transient failures. oras-go's own policy waits three seconds at most and reads Retry-After on 429 only.
type retries struct {
	maxWait time.Duration
	jitter  func() float64
	warn    func(what, message string)
}

func newRetrier(base http.RoundTripper, maxWait time.Duration, jitter func() float64, warn func(what, message string)) http.RoundTripper {
	policy := retries{maxWait, jitter, warn}
	return &orasretry.Transport{Base: base, Policy: func() orasretry.Policy { return policy }}
}

// Retry implements oras-go's policy: it returns the wait before the request is made again, a negative one for never.
func (r retries) Retry(attempt int, resp *http.Response, err error) (time.Duration, error) {
	const never = -1
	switch {
	case err != nil && !retry.Transient(err):
		return never, err
	case err == nil && !retry.Status(resp.StatusCode):
		return never, nil
	case err == nil && resp.StatusCode != http.StatusTooManyRequests && resp.Request.URL.Query().Has("mount"):
		return never, nil // the blob is sent instead
	case attempt >= maxRefusals, attempt >= maxRetries && (err != nil || resp.StatusCode != http.StatusTooManyRequests):
		return never, nil
	}
	wait := time.Duration(float64(firstWait) * math.Pow(2, float64(attempt)) * (0.75 + r.jitter()/2))
	if err != nil {
		return min(wait, r.maxWait), nil
	}
	asked, _ := retry.After(resp.Header, time.Time{})
	if wait = min(max(wait, asked), r.maxWait); wait >= noticedWait {
		what := fmt.Sprintf("%s answered %s", resp.Request.URL.Host, resp.Status)
		r.warn(what, fmt.Sprintf("%s; trying again in %s", what, wait.Round(time.Second)))
	}
	return wait, nil
}

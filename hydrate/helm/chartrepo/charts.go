// Package chartrepo fetches packaged Helm charts from the repositories in Chart.lock, and those that a lock names by digest.
//
// # Where from
//
// A repository is one of
//
//   - oci://HOST[:PORT]/PATH: the chart NAME of version V is the artifact HOST[:PORT]/PATH/NAME:V ("+" in a version is "_"
//     in a tag), a manifest with the config application/vnd.cncf.helm.config.v1+json and the chart as a layer
//     (helm.sh/docs/topics/registries);
//   - https://HOST/PATH: a chart repository (helm.sh/docs/topics/chart_repository), whose index.yaml is read and then the
//     archive of the entry's first URL: relative to the repository, https, or oci://.
//
// Plain HTTP is used for loopback hosts only, and no https repository can redirect to it.
//
// # What is checked
//
// The archive's Chart.yaml has exactly the requested name and version. The archive has the digest in the index, if any, or
// in the OCI manifest. Everything that is read is bounded: see the constants. Nothing is unpacked to disk.
//
// # Credentials
//
// Registries receive those that package oci finds. A chart repository that responds with 401, 403 or 404, as some hide what they have,
// receives Docker's credentials for its host and path, as basic authentication; archives and redirects of another origin (package
// internal/origin) receive none. A repository with a password in its URL is refused. Errors never show a URL's user or query.
//
// # The cache
//
// Archives are kept below charts/ of the cache folder under their SHA-256, with a note for each repository, name and
// version. A cached archive takes no request. Files are renamed into place, so that processes may share the folder; damaged
// ones are fetched again. An archive without a digest in its index has no note: it is fetched once a run.
//
// Neither Chart.lock nor a tag fixes an archive's bytes: the owner of the repository can replace it. Callers record the
// digest of the archive, or ask for one by its digest ([Fetcher.Pinned]), which a note does not decide. Without charts/ in the cache
// folder, everything is fetched again.
package chartrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/redact"
	"github.com/lockage/lockage/oci"
)

// Bounds on everything that is read.
const (
	MaxArchiveBytes  = 32 << 20  // a packaged chart, compressed
	MaxUnpackedBytes = 256 << 20 // the files of an archive and of the archives in it together
	MaxFiles         = 20_000    // the number of these files
	MaxIndexBytes    = 64 << 20  // an index.yaml, decompressed

	maxNesting   = 8 // of archives in archives
	maxRedirects = 5
	maxNameBytes = 250
)

// Options configure a [Fetcher].
type Options struct {
	// CacheDir holds archives, below "charts/". It is created when needed.
	CacheDir string
	// Registries opens OCI repositories; nil means a client of its own.
	Registries *oci.Client
	// Transport carries the requests to chart repositories; nil means a copy of net/http's default.
	Transport http.RoundTripper
	// Credentials finds a user, "" for none, and password for a chart repository's host[:port]/path; nil asks Docker's.
	Credentials func(ctx context.Context, name string) (user, password string, err error)
	// UserAgent is sent with every request, if not empty.
	UserAgent string
	// Backoff is the first pause before a request is repeated; it doubles each time. 0 is half a second.
	Backoff time.Duration
}

// Fetcher fetches charts, each once. It is safe for concurrent use.
type Fetcher struct {
	cache      cache
	registries *oci.Client
	web        *web
	wanted     sync.Map // pin → *sync.Mutex
	indexes    indexes
}

// New returns a fetcher. It reads nothing.
func New(options Options) *Fetcher {
	if options.Registries == nil {
		options.Registries = oci.NewClient(oci.Options{UserAgent: options.UserAgent, MaxRetryWait: maxWait})
	}
	return &Fetcher{
		cache:      cache{dir: options.CacheDir, known: map[pin]string{}},
		registries: options.Registries,
		web:        newWeb(options),
	}
}

// pin is one version of a chart in its repository.
type pin struct{ repository, name, version string }

func (p pin) String() string {
	return fmt.Sprintf("chart %s %s of %s", p.name, p.version, redact.URL(p.repository))
}

var (
	validName    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]*$`)
	validVersion = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+){0,2}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)
)

// Archive returns the packaged chart, a gzipped tar, of this name and exact version, which a Chart.lock or Chart.yaml names.
func (f *Fetcher) Archive(ctx context.Context, repository, name, version string) ([]byte, error) {
	p, where, err := parse(repository, name, version)
	if err != nil {
		return nil, err
	}
	defer f.alone(p)()
	data, err := f.cache.get(p)
	if data != nil || err != nil {
		return data, err
	}
	data, named, err := f.fetch(ctx, where, p)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoChart) {
		err = fmt.Errorf("%w; run `helm dependency update` on the chart and commit Chart.lock", err)
	}
	if err != nil {
		return nil, err
	}
	return data, f.cache.put(p, data, named)
}

// Current returns the packaged chart that the repository has now of this name and exact version. The error is [fs.ErrNotExist] for none.
func (f *Fetcher) Current(ctx context.Context, repository, name, version string) ([]byte, error) {
	p, where, err := parse(repository, name, version)
	if err != nil {
		return nil, err
	}
	data, _, err := f.fetch(ctx, where, p)
	return data, err
}

// Pinned returns the packaged chart of this name and exact version whose archive has a SHA-256, in hexadecimal.
func (f *Fetcher) Pinned(ctx context.Context, repository, name, version, sum string) ([]byte, error) {
	p, where, err := parse(repository, name, version)
	if err != nil {
		return nil, err
	}
	defer f.alone(p)()
	data, err := f.cache.find(sum)
	if err != nil {
		return nil, err
	}
	if data != nil {
		return data, inspect(data, name, version)
	}
	if data, _, err = f.fetch(ctx, where, p); err != nil {
		return nil, err
	}
	if got := digest(data); got != sum {
		return nil, fmt.Errorf("%s: the repository has the archive sha256:%s now, and sha256:%s is locked: its owner replaced it", p, got, sum)
	}
	return data, write(f.cache.archive(sum), data)
}

// Versions lists the versions of a chart in its repository.
func (f *Fetcher) Versions(ctx context.Context, repository, name string) (versions []string, err error) {
	p, where, err := parse(repository, name, anyVersion)
	if err != nil {
		return nil, err
	}
	if where.Scheme == ociScheme {
		versions, err = f.tags(ctx, p.artifact(where))
	} else {
		versions, err = f.indexed(ctx, where, name)
	}
	if err != nil {
		return nil, fmt.Errorf("chart %s of %s: %w", name, redact.URL(p.repository), err)
	}
	return versions, nil
}

// anyVersion is a version for requests that name none.
const anyVersion = "0.0.0"

// parse checks a name and version, and parses the repository's URL.
func parse(repository, name, version string) (pin, *url.URL, error) {
	p := pin{strings.TrimRight(repository, "/"), name, version}
	if len(name) > maxNameBytes || !validName.MatchString(name) {
		return p, nil, fmt.Errorf("invalid chart name %q", name)
	}
	if len(version) > maxNameBytes || !validVersion.MatchString(version) {
		return p, nil, fmt.Errorf("chart %s: %q is not an exact version", name, version)
	}
	where, err := parseRepository(p.repository)
	if err != nil {
		return p, nil, fmt.Errorf("chart %s: %w", name, err)
	}
	return p, where, nil
}

// alone waits until nobody else fetches the chart, and returns what lets others.
func (f *Fetcher) alone(p pin) (done func()) {
	wanted, _ := f.wanted.LoadOrStore(p, new(sync.Mutex))
	one, _ := wanted.(*sync.Mutex)
	one.Lock()
	return one.Unlock
}

// fetch fetches the chart, and reports whether the repository names the archive's digest. The error is [fs.ErrNotExist] if it has no such
// chart or version.
func (f *Fetcher) fetch(ctx context.Context, where *url.URL, p pin) (data []byte, named bool, err error) {
	if where.Scheme == ociScheme {
		data, err = f.pull(ctx, p.artifact(where), strings.ReplaceAll(p.version, "+", "_"))
		named = true
	} else {
		data, named, err = f.download(ctx, where, p)
	}
	if err == nil {
		err = inspect(data, p.name, p.version)
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", p, err)
	}
	return data, named, nil
}

// artifact returns the repository that a registry has the chart in.
func (p pin) artifact(where *url.URL) string { return where.Host + where.Path + "/" + p.name }

const ociScheme = "oci"

// parseRepository parses a repository's URL in Chart.yaml, Chart.lock or a lock.
func parseRepository(repository string) (*url.URL, error) {
	u, err := url.Parse(repository)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, fmt.Errorf("repository %q: invalid URL; write oci://HOST/PATH or https://HOST/PATH", redact.URL(repository))
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("repository %s: its URL holds a user or password, which anybody who reads the chart can use; "+
			"remove it and run `docker login %s`", redact.URL(repository), u.Host)
	case u.Scheme == ociScheme, u.Scheme == "https", u.Scheme == "http" && loopback.Is(u.Host):
		return u, nil
	case u.Scheme == "http":
		return nil, fmt.Errorf("repository %s: charts are fetched over plain HTTP from this machine only; write https://", redact.URL(repository))
	}
	return nil, fmt.Errorf("repository %s: charts come from oci:// and https:// repositories", redact.URL(repository))
}

// dockerCredentials finds credentials as Docker does.
func dockerCredentials(ctx context.Context, name string) (user, password string, err error) {
	find, err := oci.DockerCredentials(os.Getenv)
	if err != nil {
		return "", "", err
	}
	credential, err := find(ctx, name)
	return credential.Username, credential.Password, err
}

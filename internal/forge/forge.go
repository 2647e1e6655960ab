// Package forge opens and keeps pull requests, reads their reviews and the rules of branches, and writes comments and commit statuses,
// on GitHub, GitLab, and Gitea or Forgejo. It is the only home of their client libraries, and knows nothing of what is reviewed.
//
// # Promises
//
//   - Every write is made once. The state is looked up first, and only differences are written. A pull request whose
//     creation failed in an unknown state, or that somebody else opened meanwhile, is looked for and adopted; a head and a
//     base never have a second one. (Gitea may open two for two concurrent requests; all but the first are closed at once.)
//   - Only branches of the repository itself count: a fork's branch of the same name is never taken for ours.
//   - Limits of the forge are obeyed: Retry-After, the X-RateLimit and RateLimit headers and GitHub's secondary limits
//     (https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api). A request waits up to
//     [MaxWait]; a longer wait is a [RateLimitError] with the time of the next request.
//   - Everything read is bounded: [MaxResponse] a response, twenty pages a list.
//
// # Which forge
//
// [Options.Kind], else a host that everybody knows (github.com, *.ghe.com, gitlab.com, gitea.com, codeberg.org), else the
// variable LOCKAGE_FORGE (github, gitlab or gitea), else the server that a CI job runs on (GITHUB_SERVER_URL, which Gitea
// and Forgejo set too, or CI_SERVER_URL), else at most three unauthenticated requests to the repository's host.
// LOCKAGE_FORGE_URL is the address of a forge that does not follow from the remote's (ssh with a web port of its own, a
// path before all repositories); it applies to remotes of the same host name, and then LOCKAGE_FORGE names the kind of that
// server only.
//
// # Which token
//
// A token is sent to one host, over TLS unless that host is this machine, and follows no redirect away from it.
//
//   - [Options.Token] and LOCKAGE_FORGE_TOKEN are lockage's own: they are sent to the forge of the repository that is
//     opened.
//   - The others belong to other programs, and are sent only to a host known to be of their kind, never to one that merely
//     responds like it: the server of the CI job if the job is of that kind, else the hosts that everybody knows, and a
//     host whose kind LOCKAGE_FORGE names. They are GITHUB_TOKEN and GH_TOKEN; GITLAB_TOKEN; GITEA_TOKEN and FORGEJO_TOKEN.
//     In a job of GitHub, Gitea or Forgejo GITHUB_TOKEN is the job's own and is sent to the job's server only.
//
// GitLab's CI_JOB_TOKEN is not used: it cannot open merge requests. Without a token the error is [ErrNoToken], and
// [CompareURL] is the link on which a person opens the pull request.
package forge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lockage/lockage/internal/retry"
)

// Kind is a family of forges with one API.
type Kind string

// The kinds of forges.
const (
	GitHub Kind = "github"
	GitLab Kind = "gitlab"
	Gitea  Kind = "gitea" // and Forgejo
)

var (
	// ErrNoToken is returned if no token is configured for the repository's forge.
	ErrNoToken = errors.New("no API token")
	// ErrNoForge is returned if a repository is not on a forge: a folder, a bundle, or an address of another scheme.
	ErrNoForge = errors.New("not on a forge")
	// ErrUnknownForge is returned if the kind of a forge cannot be determined.
	ErrUnknownForge = errors.New("unknown kind of forge")
)

// Unavailable reports whether an error of Open means that no forge is available, rather than one that fails: people open
// pull requests themselves.
func Unavailable(err error) bool {
	return errors.Is(err, ErrNoToken) || errors.Is(err, ErrNoForge) || errors.Is(err, ErrUnknownForge)
}

// Options describe the environment. The zero value works, without any token.
type Options struct {
	Kind  Kind   // empty: determined, see the package documentation
	Token string // empty: the environment's

	Getenv    func(string) string                              // nil: an empty environment
	Transport http.RoundTripper                                // nil: http.DefaultTransport
	UserAgent string                                           // empty: lockage
	Now       func() time.Time                                 // nil: time.Now; compared with the times of rate limits
	Sleep     func(ctx context.Context, d time.Duration) error // nil: a timer; returns early with the context's error
}

func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	o.Transport = cmp.Or(o.Transport, http.DefaultTransport)
	o.UserAgent = cmp.Or(o.UserAgent, "lockage")
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = retry.Sleep
	}
	return o
}

// Repository is one repository on a forge. Its methods may be used by several goroutines; writes take turns.
type Repository struct {
	*family
	root    *url.URL // of the forge's web pages
	path    string   // owner/name; GitLab's owners have slashes
	driver  driver
	options Options
}

// driver makes the requests of one family.
type driver interface {
	pulls
	reviews
	comments
	statuses
	protections
}

// family is what distinguishes a kind of forge before any request. A new kind is a file with a driver and its family, and a
// line in families.
type family struct {
	kind      Kind
	hosts     []string // that everybody knows; one that begins with a dot includes all below it
	tokens    []string // variables, the preferred first
	access    string   // what a token needs
	maxText   int      // characters of a pull request's or comment's text
	sign      string   // before a pull request's number
	nested    bool     // owners may have slashes
	below     bool     // it may be installed below a path, which precedes owner/name
	version   string   // path whose response identifies the family, without a token
	commit    string   // path of a commit's page, below the repository's
	recognise func(version answer) bool
	compare   func(repository *url.URL, base, head string) // makes the repository's page the one that compares
	api       func(root *url.URL, wellKnown bool)          // makes the root of the web pages that of the API
	connect   func(client *http.Client, api *url.URL, path string) (driver, error)
}

var families = []*family{&gitHubFamily, &gitLabFamily, &giteaFamily}

// familyOf returns nil for an unknown kind.
func familyOf(kind Kind) *family {
	i := slices.IndexFunc(families, func(f *family) bool { return f.kind == kind })
	if i < 0 {
		return nil
	}
	return families[i]
}

func (k Kind) unknown() error {
	return fmt.Errorf("%w %q: use github, gitlab or gitea", ErrUnknownForge, k)
}

// Open prepares the use of the repository behind a Git remote: https, ssh or scp-like, with or without «.git»; credentials
// in it are ignored. It makes no request except to determine the kind of an unknown host. Errors are [ErrNoForge],
// [ErrNoToken] (checked before any request) and [ErrUnknownForge], with the next step.
func Open(ctx context.Context, repositoryURL string, o Options) (*Repository, error) {
	o = o.withDefaults()
	at, err := locate(repositoryURL, o)
	if err != nil {
		return nil, err
	}
	token := o.Token
	if token == "" {
		if token, err = at.token(); err != nil {
			return nil, err
		}
	}
	if at.kind == "" {
		if at.kind, err = probe(ctx, at, o); err != nil {
			return nil, err
		}
	}
	path, err := at.repository()
	if err != nil {
		return nil, err
	}
	r := &Repository{family: familyOf(at.kind), root: at.root, path: path, options: o}
	if r.family == nil {
		return nil, at.kind.unknown()
	}
	api := at.api()
	client := &http.Client{
		Transport:     &transport{Options: o, host: api.Host, token: token, paced: at.kind == GitHub},
		CheckRedirect: checkRedirect,
	}
	r.driver, err = r.connect(client, api, path)
	return r, err
}

// Kind returns which API the repository's forge has.
func (r *Repository) Kind() Kind { return r.kind }

// String returns host/owner/name.
func (r *Repository) String() string { return r.root.Host + r.root.Path + "/" + r.path }

// CompareURL returns the page on which a person compares head with base and opens the pull request. It makes no request and
// needs no token; it is empty if the kind of forge is not known without a request, or the repository is not on a forge.
func CompareURL(repositoryURL, base, head string, o Options) string {
	family, page := webPage(repositoryURL, o)
	if family == nil {
		return ""
	}
	family.compare(page, base, head)
	return page.String()
}

// CommitURL returns the page of a commit of any repository, under the conditions of [CompareURL]; on r's host it knows the
// kind of forge.
func (r *Repository) CommitURL(repositoryURL, commit string) string {
	o := r.options
	if at, err := parseRemote(repositoryURL); err == nil && at.host == r.root.Host {
		o.Kind = r.kind
	}
	family, page := webPage(repositoryURL, o)
	if family == nil || commit == "" {
		return ""
	}
	page.Path += family.commit + commit
	return page.String()
}

// webPage returns the page of a repository, and no family if that takes a request or the repository is not on a forge.
func webPage(repositoryURL string, o Options) (*family, *url.URL) {
	at, err := locate(repositoryURL, o.withDefaults())
	if err != nil {
		return nil, nil
	}
	path, err := at.repository()
	if err != nil {
		return nil, nil
	}
	page := *at.root
	page.Path += "/" + path
	return familyOf(at.kind), &page
}

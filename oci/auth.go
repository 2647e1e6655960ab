package oci

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/lockage/lockage/internal/origin"
)

const (
	// maxAnswers bounds how often a request is made: without or with what was granted before, with a grant that others share, and with
	// one of its own, for registries whose tokens are good for one request or expire in between.
	maxAnswers   = 3
	maxRedirects = 10
)

// authenticator makes requests to registries, and answers their challenges. It keeps what they granted.
type authenticator struct {
	http        *http.Client
	credentials CredentialFunc
	userAgent   string
	lookup      func(ctx context.Context, host string) ([]net.IPAddr, error)

	grants sync.Map // repository → *grant
	basic  sync.Map // host → true: it has asked for a user and password, and gets them from then on
}

// repositoryID names a repository for challenges and credentials.
type repositoryID struct {
	name string   // host[:port]/path, as it was opened
	path string   // in the scopes of tokens
	base *url.URL // of its requests
}

// grant is what a repository asked for, and what is sent since.
type grant struct {
	mu      sync.Mutex
	bearer  *challenge
	header  string   // Authorization; empty for none
	actions []string // what a token was asked for

	revealing sync.Once
}

// checkRedirect follows redirects that are as safe, and sends credentials to no other origin, nor back from one. It leaves those to the
// caller after which net/http would read what was to be written.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if req.Method != via[len(via)-1].Method {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("redirected more than %d times", maxRedirects)
	}
	first := via[0].URL
	if !origin.Safe(first, req.URL) {
		return fmt.Errorf("redirected to %s, which is not https", req.URL.Host)
	}
	left := func(r *http.Request) bool { return !origin.Same(first, r.URL) }
	if left(req) || slices.ContainsFunc(via, left) {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer")
	return nil
}

func (a *authenticator) identify(req *http.Request) {
	if a.userAgent != "" {
		req.Header.Set("User-Agent", a.userAgent)
	}
}

// do makes a request that needs permission for actions in a repository. Another origin gets no credentials.
func (a *authenticator) do(req *http.Request, repo repositoryID, actions []string) (*http.Response, error) {
	a.identify(req)
	if !origin.Same(repo.base, req.URL) {
		return a.send(req, "")
	}
	known, _ := a.grants.LoadOrStore(repo.name, new(grant))
	g, _ := known.(*grant)
	header, err := a.authorization(req.Context(), g, repo, actions)
	for attempt := 1; err == nil; attempt++ {
		var resp *http.Response
		if resp, err = a.send(req, header); err != nil {
			break
		}
		if attempt == maxAnswers || resp.Request != nil && !origin.Same(req.URL, resp.Request.URL) {
			return resp, nil
		}
		var next string
		switch status := resp.StatusCode; {
		case status == http.StatusUnauthorized:
			next, err = a.answer(req.Context(), g, repo, actions, resp.Header, header, attempt)
		case header == "" && (status == http.StatusForbidden || status == http.StatusNotFound):
			next = a.reveal(req.Context(), g, repo, actions)
		}
		if err == nil && (next == "" || next == header) {
			return resp, nil
		}
		_ = resp.Body.Close()
		header = next
	}
	return nil, err
}

// send makes a request once, so that it can be made again, and goes where a server moves it to, with its method.
func (a *authenticator) send(req *http.Request, header string) (*http.Response, error) {
	to := req.URL
	for moves := 0; ; moves++ {
		again := req.Clone(req.Context())
		again.URL, again.Host = to, ""
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			again.Body = body
		}
		if header != "" {
			again.Header.Set("Authorization", header)
		}
		resp, err := a.http.Do(again)
		if err != nil || resp.StatusCode != http.StatusMovedPermanently && resp.StatusCode != http.StatusFound {
			return resp, err
		}
		_ = resp.Body.Close()
		if to, err = resp.Location(); err != nil {
			return nil, fmt.Errorf("redirected without a valid address: %w", err)
		}
		if !origin.Safe(req.URL, to) {
			return nil, fmt.Errorf("redirected to %s, which is not https", to.Host)
		}
		if !origin.Same(req.URL, to) || !origin.Same(req.URL, resp.Request.URL) {
			header = ""
		}
		if moves == maxRedirects {
			return nil, fmt.Errorf("redirected more than %d times", maxRedirects)
		}
	}
}

// authorization returns what is sent at once: what was granted before, or a token for more actions.
func (a *authenticator) authorization(ctx context.Context, g *grant, repo repositoryID, actions []string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch _, asks := a.basic.Load(repo.base.Host); {
	case g.bearer != nil && !covers(g.actions, actions):
		return a.renew(ctx, g, repo, actions, *g.bearer, true)
	case g.header == "" && asks:
		if cred, err := a.credentials(ctx, repo.name); err == nil {
			g.header, _ = basic(cred)
		}
	}
	return g.header, nil
}

// knows reports whether there are credentials for a repository.
func (a *authenticator) knows(ctx context.Context, repo repositoryID) bool {
	cred, err := a.credentials(ctx, repo.name)
	return err == nil && cred != (Credential{})
}

// takesTokens reports whether the registry asked for a token of a repository, by its name.
func (a *authenticator) takesTokens(name string) bool {
	known, _ := a.grants.LoadOrStore(name, new(grant))
	g, _ := known.(*grant)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bearer != nil
}

func covers(granted, actions []string) bool {
	return !slices.ContainsFunc(actions, func(action string) bool { return !slices.Contains(granted, action) })
}

// answer returns the Authorization header for a request that was refused with the header sent: the one that another request got
// meanwhile, or a new one. It is the same one again if the registry refuses a password.
func (a *authenticator) answer(ctx context.Context, g *grant, repo repositoryID, actions []string, refused http.Header, sent string, attempt int) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if attempt == 1 && g.header != sent && g.header != "" && covers(g.actions, actions) {
		return g.header, nil
	}
	all := challenges(refused)
	if len(all) == 0 {
		return "", nil
	}
	var problem error
	for _, c := range all {
		if c.scheme == schemeBearer {
			header, err := a.renew(ctx, g, repo, actions, c, attempt == 1)
			if err == nil {
				return header, nil
			}
			problem = cmp.Or(problem, err)
		}
	}
	if slices.ContainsFunc(all, func(c challenge) bool { return c.scheme == schemeBasic }) {
		cred, err := a.credentials(ctx, repo.name)
		if err != nil {
			return "", credentialError{repo.name, err}
		}
		header, err := basic(cred)
		if err != nil {
			return "", cmp.Or(problem, err)
		}
		g.header, g.bearer, g.actions = header, nil, actions
		a.basic.Store(repo.base.Host, true)
		return header, nil
	}
	if problem == nil {
		var schemes []string
		for _, c := range all {
			schemes = append(schemes, c.scheme)
		}
		problem = fmt.Errorf("the registry asks for authentication by %s, and lockage knows basic and bearer", strings.Join(schemes, ", "))
	}
	return "", problem
}

// renew gets a token for the actions and those that were granted before, or for the actions alone if the service refuses that. Others
// use it too if it is shared.
func (a *authenticator) renew(ctx context.Context, g *grant, repo repositoryID, actions []string, c challenge, shared bool) (string, error) {
	cred, err := a.credentials(ctx, repo.name)
	if err != nil {
		return "", credentialError{repo.name, err}
	}
	wanted := slices.Compact(slices.Sorted(slices.Values(slices.Concat(g.actions, actions))))
	header, err := a.token(ctx, repo.base, c, cred, scopes(repo, wanted, c))
	if err != nil && len(wanted) > len(actions) && ctx.Err() == nil {
		wanted = actions
		header, err = a.token(ctx, repo.base, c, cred, scopes(repo, wanted, c))
	}
	if err == nil && shared {
		g.bearer, g.header, g.actions = &c, header, wanted
	}
	return header, err
}

// scopes returns the scopes of a token for actions in a repository, with what the challenge asks for beside.
func scopes(repo repositoryID, actions []string, c challenge) []string {
	own := "repository:" + repo.path + ":"
	var others []string
	for _, scope := range strings.Fields(c.params["scope"]) {
		if more, ok := strings.CutPrefix(scope, own); ok {
			actions = slices.Concat(actions, strings.Split(more, ","))
		} else {
			others = append(others, scope)
		}
	}
	actions = slices.Sorted(slices.Values(actions))
	return append([]string{own + strings.Join(slices.Compact(actions), ",")}, others...)
}

// reveal returns an Authorization header for a registry that hides what it has from a user that is not logged in: if there are
// credentials, the registry is asked how it wants them, once.
func (a *authenticator) reveal(ctx context.Context, g *grant, repo repositoryID, actions []string) string {
	g.revealing.Do(func() {
		if cred, err := a.credentials(ctx, repo.name); err != nil || cred == (Credential{}) {
			return
		}
		root := *repo.base
		root.Path = "/v2/"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, root.String(), nil)
		if err != nil {
			return
		}
		a.identify(req)
		resp, err := a.http.Do(req)
		if err != nil {
			return
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized {
			_, _ = a.answer(ctx, g, repo, actions, resp.Header, "", 1) // what it refused before is the better error
		}
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.header
}

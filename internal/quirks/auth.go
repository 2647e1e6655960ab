package quirks

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// slowToken is how long a slow token service takes.
const slowToken = 200 * time.Millisecond

// auth is how a registry wants to know its users; the zero value lets everybody in.
type auth struct {
	basic, bearer, negotiate bool

	hides   bool // answers 404 to a user that is not logged in
	uses    int  // requests that a token is good for; 0 for any number
	uploads bool // a token ends when an upload begins
	failing bool // the token service fails at every second request
	slow    bool // it takes its time, so that many wait for it
}

// token is what a token lets its owner do.
type token struct {
	scopes []string
	used   int
}

func (q *Registry) auth() auth {
	var a auth
	for _, one := range q.on {
		if one.auth != nil {
			one.auth(&a)
		}
	}
	return a
}

func password() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(User+":"+Password))
}

// refuse answers a request that may not be made.
func (q *Registry) refuse(w http.ResponseWriter, r *http.Request) bool {
	a, sent := q.auth(), r.Header.Get("Authorization")
	switch {
	case !a.basic && !a.bearer:
		if sent != "" {
			q.wrong("%s %s: credentials were sent, and nothing asked for them", r.Method, r.URL.Path)
		}
		return false
	case a.basic && sent == password(), a.bearer && q.spend(a, r, strings.TrimPrefix(sent, "Bearer ")):
		return false
	case strings.HasPrefix(sent, "Basic ") && sent != password():
		q.wrong("%s %s: a wrong password was sent", r.Method, r.URL.Path)
	case a.hides && sent == "" && r.URL.Path != "/v2/":
		q.fires("hides-from-unknown", true)
		return fail(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
	}
	if q.fires("negotiate", a.negotiate) {
		w.Header().Add("WWW-Authenticate", "Negotiate")
	}
	if q.fires("bearer", a.bearer) {
		host := q.options.Tokens
		if host == "" {
			host = r.Host
		}
		w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s://%s/token",service="the, registry",scope="repository:%s:pull"`, scheme(r), host, repository(r)))
	}
	if q.fires("basic", a.basic) {
		w.Header().Add("WWW-Authenticate", `Digest realm="x, y", Basic realm="registry"`)
	}
	return fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

// spend reports whether a token lets its owner make a request.
func (q *Registry) spend(a auth, r *http.Request, name string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tokens[name]
	if t != nil && a.uses > 0 && t.used >= a.uses {
		q.fired["one-request-tokens"] = true
		return false
	}
	if t == nil {
		return false
	}
	t.used++
	action := map[string]string{http.MethodGet: "pull", http.MethodHead: "pull", http.MethodDelete: "delete"}[r.Method]
	if action == "" {
		action = "push"
	}
	allowed := r.URL.Path == "/v2/" || slices.ContainsFunc(t.scopes, func(scope string) bool {
		actions, ok := strings.CutPrefix(scope, "repository:"+repository(r)+":")
		return ok && slices.Contains(strings.Split(actions, ","), action)
	})
	if allowed && a.uploads && r.Method == http.MethodPost {
		q.fired["uploads-end-tokens"] = true
		delete(q.tokens, name)
	}
	return allowed
}

// repository returns the name of the repository in the path of a request.
func repository(r *http.Request) string {
	name := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		name, _, _ = strings.Cut(name, part)
	}
	return path.Clean(name)
}

// serveToken is the token service.
func (q *Registry) serveToken(w http.ResponseWriter, r *http.Request) {
	switch a := q.auth(); {
	case r.Header.Get("Authorization") != password():
		fail(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong user or password")
		return
	case q.fires("failing-tokens", a.failing && q.every(2, "tokens")):
		fail(w, http.StatusServiceUnavailable, "UNAVAILABLE", "try again")
		return
	case q.fires("slow-tokens", a.slow):
		time.Sleep(slowToken)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	name := fmt.Sprint("token-", len(q.tokens), "-", q.counts["tokens made"])
	q.counts["tokens made"]++
	q.tokens[name] = &token{scopes: r.URL.Query()["scope"]}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"token":%q,"expires_in":60}`, name)
}

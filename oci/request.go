package oci

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/origin"
	"github.com/lockage/lockage/internal/retry"
)

const (
	// maxRefusal bounds what is read of an answer with an error, in bytes.
	maxRefusal = 64 << 10
	// readAttempts bounds how often something is read whose answers break off.
	readAttempts = 3
)

// Actions that a token is asked for.
var (
	toPull   = []string{"pull"}
	toPush   = []string{"pull", "push"}
	toDelete = []string{"delete", "pull"}
)

// call is a request to a registry.
type call struct {
	method  string
	url     *url.URL
	actions []string
	header  map[string]string
	body    []byte
	limit   int64         // of the answer, in bytes
	digest  digest.Digest // of what is asked for, "" if unknown
}

// reply is a registry's answer.
type reply struct {
	url    *url.URL // of the request, the last one if it was redirected
	status int
	header http.Header
	size   int64 // of a HEAD's answer; -1 if unknown
	body   []byte
	cut    bool // it ended too early
}

// refused is an answer with an error (distribution-spec, «Error Codes»).
type refused struct {
	status int
	absent bool // what was to be read does not exist
	known  bool // there are credentials, and it is a 401
	errors []registryError
}

type registryError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (e *refused) Error() string {
	if e.absent {
		return ErrNotFound.Error()
	}
	s := fmt.Sprintf("HTTP %d %s", e.status, http.StatusText(e.status))
	for _, e := range e.errors {
		for _, text := range []string{strings.ToLower(e.Code), e.Message} {
			if text != "" {
				s += ": " + text
			}
		}
	}
	return s
}

func (e *refused) has(code string) bool {
	for _, one := range e.errors {
		if strings.EqualFold(one.Code, code) {
			return true
		}
	}
	return false
}

// refusal reads an answer with an error: the registry's words, or the first line of a text.
func refusal(resp *http.Response) *refused {
	e := &refused{status: resp.StatusCode}
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	var answer struct {
		Errors []registryError `json:"errors"`
	}
	if err := json.Unmarshal(raw, &answer); err == nil {
		e.errors = answer.Errors
	} else if mediaType(resp.Header) == "text/plain" {
		line, _, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
		e.errors = []registryError{{Message: line}}
	}
	return e
}

// mediaType returns the media type of an answer, without parameters.
func mediaType(header http.Header) string {
	mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return mediaType
}

// whole reports whether the body is what was asked for, by its digest, or if nobody says that, at least complete JSON. Without a length, an
// answer that broke off ends like any other.
func (a reply) whole(want digest.Digest) bool {
	if want.Validate() != nil {
		want = digest.Digest(a.header.Get("Docker-Content-Digest"))
	}
	if want.Validate() != nil {
		return json.Valid(a.body)
	}
	return want.Algorithm().FromBytes(a.body) == want
}

// do makes a request, and reads the answer, again if it breaks off. Errors of the registry are *[refused].
func (r *remoteRepository) do(ctx context.Context, c call) (reply, error) {
	for attempt := 1; ; attempt++ {
		a, err := r.once(ctx, c)
		if attempt == readAttempts || !a.cut {
			return a, err
		}
	}
}

func (r *remoteRepository) once(ctx context.Context, c call) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), bytes.NewReader(c.body))
	if err != nil {
		return reply{}, err
	}
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	resp, err := r.client.auth.do(req, r.id, c.actions)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	for _, warning := range resp.Header.Values("Warning") {
		if text, ok := strings.CutPrefix(warning, "299 - "); ok {
			r.client.warn(r.host + ": " + unquote(text))
		}
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		failed := refusal(resp)
		failed.known = failed.status == http.StatusUnauthorized && r.client.auth.knows(ctx, r.id)
		failed.absent = failed.status == http.StatusNotFound && (c.method == http.MethodGet || c.method == http.MethodHead)
		return reply{}, failed
	}
	a := reply{url: c.url, status: resp.StatusCode, header: resp.Header, size: resp.ContentLength}
	if resp.Request != nil {
		a.url = resp.Request.URL
	}
	if c.method != http.MethodGet {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRefusal)) // done, even if the answer is cut; the connection is used again
		return a, nil
	}
	a.body, err = bounded.ReadSized(resp.Body, resp.ContentLength, c.limit)
	if err == nil && strings.EqualFold(a.header.Get("Content-Encoding"), "gzip") && !a.whole(c.digest) {
		a.body = unzipped(a.body, c.limit)
	}
	a.cut = retry.Transient(err) || err == nil && a.size < 0 && !a.whole(c.digest)
	return a, err
}

// unzipped returns what a proxy compressed that nobody asked to; the same bytes if they are not compressed.
func unzipped(data []byte, limit int64) []byte {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data
	}
	content, err := bounded.Read(r, limit)
	if err != nil {
		return data
	}
	return content
}

// at returns a URL of the repository.
func (r *remoteRepository) at(path string, query url.Values) *url.URL {
	u := *r.id.base
	u.Path += path
	u.RawQuery = query.Encode()
	return &u
}

// next returns the URL of the next page, nil after the last one. It is one of the registry, whatever a proxy made of its scheme and host.
func (a reply) next() (*url.URL, error) {
	link := strings.Join(a.header.Values("Link"), ",")
	for link != "" {
		target, params, ok := strings.Cut(strings.TrimLeft(link, " ,"), ">")
		if !ok || !strings.HasPrefix(target, "<") {
			break
		}
		params, link, _ = strings.Cut(params, "<")
		if link != "" {
			link = "<" + link
		}
		if relation := strings.ToLower(strings.ReplaceAll(params, `"`, "")); !strings.Contains(relation, "rel=next") && strings.Contains(relation, "rel=") {
			continue
		}
		u, err := a.url.Parse(target[1:])
		if err != nil {
			return nil, errors.New("the registry names the next page by an invalid URL")
		}
		u.Scheme, u.Host, u.User, u.Fragment = a.url.Scheme, a.url.Host, nil, ""
		return u, nil
	}
	return nil, nil
}

// location returns where an upload goes on. A proxy may have made plain HTTP of it: then it is the registry's own address. Another
// host gets no credentials.
func (a reply) location() (*url.URL, error) {
	text := a.header.Get("Location")
	u, err := a.url.Parse(text)
	if err != nil || text == "" {
		return nil, errors.New("the registry does not name a valid location for the upload")
	}
	u.User = nil
	switch {
	case origin.Safe(a.url, u):
	case strings.EqualFold(a.url.Hostname(), u.Hostname()):
		u.Scheme, u.Host = a.url.Scheme, a.url.Host
	default:
		return nil, fmt.Errorf("the registry wants the upload to go on at %s, which is not https", u.Host)
	}
	return u, nil
}

// withDigest adds the digest that completes an upload, and leaves the query as it is: it may be signed.
func withDigest(u *url.URL, digest string) *url.URL {
	completed := *u
	completed.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+url.Values{"digest": {digest}}.Encode(), "&")
	return &completed
}

// pageQuery asks for a page of at most n entries, 0 for as many as the registry likes, after last.
func pageQuery(n int, last string) url.Values {
	query := url.Values{}
	if n > 0 {
		query.Set("n", strconv.Itoa(n))
	}
	if last != "" {
		query.Set("last", last)
	}
	return query
}

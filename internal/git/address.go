package git

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
)

// address is a remote's URL, taken apart (git-clone(1), «GIT URLS»).
type address struct {
	url  *url.URL // http, https, ssh; without userinfo but ssh's user name
	user *url.Userinfo
	path string // of a repository on this machine; url is nil then
}

// parseAddress takes a URL, an scp-like host:path or a path, which starts
// from dir if it is relative. Errors quote nothing that may hold a secret.
func parseAddress(raw, dir string) (address, error) {
	if raw == "" {
		return address{}, errors.New("the remote's URL is empty")
	}
	if scheme, _, ok := strings.Cut(raw, "://"); ok {
		u, err := url.Parse(raw)
		if err != nil {
			return address{}, fmt.Errorf("%s is no URL", redact(raw)) // why not, would quote it
		}
		a := address{user: u.User}
		switch u.Scheme = strings.ToLower(scheme); u.Scheme {
		case "file":
			return address{path: filepath.FromSlash(u.Path)}, nil
		case "http", "https":
			u.User, u.Fragment = nil, ""
			u.Path = strings.TrimRight(u.Path, "/")
			if u.Host == "" {
				return address{}, fmt.Errorf("%s names no host", redact(raw))
			}
		case "ssh", "git+ssh", "ssh+git":
			u.Scheme = "ssh"
			if u.User != nil {
				u.User = url.User(u.User.Username())
			}
		default:
			return address{}, fmt.Errorf("%s: scheme %s is not supported: use https, ssh, file or a path", redact(raw), u.Scheme)
		}
		a.url = u
		return a, nil
	}
	if u, ok := parseSCP(raw); ok {
		return address{url: u}, nil
	}
	path := filepath.FromSlash(raw)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return address{path: path}, nil
}

// parseSCP takes [user@]host:path, with no slash before the colon. A host of
// one letter is a drive.
func parseSCP(raw string) (*url.URL, bool) {
	at := strings.LastIndexByte(raw[:max(0, strings.IndexByte(raw, ':'))], '@')
	host, path, ok := strings.Cut(raw[at+1:], ":")
	if inner, found := strings.CutPrefix(raw[at+1:], "["); found {
		host, path, ok = strings.Cut(inner, "]:")
		host = "[" + host + "]"
	}
	if !ok || len(host) < 2 || path == "" || strings.ContainsAny(host, "/\\") || strings.ContainsAny(raw[:at+1], "/:") {
		return nil, false
	}
	u := &url.URL{Scheme: "ssh", Host: host, Path: "/" + strings.TrimPrefix(path, "/")}
	if at > 0 {
		u.User = url.User(raw[:at])
	}
	return u, true
}

// String is fit to be printed.
func (a address) String() string {
	if a.url == nil {
		return a.path
	}
	u := *a.url
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// loopback says whether the host is this machine, where nobody listens in.
func (a address) loopback() bool {
	if a.url == nil {
		return false
	}
	host := a.url.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// redact drops user, password and query from a URL, well-formed or not.
func redact(raw string) string {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return raw
	}
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if _, err := url.Parse(raw); err != nil {
		authority, path = rest, "" // a stray slash may stand in a password
	}
	authority = authority[strings.LastIndexByte(authority, '@')+1:]
	if path != "" {
		path = "/" + path
	}
	return scheme + "://" + authority + path
}

package git

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/lockage/lockage/internal/redact"
)

// address is a remote's URL, taken apart (git-clone(1), «GIT URLS»).
type address struct {
	url  *url.URL // http, https, ssh; without userinfo but ssh's user name
	user *url.Userinfo
	path string // of a repository on this machine, where url is nil, or of one at the end of ssh, which may begin in a home folder
}

// remoteHelper matches what is before the :: of a URL for a program of that name (gitremote-helpers(7)).
var remoteHelper = regexp.MustCompile(`^[A-Za-z0-9]+$`)

// parseAddress reads a URL, an scp-like host:path or a path, relative to dir. Errors quote nothing that may hold a secret.
func parseAddress(raw, dir string) (address, error) {
	if raw == "" {
		return address{}, errors.New("the remote's URL is empty")
	}
	if scheme, _, ok := strings.Cut(raw, "://"); ok {
		u, err := url.Parse(raw)
		if err != nil {
			return address{}, fmt.Errorf("invalid URL %s", redact.URL(raw)) // the cause quotes it
		}
		a := address{user: u.User}
		switch u.Scheme = strings.ToLower(scheme); u.Scheme {
		case "file":
			return address{path: filepath.FromSlash(u.Path)}, nil
		case "http", "https":
			u.User, u.Fragment = nil, ""
			u.Path = strings.TrimRight(u.Path, "/")
			if u.Host == "" {
				return address{}, fmt.Errorf("%s has no host", redact.URL(raw))
			}
		case "ssh", "git+ssh", "ssh+git":
			u.Scheme = "ssh"
			if u.User != nil {
				u.User = url.User(u.User.Username())
			}
			a.path = u.Path
			if strings.HasPrefix(u.Path, "/~") {
				a.path = u.Path[1:]
			}
			if u.Hostname() == "" || a.path == "" {
				return address{}, fmt.Errorf("%s has no host or no path", redact.URL(raw))
			}
		default:
			return address{}, fmt.Errorf("%s: scheme %s is not supported: use https, ssh, file or a path", redact.URL(raw), u.Scheme)
		}
		a.url = u
		return a, nil
	}
	if helper, _, ok := strings.Cut(raw, "::"); ok && remoteHelper.MatchString(helper) {
		return address{}, fmt.Errorf("remote helpers (%s::) are not supported: use https, ssh, file or a path", helper)
	}
	if u, path, ok := parseSCP(raw); ok {
		return address{url: u, path: path}, nil
	}
	path := filepath.FromSlash(raw)
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return address{path: path}, nil
}

// parseSCP reads [user@]host:path, with no slash before the colon, or [user@host:port]:path in these brackets. A path without a slash
// before it begins in the user's home folder there, which a URL does not show. A host of one letter is a drive.
func parseSCP(raw string) (u *url.URL, path string, ok bool) {
	at := strings.LastIndexByte(raw[:max(0, strings.IndexByte(raw, ':'))], '@')
	user, rest := raw[:max(0, at)], raw[at+1:]
	host, path, ok := strings.Cut(rest, ":")
	if strings.HasPrefix(raw, "[") && strings.Count(strings.SplitN(raw, "]", 2)[0], ":") == 1 {
		user = strings.TrimPrefix(user, "[")
		host, path, ok = strings.Cut(strings.TrimPrefix(rest, "["), "]:")
	} else if inner, found := strings.CutPrefix(rest, "["); found {
		host, path, ok = strings.Cut(inner, "]:")
		host = "[" + host + "]"
	}
	if !ok || len(host) < 2 || path == "" || strings.ContainsAny(host, "/\\") || strings.ContainsAny(user, "/:") {
		return nil, "", false
	}
	u = &url.URL{Scheme: "ssh", Host: host, Path: "/" + strings.TrimPrefix(path, "/")}
	if user != "" {
		u.User = url.User(user)
	}
	return u, path, true
}

// String returns the address without user, password and query.
func (a address) String() string {
	if a.url == nil {
		return a.path
	}
	u := *a.url
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// withoutCredentials returns a URL without user, password and query; what is not a URL stays as it is.
func withoutCredentials(raw string) string {
	if !strings.Contains(raw, "://") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return redact.URL(raw)
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

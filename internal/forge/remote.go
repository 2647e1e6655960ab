package forge

import (
	"fmt"
	"net/url"
	"strings"
)

// maxRemote bounds the length of a remote's address in bytes.
const maxRemote = 4096

// remote is a Git remote's address without its credentials.
type remote struct {
	web    bool     // its address is the web server's: https or http
	scheme string   // https or http; https for all other schemes
	host   string   // in lower case, with a port only if web
	path   []string // at least two segments, the last without «.git»
}

// aliases are hosts that serve Git for the forge of another host.
var aliases = map[string]string{
	"www.github.com": "github.com", "ssh.github.com": "github.com", // ssh over the HTTPS port
	"altssh.gitlab.com": "gitlab.com", "www.gitlab.com": "gitlab.com",
}

// parseRemote reads an address as git does (an scp-like one has a colon before its first slash). Errors do not quote the
// address, which may hold a password.
func parseRemote(address string) (remote, error) {
	if len(address) > maxRemote {
		return remote{}, fmt.Errorf("repository address of %d bytes: %w", len(address), ErrNoForge)
	}
	r := remote{scheme: "https"}
	var path string
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		u, err := url.Parse(address)
		if err != nil {
			return remote{}, fmt.Errorf("repository address: invalid URL: %w", ErrNoForge)
		}
		switch strings.ToLower(scheme) {
		case "https", "http":
			r.web = true
			r.scheme = strings.ToLower(scheme)
			r.host = strings.ToLower(u.Host)
			if port := u.Port(); port == "" || r.scheme == "https" && port == "443" || r.scheme == "http" && port == "80" {
				r.host = strings.TrimSuffix(r.host, ":"+port)
			}
		case "ssh", "git+ssh", "ssh+git", "git":
			r.host = strings.ToLower(strings.TrimSuffix(u.Host, ":"+u.Port())) // the web server's port is another one
		default:
			return remote{}, fmt.Errorf("repository at %s://: %w", scheme, ErrNoForge)
		}
		path = u.Path
	} else {
		host, rest, ok := cutHost(address)
		if !ok {
			return remote{}, fmt.Errorf("repository in a folder: %w", ErrNoForge)
		}
		r.host, path = strings.ToLower(host), rest
	}
	if host, ok := aliases[r.host]; ok {
		r.host = host
	}
	if !validHost(r.host) {
		return remote{}, fmt.Errorf("repository address without a host: %w", ErrNoForge)
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	r.path = strings.Split(path, "/")
	if len(r.path) < 2 {
		return remote{}, fmt.Errorf("repository on %s has no owner in its path: %w", r.host, ErrNoForge)
	}
	for _, segment := range r.path {
		if !validSegment(segment) {
			return remote{}, fmt.Errorf("repository on %s: its path is not one of a forge: %w", r.host, ErrNoForge)
		}
	}
	return r, nil
}

// cutHost splits [user@]host:path.
func cutHost(address string) (host, path string, ok bool) {
	before, _, _ := strings.Cut(address, "/")
	from := strings.LastIndex(before, "@") + 1
	if strings.HasPrefix(address[from:], "[") { // [::1]:path
		end := strings.Index(address[from:], "]:")
		if end < 0 {
			return "", "", false
		}
		return address[from : from+end+1], address[from+end+2:], true
	}
	host, path, ok = strings.Cut(address[from:], ":")
	// One letter before the colon is a drive of Windows.
	return host, path, ok && len(host) > 1 && !strings.ContainsAny(host, `/\`)
}

// validHost reports whether host is unchanged by parsing it in a URL.
func validHost(host string) bool {
	u, err := url.Parse("https://" + host + "/")
	return err == nil && u.Host == host && u.Hostname() != "" && u.User == nil && !strings.ContainsAny(host, "%\\ ")
}

func validSegment(segment string) bool {
	if segment == "" || segment == "." || segment == ".." {
		return false
	}
	return !strings.ContainsFunc(segment, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r == '?' || r == '#' || r == '%' })
}

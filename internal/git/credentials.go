package git

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/lockage/lockage/internal/bounded"
	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/redact"
)

// credentials authenticates requests. It uses the first of these: userinfo in the URL, an Authorization header of
// http.extraHeader, LOCKAGE_GIT_TOKEN, netrc (of the user in the URL, if it names one). If the server refuses them, it goes on to netrc and git's
// credential helpers: for the service that was refused alone, since credentials that may push can coexist with some that may
// only read.
//
// Userinfo, token and a helper's answer are sent to the remote's origin only, or to the same host by https, where a server leads from
// plain HTTP; the others are looked up for the URL of each request.
type credentials struct {
	origin address // as configured, before redirects
	token  string  // for https and loopback hosts
	netrc  string  // the file's path
	conf   *config
	opts   Options

	mu     sync.Mutex
	found  map[string]*url.Userinfo // by scheme and service, instead of what was refused
	sent   map[string][]string      // by scheme and service: users and passwords that were tried
	helped map[string]*url.Userinfo // from a helper, by the URL's scheme; nil for one that has no answer
}

func newCredentials(origin address, conf *config, opts Options) *credentials {
	c := &credentials{origin: origin, conf: conf, opts: opts, found: map[string]*url.Userinfo{}, sent: map[string][]string{}, helped: map[string]*url.Userinfo{}}
	c.token = opts.getenv(gitVariable)
	if c.netrc = opts.getenv("NETRC"); c.netrc == "" && opts.getenv("HOME") != "" {
		c.netrc = filepath.Join(opts.getenv("HOME"), ".netrc")
	}
	return c
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// sameServer reports whether a URL is on the server of a remote. Where one of them is by ssh, that is the host, with https at its usual port.
func sameServer(remote, u *url.URL) bool {
	if remote.Scheme != "ssh" && u.Scheme != "ssh" {
		return sameOrigin(remote, u)
	}
	usual := func(u *url.URL) bool { return u.Scheme == "ssh" || u.Scheme == "https" && port(u) == "443" }
	return usual(remote) && usual(u) && strings.EqualFold(remote.Hostname(), u.Hostname())
}

// by keeps what a service takes by https from what it takes in the clear.
func by(base *url.URL, service string) string { return base.Scheme + " " + service }

// own reports whether a URL is one of the remote's own server.
func (c *credentials) own(base *url.URL) bool {
	if sameOrigin(c.origin.url, base) {
		return true
	}
	from, to := *c.origin.url, *base
	from.Scheme = to.Scheme
	return base.Scheme == "https" && from.Port() == "" && to.Port() == "" && sameOrigin(&from, &to)
}

// apply sets the headers of one request to the repository at base.
func (c *credentials) apply(req *http.Request, base *url.URL, service string) error {
	service = by(base, service)
	own := c.own(base)
	matched := *base
	if own {
		matched.User = c.origin.user
	}
	for _, header := range c.conf.forURL("http", "extraheader", &matched) {
		key, value, ok := strings.Cut(header, ":")
		if !ok {
			return fmt.Errorf("http.extraHeader for %s: want «Name: value»", redact.URL(base.String()))
		}
		req.Header.Add(strings.TrimSpace(key), strings.TrimSpace(value))
	}
	header := req.Header.Get("Authorization") != ""
	user := c.choose(base, header, service)
	if password, _ := user.Password(); password == "" && !header {
		entry, err := readNetrc(c.netrc, base.Hostname(), user.Username())
		if err != nil {
			return err
		}
		if entry != nil {
			user = entry
		}
	}
	if user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !slices.Contains(c.sent[service], user.String()) {
			c.sent[service] = append(c.sent[service], user.String())
		}
	}
	return nil
}

// choose returns the user and password that belong to the origin; nil without any, or if a header has precedence.
func (c *credentials) choose(base *url.URL, header bool, service string) *url.Userinfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.origin.user.Username() // also of nil
	switch _, ok := c.origin.user.Password(); {
	case !c.own(base):
		return nil
	case ok:
		return c.origin.user
	case c.found[service] != nil:
		return c.found[service]
	case header:
		return nil
	case c.token != "" && (base.Scheme == "https" || loopback.Is(base.Host)):
		return url.UserPassword(cmp.Or(name, "x-access-token"), c.token)
	case name != "":
		return url.UserPassword(name, "") // a token as the user name
	}
	return nil
}

// refused goes on to the next credentials for a service, and reports whether there are any, so that the request is worth repeating.
func (c *credentials) refused(ctx context.Context, base *url.URL, service string) (bool, error) {
	service = by(base, service)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.origin.user.Password(); ok || !c.own(base) {
		return false, nil // explicit ones
	}
	for _, source := range []func() (*url.Userinfo, error){
		func() (*url.Userinfo, error) { return readNetrc(c.netrc, base.Hostname(), c.origin.user.Username()) },
		func() (*url.Userinfo, error) { return c.helper(ctx, base) },
	} {
		user, err := source()
		if err != nil {
			return false, err
		}
		if user != nil && !slices.Contains(c.sent[service], user.String()) {
			c.found[service] = user
			return true, nil
		}
	}
	return false, nil
}

// helper returns the answer of git's credential helpers, which it asks once; nil for none.
func (c *credentials) helper(ctx context.Context, base *url.URL) (*url.Userinfo, error) {
	path, name := strings.TrimPrefix(base.Path, "/"), c.origin.user.Username()
	if helped, asked := c.helped[base.Scheme]; asked || strings.ContainsAny(base.Host+path+name, "\n\x00") {
		return helped, nil
	}
	c.helped[base.Scheme] = nil
	ask := fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n", base.Scheme, base.Host, path)
	if name != "" {
		ask += "username=" + name + "\n"
	}
	answer, err := runGit(ctx, c.opts, []byte(ask+"\n"), "credential", "fill")
	if err != nil {
		return nil, ctx.Err() // else no git, or no helper with an answer
	}
	var user, password string
	for line := range strings.Lines(string(answer)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		switch key {
		case "username":
			user = value
		case "password":
			password = value
		}
	}
	if password != "" {
		c.helped[base.Scheme] = url.UserPassword(user, password)
	}
	return c.helped[base.Scheme], nil
}

// readNetrc finds the entry for a host, or the default one, of the user that is named, "" for any.
func readNetrc(file, host, name string) (*url.Userinfo, error) {
	if file == "" {
		return nil, nil
	}
	data, err := bounded.File(file, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading netrc: %w", err)
	}
	return parseNetrc(data, host, name), nil
}

// parseNetrc follows the format of ftp(1): words, which may be quoted as curl reads them; macros end at an empty line.
func parseNetrc(data []byte, host, name string) *url.Userinfo {
	var login, password, key string
	applies, macro := false, false
	found := func() *url.Userinfo {
		if !applies || password == "" || name != "" && login != "" && login != name {
			return nil
		}
		return url.UserPassword(cmp.Or(login, name), password)
	}
	for line := range strings.Lines(string(data)) {
		words := netrcWords(line)
		if macro {
			macro = len(words) > 0
			continue
		}
		for _, word := range words {
			if key == "" && strings.HasPrefix(word, "#") {
				break
			}
			switch {
			case key == "machine", key == "" && word == "default":
				if user := found(); user != nil {
					return user
				}
				applies, login, password = key == "" || strings.EqualFold(word, host), "", ""
			case key == "login":
				login = word
			case key == "password":
				password = word
			case key == "" && word == "macdef":
				macro = true
			case key == "" && slices.Contains([]string{"machine", "login", "password", "account"}, word):
				key = word
				continue
			}
			key = ""
		}
	}
	return found()
}

// netrcWords splits a line at white space. A word that begins with a quotation mark ends with one, and has backslashes before special
// characters.
func netrcWords(line string) []string {
	var words []string
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		end := strings.IndexAny(rest, " \t\r\n")
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		if rest[0] == '"' {
			word, end = unquoted(rest)
		}
		words, rest = append(words, word), rest[end:]
	}
	return words
}

// unquoted returns what is between the quotation marks at the beginning of s, and where they end.
func unquoted(s string) (word string, end int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), i + 1
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(cmp.Or(map[byte]byte{'n': '\n', 'r': '\r', 't': '\t'}[s[i]], s[i]))
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), len(s)
}

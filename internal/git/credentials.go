package git

import (
	"cmp"
	"context"
	"encoding/base64"
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
	found  map[string]*login   // by scheme and service, instead of what was refused
	sent   map[string][]string // by scheme and service: Authorization headers that were tried
	helped map[string]*helped  // by the URL's scheme
}

// helped is what git's credential helpers gave, and what became of it.
type helped struct {
	*login // nil without an answer

	asked, rejected, accepted bool
}

// login is what a source of credentials has for the server.
type login struct {
	header string // Authorization
	answer []byte // of git's credential helpers; nil of others
}

func basic(user *url.Userinfo) string {
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

func newCredentials(origin address, conf *config, opts Options) *credentials {
	c := &credentials{origin: origin, conf: conf, opts: opts, found: map[string]*login{}, sent: map[string][]string{}, helped: map[string]*helped{}}
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
	user, given := c.choose(base, header, service)
	if password, _ := user.Password(); given == "" && password == "" && !header {
		entry, err := readNetrc(c.netrc, base.Hostname(), user.Username())
		if err != nil {
			return err
		}
		if entry != nil {
			user = entry
		}
	}
	if user != nil {
		given = basic(user)
	}
	if given != "" {
		req.Header.Set("Authorization", given)
		c.mu.Lock()
		defer c.mu.Unlock()
		if !slices.Contains(c.sent[service], given) {
			c.sent[service] = append(c.sent[service], given)
		}
	}
	return nil
}

// choose returns the user and password that belong to the origin, or what was found instead; nothing without any, or if a header has
// precedence.
func (c *credentials) choose(base *url.URL, header bool, service string) (user *url.Userinfo, given string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.origin.user.Username() // also of nil
	switch _, ok := c.origin.user.Password(); {
	case !c.own(base):
		return nil, ""
	case ok:
		return c.origin.user, ""
	case c.found[service] != nil:
		return nil, c.found[service].header
	case header:
		return nil, ""
	case c.token != "" && (base.Scheme == "https" || loopback.Is(base.Host)):
		return url.UserPassword(cmp.Or(name, "x-access-token"), c.token), ""
	case name != "":
		return url.UserPassword(name, ""), "" // a token as the user name
	}
	return nil, ""
}

// helpers returns what git's helpers gave for a URL.
func (c *credentials) helpers(base *url.URL) *helped {
	if c.helped[base.Scheme] == nil {
		c.helped[base.Scheme] = &helped{}
	}
	return c.helped[base.Scheme]
}

// accept has git's helpers keep what they gave, once a server has accepted it, as git does.
func (c *credentials) accept(ctx context.Context, base *url.URL, service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.helpers(base); h.login != nil && c.found[by(base, service)] == h.login && !h.accepted {
		h.accepted = true
		_, _ = runGit(ctx, c.opts, h.answer, "credential", "approve")
	}
}

// reject has git's helpers forget what they gave, as git does if the server does not know it, and asks them again, once. What a server
// accepted for another service is right, and may do less.
func (c *credentials) reject(ctx context.Context, base *url.URL, service string) {
	if h := c.helpers(base); h.login != nil && c.found[service] == h.login && !h.accepted {
		_, _ = runGit(ctx, c.opts, h.answer, "credential", "reject")
		h.login, h.asked, h.rejected = nil, h.rejected, true
	}
}

// refused goes on to the next credentials for a service after the server's answer, and reports whether there are any, so that the
// request is worth repeating.
func (c *credentials) refused(ctx context.Context, base *url.URL, service string, res *http.Response) (bool, error) {
	service = by(base, service)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.origin.user.Password(); ok || !c.own(base) {
		return false, nil // explicit ones
	}
	if res.StatusCode == http.StatusUnauthorized {
		c.reject(ctx, base, service)
	}
	entry, err := readNetrc(c.netrc, base.Hostname(), c.origin.user.Username())
	if err != nil {
		return false, err
	}
	var next *login
	if entry != nil {
		next = &login{header: basic(entry)}
	}
	if next == nil || slices.Contains(c.sent[service], next.header) {
		if next, err = c.helper(ctx, base, res.Header.Values("WWW-Authenticate")); err != nil || next == nil || slices.Contains(c.sent[service], next.header) {
			return false, err
		}
	}
	c.found[service] = next
	return true, nil
}

// helper returns the answer of git's credential helpers, which get the server's challenges; nil for none. They are asked once,
// and once more after a rejection.
func (c *credentials) helper(ctx context.Context, base *url.URL, challenges []string) (*login, error) {
	path, name := strings.TrimPrefix(base.Path, "/"), c.origin.user.Username()
	h := c.helpers(base)
	if h.asked || strings.ContainsAny(base.Host+path+name, "\n\x00") {
		return h.login, nil
	}
	h.asked = true
	ask := fmt.Sprintf("capability[]=authtype\ncapability[]=state\nprotocol=%s\nhost=%s\npath=%s\n", base.Scheme, base.Host, path)
	if name != "" {
		ask += "username=" + name + "\n"
	}
	for _, challenge := range challenges {
		ask += "wwwauth[]=" + challenge + "\n"
	}
	answer, err := runGit(ctx, c.opts, []byte(ask+"\n"), "credential", "fill")
	if err != nil {
		return nil, ctx.Err() // else no git, or no helper with an answer
	}
	values := map[string]string{}
	for line := range strings.Lines(string(answer)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		values[key] = value
	}
	switch {
	case values["authtype"] != "" && values["credential"] != "":
		h.login = &login{values["authtype"] + " " + values["credential"], answer}
	case values["password"] != "":
		h.login = &login{basic(url.UserPassword(values["username"], values["password"])), answer}
	}
	return h.login, nil
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

package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/lockage/lockage/internal/loopback"
	"github.com/lockage/lockage/internal/redact"
)

// credentials authenticates requests. It uses the first of these: userinfo in the URL, an Authorization header of
// http.extraHeader, LOCKAGE_GIT_TOKEN, netrc, and, after the server has refused, git's credential helpers. A header is
// configured for a URL, and the token is for all hosts: a credential that may push can coexist with one that may only read.
//
// Userinfo and token are sent to the remote's origin only; the others are looked up for the URL of each request.
type credentials struct {
	origin address // as configured, before redirects
	token  string
	netrc  string // the file's path
	conf   *config
	opts   Options

	mu     sync.Mutex
	helped *url.Userinfo // from a helper
	asked  bool
}

func newCredentials(origin address, conf *config, opts Options) *credentials {
	c := &credentials{origin: origin, conf: conf, opts: opts}
	if origin.url.Scheme == "https" || loopback.Is(origin.url.Host) {
		c.token = opts.getenv("LOCKAGE_GIT_TOKEN")
	}
	if c.netrc = opts.getenv("NETRC"); c.netrc == "" && opts.getenv("HOME") != "" {
		c.netrc = filepath.Join(opts.getenv("HOME"), ".netrc")
	}
	return c
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// apply sets the headers of one request to the repository at base.
func (c *credentials) apply(req *http.Request, base *url.URL) error {
	own := sameOrigin(c.origin.url, base)
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
	if user := c.choose(own, header); user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
		return nil
	}
	if header {
		return nil
	}
	user, err := readNetrc(c.netrc, base.Hostname())
	if err != nil {
		return err
	}
	if user != nil {
		password, _ := user.Password()
		req.SetBasicAuth(user.Username(), password)
	}
	return nil
}

// choose returns the user and password that belong to the origin; nil without any, or if a header has precedence.
func (c *credentials) choose(own, header bool) *url.Userinfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !own {
		return nil
	}
	if user := c.origin.user; user != nil {
		if _, ok := user.Password(); ok {
			return user
		}
	}
	switch user := c.origin.user; {
	case c.helped != nil:
		return c.helped
	case header:
		return nil
	case c.token != "" && user != nil && user.Username() != "":
		return url.UserPassword(user.Username(), c.token)
	case c.token != "":
		return url.UserPassword("x-access-token", c.token)
	case user != nil && user.Username() != "":
		return url.UserPassword(user.Username(), "") // a token as the user name
	}
	return nil
}

// challenged asks git's credential helpers, once, and reports whether to repeat the request.
func (c *credentials) challenged(ctx context.Context, base *url.URL) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked || !sameOrigin(c.origin.url, base) {
		return false, nil
	}
	c.asked = true
	if _, ok := c.origin.user.Password(); ok || c.token != "" {
		return false, nil // explicit ones, which failed
	}
	path := strings.TrimPrefix(base.Path, "/")
	if strings.ContainsAny(base.Host+path+c.origin.user.Username(), "\n\x00") {
		return false, nil
	}
	ask := fmt.Sprintf("protocol=%s\nhost=%s\npath=%s\n", base.Scheme, base.Host, path)
	if user := c.origin.user.Username(); user != "" {
		ask += "username=" + user + "\n"
	}
	answer, err := runGit(ctx, c.opts, []byte(ask+"\n"), "credential", "fill")
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return false, nil // no git, or no helper with an answer
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
	if password == "" {
		return false, nil
	}
	c.helped = url.UserPassword(user, password)
	return true, nil
}

// readNetrc finds the entry for host, or the default one.
func readNetrc(file, host string) (*url.Userinfo, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading netrc: %w", err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxConfigBytes)
	}
	return parseNetrc(data, host), nil
}

// parseNetrc follows the format of ftp(1): words; macros end at an empty line.
func parseNetrc(data []byte, host string) *url.Userinfo {
	var login, password string
	applies, macro := false, false
	lines := bufio.NewScanner(bytes.NewReader(data))
	key := ""
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if macro {
			macro = len(words) > 0
			continue
		}
		for _, word := range words {
			if key == "" && strings.HasPrefix(word, "#") {
				break
			}
			switch key {
			case "machine":
				if applies && password != "" {
					return url.UserPassword(login, password)
				}
				applies, login, password = strings.EqualFold(word, host), "", ""
			case "login":
				login = word
			case "password":
				password = word
			case "":
				switch word {
				case "machine", "login", "password", "account":
					key = word
				case "macdef":
					macro = true
				case "default":
					if applies && password != "" {
						return url.UserPassword(login, password)
					}
					applies, login, password = true, "", ""
				}
				continue
			}
			key = ""
		}
	}
	if applies && password != "" {
		return url.UserPassword(login, password)
	}
	return nil
}

package git

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// Use is what becomes of a setting.
type Use string

// The ways to deal with a setting of git's configuration.
const (
	Honoured Use = "honoured"
	Ignored  Use = "not honoured" // and a warning names it, once
	Refused  Use = "refused"      // an error names it
)

// Setting is a setting of git's configuration about how repositories are reached, and what becomes of it.
type Setting struct {
	Key  string // as git-config(1) writes it
	Env  string // the variable that counts before it, if any
	Use  Use
	Note string

	harmless []string // values that change nothing, in lower case
	scheme   string   // of the URLs that it is about; "" for all
}

var off = []string{"", "false", "no", "off", "0"}

// Settings lists the settings that are looked at. docs/git.md repeats the list.
var Settings = []Setting{
	{Key: "core.askPass", Env: "GIT_ASKPASS", Use: Honoured, Note: "asked where no helper answers; `SSH_ASKPASS` is not"},
	{Key: "core.sshCommand", Env: "GIT_SSH_COMMAND, GIT_SSH", Use: Honoured, Note: "the command for ssh; without it `ssh`, which has your `~/.ssh/config`, keys, agent and `known_hosts`, and never asks"},
	{Key: "credential.*", Use: Honoured, Note: "helpers are asked by git itself, which never prompts"},
	{Key: "extensions.*", Use: Honoured, Note: "SHA-256 repositories and the reftable format are refused"},
	{Key: "http.extraHeader", Use: Honoured, Note: "an `Authorization` in it counts before `LOCKAGE_GIT_TOKEN`"},
	{Key: "http.followRedirects", Use: Honoured, Note: "`true` is as `initial`: the first request only"},
	{Key: "http.proxy", Env: "http_proxy, https_proxy, all_proxy", Use: Honoured, Note: "`NO_PROXY` and `no_proxy` count beside it; empty for none; loopback addresses get none of the environment's"},
	{Key: "http.sslCAInfo", Env: "GIT_SSL_CAINFO", Use: Honoured, Note: "in place of the system's authorities"},
	{Key: "http.sslCAPath", Env: "GIT_SSL_CAPATH", Use: Honoured, Note: "all certificates in the folder, beside the others"},
	{Key: "http.sslCert", Env: "GIT_SSL_CERT", Use: Honoured, Note: "PEM"},
	{Key: "http.sslKey", Env: "GIT_SSL_KEY", Use: Honoured, Note: "PEM, without a password"},
	{Key: "include.path", Use: Honoured, Note: "and `includeIf.<condition>.path`, if git is installed"},
	{Key: "protocol.allow", Env: "GIT_ALLOW_PROTOCOL", Use: Honoured, Note: "`never`, also of `protocol.<scheme>.allow`"},
	{Key: "remote.<name>.promisor", Use: Honoured, Note: "where a partial clone has the rest"},
	{Key: "remote.<name>.proxy", Use: Honoured, Note: "counts before `http.proxy`"},
	{Key: "remote.<name>.pushurl", Use: Honoured, Note: "one; see below"},
	{Key: "remote.<name>.url", Use: Honoured, Note: "the first one"},
	{Key: "ssh.variant", Env: "GIT_SSH_VARIANT", Use: Honoured, Note: "what is neither `plink`, `putty`, `tortoiseplink` nor `simple` takes OpenSSH's options"},
	{Key: "url.<base>.insteadOf", Use: Honoured},
	{Key: "url.<base>.pushInsteadOf", Use: Honoured, Note: "of named remotes; see below"},

	{Key: "http.sslVerify", Env: "GIT_SSL_NO_VERIFY", Use: Ignored, Note: "certificates are always verified: name the authority with `http.sslCAInfo`", harmless: []string{"true", "yes", "on", "1"}, scheme: "https"},
	{Key: "http.sslVersion", Use: Ignored, Note: "TLS 1.2 or later", scheme: "https"},
	{Key: "http.sslCipherList", Env: "GIT_SSL_CIPHER_LIST", Use: Ignored, Note: "Go's", scheme: "https"},
	{Key: "http.sslCertType", Use: Ignored, Note: "PEM", harmless: []string{"pem"}, scheme: "https"},
	{Key: "http.sslKeyType", Use: Ignored, Note: "PEM", harmless: []string{"pem"}, scheme: "https"},
	{Key: "http.proxyAuthMethod", Env: "GIT_HTTP_PROXY_AUTHMETHOD", Use: Ignored, Note: "`basic`", harmless: []string{"anyauth", "basic"}},
	{Key: "http.proxySSLCAInfo", Env: "GIT_PROXY_SSL_CAINFO", Use: Ignored, Note: "authorities are those of the server"},
	{Key: "http.proxySSLCert", Env: "GIT_PROXY_SSL_CERT", Use: Ignored},
	{Key: "http.proxySSLKey", Env: "GIT_PROXY_SSL_KEY", Use: Ignored},
	{Key: "http.cookieFile", Use: Ignored},
	{Key: "http.curloptResolve", Use: Ignored},
	{Key: "http.delegation", Use: Ignored, Note: "no Kerberos", harmless: []string{"none"}},
	{Key: "http.emptyAuth", Use: Ignored, Note: "no Kerberos", harmless: append([]string{"auto"}, off...)},
	{Key: "http.userAgent", Env: "GIT_HTTP_USER_AGENT", Use: Ignored},
	{Key: "remote.<name>.proxyAuthMethod", Use: Ignored, Note: "`basic`", harmless: []string{"anyauth", "basic"}},
	{Key: "remote.<name>.receivepack", Use: Ignored, Note: "`git-receive-pack`", harmless: []string{"git-receive-pack"}},
	{Key: "remote.<name>.uploadpack", Use: Ignored, Note: "`git-upload-pack`", harmless: []string{"git-upload-pack"}},
	{Key: "push.gpgSign", Use: Ignored, Note: "pushes are not signed", harmless: append([]string{"if-asked"}, off...)},
	{Key: "push.pushOption", Use: Ignored, Note: "no options are sent"},
	{Key: "remote.<name>.serverOption", Use: Ignored, Note: "no options are sent"},
	{Key: "remote.<name>.lfsurl", Use: Ignored, Note: "Git LFS is asked at the remote's own URL"},
	{Key: "lfs.url", Use: Ignored, Note: "Git LFS is asked at the remote's own URL"},

	{Key: "http.pinnedPubkey", Use: Refused, Note: "it would be weaker to go on without it", scheme: "https"},
	{Key: "remote.<name>.vcs", Use: Refused, Note: "no remote helpers"},
}

// notices remembers what was printed, by keys.
type notices struct {
	mu      sync.Mutex
	printed map[string]bool
}

// first reports whether this is the first call for a key.
func (n *notices) first(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.printed == nil {
		n.printed = map[string]bool{}
	}
	before := n.printed[key]
	n.printed[key] = true
	return !before
}

// unknown reports whether first was not called for a key yet.
func (n *notices) unknown(key string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.printed[key]
}

// check warns of the settings for a remote that are not honoured, once each, and returns an error for those that are refused. The
// name is "" for a remote without one; u is nil for a repository on this machine.
func (c *config) check(name string, u *url.URL, opts Options) error {
	if err := c.allowed(u, opts); err != nil {
		return err
	}
	for _, s := range Settings {
		if s.Use == Honoured || s.scheme != "" && (u == nil || u.Scheme != s.scheme) {
			continue
		}
		where := c.source(s, name, u, opts)
		if where == "" {
			continue
		}
		note := ""
		if s.Note != "" {
			note = ": " + s.Note
		}
		if s.Use == Refused {
			return fmt.Errorf("%s is not supported%s", where, note)
		}
		if c.notices.first(s.Key) && opts.Warn != nil {
			opts.Warn(fmt.Sprintf("git's setting %s is not honoured%s", where, strings.ReplaceAll(note, "`", "")))
		}
	}
	return nil
}

// source returns what sets s to something that matters: a variable or the key; "" for nothing.
func (c *config) source(s Setting, name string, u *url.URL, opts Options) string {
	if s.Env != "" && opts.getenv(s.Env) != "" {
		return s.Env
	}
	value, ok := "", false
	switch section, rest, _ := strings.Cut(s.Key, "."); section {
	case "http":
		if u != nil && u.Scheme != "ssh" {
			value, ok = c.lastForURL("http", strings.ToLower(rest), u)
		}
	case "remote":
		value, ok = c.last("remote." + name + "." + strings.ToLower(rest[strings.LastIndexByte(rest, '.')+1:]))
	default:
		value, ok = c.last(strings.ToLower(s.Key))
	}
	if !ok || value == "" || slices.Contains(s.harmless, strings.ToLower(value)) {
		return ""
	}
	return strings.Replace(s.Key, "<name>", name, 1)
}

// allowed returns an error if the configuration forbids the protocol of a remote.
func (c *config) allowed(u *url.URL, opts Options) error {
	scheme := "file"
	if u != nil {
		scheme = u.Scheme
	}
	if list := opts.getenv("GIT_ALLOW_PROTOCOL"); list != "" {
		if !slices.Contains(strings.Split(list, ":"), scheme) {
			return fmt.Errorf("GIT_ALLOW_PROTOCOL does not name %s", scheme)
		}
		return nil
	}
	for _, key := range []string{"protocol." + scheme + ".allow", "protocol.allow"} {
		if value, ok := c.last(key); ok {
			if strings.EqualFold(value, "never") {
				return fmt.Errorf("git's setting %s forbids it", key)
			}
			break
		}
	}
	return nil
}

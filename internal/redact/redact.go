// Package redact removes secrets from text that people see. Users, passwords, queries and fragments of URLs may be
// secrets: remotes carry passwords, and registries redirect to URLs whose query is a token.
package redact

import (
	"net/url"
	"regexp"
	"strings"
)

// URL returns the value of a setting, a URL or a reference, without user, password, query and fragment. A malformed URL may
// have a password anywhere: only its scheme remains. The user of an scp-like host:path remains, too: it has no password.
func URL(raw string) string {
	if strings.HasPrefix(raw, "//") { // it has an authority, too
		return strings.TrimPrefix(URL("https:"+raw), "https:")
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return bareUser.ReplaceAllString(raw, "$1")
	}
	if _, err := url.Parse(raw); err != nil {
		return scheme + "://…"
	}
	authority, _, _ := strings.Cut(rest, "/")
	rest = rest[strings.LastIndexByte(authority, '@')+1:]
	if end := strings.IndexAny(rest, "?#"); end >= 0 {
		rest = rest[:end]
	}
	return scheme + "://" + rest
}

var (
	urls = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"]*[^\s".,:;)»]`)
	// bareUser matches a user and password before a host without a scheme.
	bareUser = regexp.MustCompile(`(^|[\s"])[^\s"/:@]+:[^\s"/@]+@`)
)

// Text returns a message without the secrets of the URLs in it, and without a user and password before a host.
func Text(message string) string {
	return bareUser.ReplaceAllString(urls.ReplaceAllStringFunc(message, URL), "$1")
}

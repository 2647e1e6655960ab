// Package origin compares where URLs lead: scheme, host and port, by what they mean. Credentials follow a redirect, an address in an
// index or a key in a configuration only to the same origin, and no connection goes on less protected than it began.
package origin

import (
	"net/url"
	"strings"

	"github.com/lockage/lockage/internal/loopback"
)

// Host returns a host, with or without a port, in lower case and without the default port of the scheme.
func Host(scheme, host string) string {
	host = strings.ToLower(host)
	switch strings.ToLower(scheme) {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// Same reports whether two URLs have the same scheme, host and port.
func Same(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && Host(a.Scheme, a.Host) == Host(b.Scheme, b.Host)
}

// Safe reports whether a connection to one URL is as safe as the one to another that led there: it is https, or both are plain HTTP
// and stay on this machine.
func Safe(from, to *url.URL) bool {
	return strings.EqualFold(to.Scheme, "https") ||
		strings.EqualFold(to.Scheme, "http") && strings.EqualFold(from.Scheme, "http") && loopback.Is(strings.ToLower(to.Host))
}

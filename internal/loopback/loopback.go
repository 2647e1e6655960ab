// Package loopback decides which hosts are this machine: only these get plain HTTP, tokens without TLS, and unprotected
// registries, since nobody else can read what they exchange.
package loopback

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Is reports whether a host, with or without a port, is «localhost» or an address of 127.0.0.0/8 or ::1. No other name
// counts, not even one below .localhost: what it means depends on the resolver.
func Is(host string) bool {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return false
		}
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

package oci

import (
	"net/http"
	"strings"
)

// challenge is one way of authentication that a server offers (RFC 9110, 11.6.1).
type challenge struct {
	scheme string            // in lower case
	params map[string]string // names in lower case
}

const (
	schemeBasic  = "basic"
	schemeBearer = "bearer"
)

// challenges parses the WWW-Authenticate headers of a response: several may hold one challenge each, and one several.
func challenges(header http.Header) []challenge {
	var all []challenge
	for _, line := range header.Values("WWW-Authenticate") {
		first := len(all)
		for _, part := range splitList(line) {
			name, rest := cutToken(part)
			if name == "" {
				continue
			}
			if !strings.HasPrefix(rest, "=") || len(all) == first {
				all = append(all, challenge{strings.ToLower(name), map[string]string{}})
				name, rest = cutToken(rest)
			}
			if value, ok := strings.CutPrefix(rest, "="); ok {
				all[len(all)-1].params[strings.ToLower(name)] = unquote(strings.TrimSpace(value))
			}
		}
	}
	return all
}

// splitList splits at commas outside of quoted strings.
func splitList(s string) []string {
	var parts []string
	start, inQuotes := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case inQuotes && s[i] == '\\':
			i++
		case s[i] == '"':
			inQuotes = !inQuotes
		case s[i] == ',' && !inQuotes:
			parts, start = append(parts, strings.TrimSpace(s[start:i])), i+1
		}
	}
	return append(parts, strings.TrimSpace(s[start:]))
}

// cutToken returns the token at the beginning of s, and what follows it and white space.
func cutToken(s string) (token, rest string) {
	end := strings.IndexAny(s, " \t=,\"")
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t")
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
